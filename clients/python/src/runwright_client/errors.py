"""The one error of this library, and how whatever goes wrong with a call becomes it."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import betterproto2 as bp
from grpclib.const import Status
from grpclib.encoding.base import StatusDetailsCodecBase
from grpclib.exceptions import GRPCError

from ._gen.runwright.v1 import AgentError, ErrorReason, RetryClass

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
    ) -> None:
        super().__init__(f"{reason}: {message} {remedy}".rstrip())
        self.message = message
        self.reason = reason
        self.code = code
        self.metadata = dict(metadata or {})
        self.retryable = retryable
        self.remedy = remedy

    @property
    def retry_after(self) -> float:
        """Seconds that the server asks to wait before the next try; 0 when it does not say."""
        said = self.metadata.get("retry_after", "").removesuffix("s")
        return float(said) if said.isdecimal() else 0.0


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


def typed(error: Exception) -> RunwrightError:
    """The error that a user sees for one that the transport raised."""
    match error:
        case RunwrightError():
            return error
        case GRPCError():
            return _of_status(error)
        case ssl.SSLCertVerificationError():
            told = f"The server's certificate is not trusted: {error.verify_message}."
            return RunwrightError(
                told, reason="UNAVAILABLE", code="UNAVAILABLE", remedy="Give its authority as Tls.ca."
            )
        case TimeoutError():
            told = "The call was not answered within its deadline."
            return RunwrightError(told, reason="DEADLINE_EXCEEDED", code="DEADLINE_EXCEEDED")
        case ValueError() | NotImplementedError():
            told = f"The answer could not be read ({type(error).__name__})."
            return RunwrightError(told, reason="INTERNAL", code="INTERNAL")
        case _:  # lost connections: resets, GOAWAY, refusals, and what the transport makes of them half-way
            told = f"The connection failed: {str(error) or type(error).__name__}."
            return RunwrightError(told, reason="UNAVAILABLE", code="UNAVAILABLE", retryable=True)


def _of_status(error: GRPCError) -> RunwrightError:
    code = error.status.name
    message = error.message or f"The call ended with {code}."
    info, agent_error = _details(error.details)
    if agent_error is None:
        reason = (info.reason if info else "") or code
        metadata = info.metadata if info else {}
        return RunwrightError(message, reason=reason, code=code, metadata=metadata, retryable=code == "UNAVAILABLE")
    name = agent_error.reason.name if agent_error.reason in ErrorReason.__members__.values() else ""
    return RunwrightError(
        agent_error.message,
        reason=name or (info.reason if info else "") or code,  # a newer server may have reasons unknown here
        code=code,
        metadata=agent_error.metadata,
        retryable=agent_error.retry_class is RetryClass.RETRYABLE,
        remedy=agent_error.remedy,
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
