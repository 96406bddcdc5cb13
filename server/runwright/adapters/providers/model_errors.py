"""What goes wrong with a real model: classified, with the vendor's own words in bounds, never with a key."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, TypeAlias

from pydantic_ai.exceptions import (
    ModelAPIError,
    ModelConnectionError,
    ModelHTTPError,
    ModelRequestTimeout,
    ModelTimeoutError,
    UserError,
)

from runwright.adapters.providers.model_http import Heard
from runwright.adapters.providers.model_route import ModelRoute
from runwright.core.errors import AgentError, ErrorReason

FailureClass: TypeAlias = Literal[
    "rate_limited", "server_error", "timeout", "connection", "bad_request", "unauthorized"
]

_SAID: dict[FailureClass, str] = {
    "rate_limited": "refused the request because of its rate limit or quota",
    "server_error": "failed",
    "timeout": "did not answer in time",
    "connection": "could not be reached, or the connection broke off",
    "bad_request": "did not accept the request",
    "unauthorized": "refused the key",
}


_REASONS: Mapping[FailureClass, ErrorReason] = {
    "rate_limited": ErrorReason.PROVIDER_RATE_LIMITED,
    "bad_request": ErrorReason.PROVIDER_REFUSED,
    "unauthorized": ErrorReason.PROVIDER_KEY_REFUSED,
}
_MOST_SECONDS = 999_999_999
MOST_WORDS = 300  # characters


def translate(route: ModelRoute, error: Exception, noted: Heard) -> AgentError:
    """Our error for whatever the vendor's library raised, with the vendor's status, address and words, made safe."""
    if noted.status or isinstance(error, ModelHTTPError):
        # An error may come as an answer, or within one: then the library does not know its status.
        status = noted.status or getattr(error, "status_code", 0)
        failed = _failed(route, _class_of_status(status), _said(route, status, noted))
        return _with_retry_after(failed, getattr(error, "retry_after", None))
    if isinstance(error, ModelTimeoutError | ModelRequestTimeout):
        return _failed(route, "timeout", f" of {route.timeout_seconds:g} seconds")
    if isinstance(error, ModelConnectionError):
        return _failed(route, "connection", f" ({noted.url})" if noted.url else "")
    if isinstance(error, UserError):
        return _failed(route, "bad_request")
    if isinstance(error, ModelAPIError) and error.in_stream:
        return _failed(route, "server_error")
    if type(error) is ModelAPIError and error.__cause__ is None:  # how the library says it of a stream
        return invalid_output(route, "it does not say why it ended")
    # Anything else is raised while an answer is read, often with the answer in its text.
    return invalid_output(route, f"it cannot be read ({type(error).__name__})")


def _said(route: ModelRoute, status: int, noted: Heard) -> str:
    """Status, address and words. What may be the cause is added where the address is a usual one."""
    told = f" (HTTP {status} from {noted.url})" if noted.url else f" (HTTP {status})"
    words = shown(route, noted.words)
    told += f', saying "{words}"' if words else ""
    if (
        status in (404, 405)
        and route.base_url
        and route.kind != "anthropic"
        and not route.base_url.rstrip("/").endswith("/v1")
    ):
        told += f"; the address of {route.adapter} is {route.base_url}, and most servers want /v1 at its end"
    return told


def shown(route: ModelRoute, words: str) -> str:
    """A vendor's words, fit for an error: one line, bounded, without the key even where the vendor repeats it."""
    if route.key:
        words = words.replace(route.key, "(the key)")
    line = " ".join("".join(character if character.isprintable() else " " for character in words).split())
    return line if len(line) <= MOST_WORDS else f"{line[:MOST_WORDS]}…"


def invalid_output(route: ModelRoute, rule: str) -> AgentError:
    """MODEL_OUTPUT_INVALID for an answer that breaks `rule`."""
    return AgentError(
        ErrorReason.MODEL_OUTPUT_INVALID,
        f"The model's answer cannot be used: {rule}.",
        metadata={"adapter": route.adapter, "rule": rule},
    )


def _class_of_status(status: int) -> FailureClass:
    match status:
        case 401 | 403:
            return "unauthorized"
        case 408:
            return "timeout"
        case 429:
            return "rate_limited"
        case _:
            return "server_error" if status >= 500 else "bad_request"


def _with_retry_after(failed: AgentError, seconds: float | None) -> AgentError:
    """What the vendor asks for, in whole seconds; anything that is no time is left out."""
    if seconds is not None and math.isfinite(seconds) and 0 < seconds <= _MOST_SECONDS:
        failed.metadata["retry_after"] = f"{math.ceil(seconds)}s"
    return failed


def _failed(route: ModelRoute, failure: FailureClass, detail: str = "") -> AgentError:
    told = f"The model provider {route.adapter} {_SAID[failure]}{detail}"
    if failure == "unauthorized":
        held = f"the environment variable {route.key_variable} holds it" if route.key_variable else "none is configured"
        told = f"{told}; {held}"
    reason = _REASONS.get(failure, ErrorReason.PROVIDER_FAILED)
    return AgentError(reason, f"{told}.", metadata={"adapter": route.adapter, "class": failure})
