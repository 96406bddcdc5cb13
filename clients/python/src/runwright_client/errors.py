"""The one error of this library, and how a status that a server sent becomes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import betterproto2 as bp
from grpclib.const import Status
from grpclib.encoding.base import StatusDetailsCodecBase
from grpclib.exceptions import GRPCError

from ._gen.runwright.v1 import AgentError, RetryClass

_AGENT_ERROR = "runwright.v1.AgentError"
_ERROR_INFO = "google.rpc.ErrorInfo"


class RunwrightError(Exception):
    """A call failed. `reason` is a name from docs/errors.md, or the status' name when the server gave none."""

    def __init__(
        self,
        message: str,
        *,
        reason: str,
        code: str,
        metadata: Mapping[str, str] | None = None,
        retryable: bool = False,
        remedy: str = "",
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(f"{reason}: {message} {remedy}".rstrip())
        self.message = message
        self.reason = reason
        self.code = code
        self.metadata = dict(metadata or {})
        self.retryable = retryable
        self.remedy = remedy
        self.retry_after = retry_after  #: seconds that the server asks to wait before the next try; 0: it does not say


@dataclass(eq=False, repr=False)
class _Any(bp.Message):
    type_url: str = bp.field(1, bp.TYPE_STRING)
    value: bytes = bp.field(2, bp.TYPE_BYTES)


@dataclass(eq=False, repr=False)
class _Status(bp.Message):
    details: list[_Any] = bp.field(3, bp.TYPE_MESSAGE, repeated=True)


@dataclass(eq=False, repr=False)
class _ErrorInfo(bp.Message):
    reason: str = bp.field(1, bp.TYPE_STRING)
    metadata: dict[str, str] = bp.field(3, bp.TYPE_MAP, map_meta=bp.map_meta(bp.TYPE_STRING, bp.TYPE_STRING))


class RawDetails(StatusDetailsCodecBase):
    """Hands the bytes of `grpc-status-details-bin` on as they are, so that no protobuf runtime is needed."""

    def encode(self, status: Status, message: str | None, details: bytes) -> bytes:
        """The bytes."""
        return details

    def decode(self, status: Status, message: str | None, data: bytes) -> bytes:
        """The bytes."""
        return data


def of_status(error: GRPCError) -> RunwrightError:
    """What a status says, in the server's own words where it had any."""
    code = error.status.name
    message = error.message or f"The call ended with {code}."
    info, agent_error = _details(error.details)
    if agent_error is None:
        reason = (info.reason if info else "") or code
        metadata = info.metadata if info else {}
        return RunwrightError(message, reason=reason, code=code, metadata=metadata, retryable=code == "UNAVAILABLE")
    return RunwrightError(
        agent_error.message,
        reason=agent_error.reason_name or (info.reason if info else "") or code,
        code=code,
        metadata=agent_error.metadata,
        retryable=agent_error.retry_class is RetryClass.RETRYABLE,
        remedy=agent_error.remedy,
        retry_after=agent_error.retry_after.total_seconds() if agent_error.retry_after else 0.0,
    )


def _details(data: object) -> tuple[_ErrorInfo | None, AgentError | None]:
    if not isinstance(data, bytes):
        return None, None
    try:
        found = {one.type_url.rpartition("/")[2]: one.value for one in _Status.parse(data).details}
        info = _ErrorInfo.parse(found[_ERROR_INFO]) if _ERROR_INFO in found else None
        return info, AgentError.parse(found[_AGENT_ERROR]) if _AGENT_ERROR in found else None
    except Exception:  # noqa: BLE001  # details are a courtesy; broken ones must not hide the status
        return None, None
