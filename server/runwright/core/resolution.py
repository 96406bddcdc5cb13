"""A request to resolve a call of unknown outcome: its rules, and what makes two requests the same."""

from __future__ import annotations

import re

from msgspec import Struct
from pydantic import JsonValue

from runwright.core.content import digest
from runwright.core.errors import invalid_request
from runwright.core.fingerprint import canonical_json
from runwright.core.ids import EffectId, check_caller_id
from runwright.core.outcomes import Resolution
from runwright.core.units import Micros

MAX_RESULT_BYTES = 1024 * 1024  # of any tool call
MAX_MESSAGE_BYTES = 4096  # of what a model is told of a failed call
_CALL_ID = re.compile(r"c[1-9][0-9]{0,8}\.[1-9][0-9]{0,8}\Z")


class ResolvedResult(Struct, frozen=True):
    """The result of a call, as somebody found it. Without a `media_type` it is JSON."""

    data: bytes
    media_type: str = ""


class ResolutionRequest(Struct, frozen=True, kw_only=True):
    """What somebody says of an attempt of unknown outcome. Checked by `check`, not by the type."""

    effect_id: EffectId
    attempt: int
    request_id: str
    resolution: Resolution
    result: ResolvedResult | None = None
    message: str = ""
    reason: str = ""

    def check(self) -> None:
        """Raises INVALID_REQUEST for the first field that breaks its rule, naming it."""
        if not _CALL_ID.match(self.effect_id):
            raise invalid_request("effect_id", "a call's id, such as c1.1", "`runwright effects ls` shows them.")
        if self.attempt < 1:
            raise invalid_request(
                "attempt",
                "1 or more",
                "Name the attempt that `runwright effects ls` shows: a later one is another.",
            )
        if not self.request_id:
            raise invalid_request(
                "request_id", "set", "Make one, such as a UUID, and send the same again when no answer comes."
            )
        check_caller_id("request_id", self.request_id)
        happened = self.resolution is Resolution.HAPPENED
        if happened != (self.result is not None):
            expected = "set, for a call that happened" if happened else "absent, unless the call happened"
            raise invalid_request("result", expected, "An empty result is one: send it with empty data.")
        if self.result is not None and len(self.result.data) > MAX_RESULT_BYTES:
            raise invalid_request(
                "result.data",
                f"at most {MAX_RESULT_BYTES} bytes, not {len(self.result.data)}",
                "Send a part of it, or say in it where the rest is.",
            )
        if self.message and self.resolution is not Resolution.FAILED:
            raise invalid_request("message", "empty, unless the model is told of a failure", "Put it into `reason`.")
        if len(self.message.encode()) > MAX_MESSAGE_BYTES:
            raise invalid_request("message", f"at most {MAX_MESSAGE_BYTES} bytes", "Shorten it.")

    def digest(self) -> str:
        """What a repeated request must match: everything but its id."""
        form: dict[str, JsonValue] = {
            "attempt": self.attempt,
            "effect_id": self.effect_id,
            "message": self.message,
            "reason": self.reason,
            "resolution": self.resolution.name,
        }
        if self.result is not None:
            form["result"] = {"digest": digest(self.result.data), "media_type": self.result.media_type}
        return digest(canonical_json(form))


class EffectResolution(Struct, frozen=True):
    """A decision as it is on record. `at` is microseconds."""

    effect_id: EffectId
    attempt: int
    resolution: Resolution
    resolved_by: str
    reason: str
    request_id: str
    at: Micros
