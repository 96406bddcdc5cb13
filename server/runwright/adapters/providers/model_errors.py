"""What goes wrong with a real model: classified, with the vendor's own words in bounds, never with a key."""

from __future__ import annotations

import math
import re
import socket
import ssl
from collections.abc import Mapping
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

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


# What a status says more exactly than its class.
_SAID_BY_STATUS: Mapping[int, str] = {
    400: "did not accept the request",
    402: "wants to be paid first",
    403: "refused the key for this",
    404: "does not know the model or the address",
    405: "takes no requests to a model at this address",
    413: "finds the request too large",
    422: "did not accept a value in the request",
    **dict.fromkeys((301, 302, 303, 307, 308), "answered with a redirect, which is not followed"),
}
_REASONS: Mapping[FailureClass, ErrorReason] = {
    "rate_limited": ErrorReason.PROVIDER_RATE_LIMITED,
    "bad_request": ErrorReason.PROVIDER_REFUSED,
    "unauthorized": ErrorReason.PROVIDER_KEY_REFUSED,
}
# What the system says of a connection that was not made.
_CAUSES: Mapping[type[BaseException], str] = {
    socket.gaierror: "no host of that name is known",
    ssl.SSLCertVerificationError: "its certificate is not trusted",
    ssl.SSLError: "it does not speak TLS as we do",
    ConnectionRefusedError: "nothing listens there",
}
_MOST_CAUSES = 10  # of one error
_MOST_SECONDS = 999_999_999
_VERSION = re.compile(r"/v\d")
MOST_WORDS = 300  # characters


def translate(route: ModelRoute, error: Exception, noted: Heard) -> AgentError:
    """Our error for whatever the vendor's library raised, with the vendor's status, address and words, made safe."""
    if noted.status or isinstance(error, ModelHTTPError):
        # An error may come as an answer, or within one: then the library does not know its status.
        status = noted.status or getattr(error, "status_code", 0)
        failed = _failed(route, _class_of_status(status), _said(route, status, noted), _SAID_BY_STATUS.get(status))
        return _with_retry_after(failed, getattr(error, "retry_after", None))
    if isinstance(error, ModelTimeoutError | ModelRequestTimeout):
        return _failed(route, "timeout", f" of {route.timeout_seconds:g} seconds")
    if isinstance(error, ModelConnectionError):
        return _failed(route, "connection", _where(noted, error))
    if isinstance(error, UserError):
        return _failed(route, "bad_request")
    if isinstance(error, ModelAPIError) and error.in_stream:
        return _failed(route, "server_error")
    if type(error) is ModelAPIError and error.__cause__ is None:  # how the library says it of a stream
        return invalid_output(route, "it does not say why it ended")
    # Anything else is raised while an answer is read, often with the answer in its text.
    if noted.unread:
        return invalid_output(route, "it is no answer of a model", f"; {noted.unread} from {noted.url}{_guess(route)}")
    return invalid_output(route, f"it cannot be read ({type(error).__name__})")


def _said(route: ModelRoute, status: int, noted: Heard) -> str:
    """Status, address and words. What may be the cause is added where the address is a usual one."""
    message = f" (HTTP {status} from {noted.url})" if noted.url else f" (HTTP {status})"
    words = shown(route, noted.words)
    message += f', saying "{words}"' if words else ""
    is_elsewhere = status in (404, 405, 501) or 300 <= status < 400 or "endpoint" in words.lower()
    return message + (_guess(route) if is_elsewhere else "")


def _where(noted: Heard, error: BaseException) -> str:
    """The address that was asked, and why nobody was there, if the system said it."""
    cause: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        for kind, why in _CAUSES.items():
            if isinstance(cause, kind):
                return f" ({noted.url}: {why})"
        cause = cause and (cause.__cause__ or cause.__context__)
    return f" ({noted.url})" if noted.url else ""


def _guess(route: ModelRoute) -> str:
    """What may be wrong with an address where nothing answers as a model does; empty when it looks like the others."""
    if not route.base_url:
        return ""
    path = urlsplit(route.base_url).path.rstrip("/")
    message = f"; the address of {route.adapter} is {route.base_url}, and "
    if route.kind == "anthropic":
        return f"{message}/v1/messages is added to it: leave out its /v1" if path.endswith("/v1") else ""
    return "" if _VERSION.search(path) else f"{message}most servers want /v1 at its end"


def shown(route: ModelRoute, words: str) -> str:
    """A vendor's words, fit for an error: one line, bounded, without the key even where the vendor repeats it."""
    if route.key:
        words = words.replace(route.key, "(the key)")
    line = " ".join("".join(character if character.isprintable() else " " for character in words).split())
    return line if len(line) <= MOST_WORDS else f"{line[:MOST_WORDS]}…"


def invalid_output(route: ModelRoute, rule: str, where: str = "") -> AgentError:
    """MODEL_OUTPUT_INVALID for an answer that breaks `rule`; `where` it came from goes into its text alone."""
    return AgentError(
        ErrorReason.MODEL_OUTPUT_INVALID,
        f"The model's answer cannot be used: {rule}{where}.",
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


def _failed(route: ModelRoute, failure: FailureClass, detail: str = "", said: str | None = None) -> AgentError:
    message = f"The model provider {route.adapter} {said or _SAID[failure]}{detail}"
    if failure == "unauthorized":
        held = f"the environment variable {route.key_variable} holds it" if route.key_variable else "none is configured"
        message = f"{message}; {held}"
    reason = _REASONS.get(failure, ErrorReason.PROVIDER_FAILED)
    return AgentError(reason, f"{message}.", metadata={"adapter": route.adapter, "class": failure})
