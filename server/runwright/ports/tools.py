"""Tool executors: where calls are performed."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Protocol

from msgspec import Struct

from runwright.core.ids import Namespace
from runwright.core.outcomes import ExecutorIdentity


def _always() -> bool:
    return True


class ToolInvocation(Struct, frozen=True, kw_only=True):
    """One attempt of one call. `deadline` is microseconds; `namespace` is the run's.

    `may_begin` is asked once, right before the attempt is sent: False means that
    the run was cancelled or the server stops, and the attempt is not sent.
    """

    namespace: Namespace
    run_id: str
    turn_id: str
    round: int
    call_id: str
    attempt: int
    idempotency_key: str
    tool: str
    arguments_json: bytes
    arguments_digest: str
    deadline: int
    package_fingerprint: str
    trace_parent: str = ""  # W3C; empty without a trace
    may_begin: Callable[[], bool] = _always


class ToolOutcomeKind(Enum):
    """What is known of an attempt."""

    RESULT = "result"
    ERROR = "error"  # the tool failed, for certain
    NOT_SENT = "not sent"  # the executor certainly never got it, or has not begun it
    LOST = "lost"  # it began, and no answer came
    TIMED_OUT = "timed out"  # it began, and the deadline passed
    TOO_LARGE = "too large"  # it was performed, for certain, with a result that is larger than one may be
    UNREADABLE = "unreadable"  # the executor answered, and nobody can say what


class ToolOutcome(Struct, frozen=True):
    """What came of an attempt; `data` is a result, or the text of a failure, `size` the bytes of what is too large.

    `executor_identity` says who got the attempt; nobody did where it is absent.
    """

    kind: ToolOutcomeKind
    data: bytes = b""
    media_type: str = ""
    size: int = 0
    executor_identity: ExecutorIdentity | None = None


class ToolExecutors(Protocol):
    """The executors a server knows, by the names packages use.

    A run is served by the executors of its namespace and by those the operator
    configured for all. Several may have one name; which of them gets an attempt
    is decided here.
    """

    def knows(self, namespace: Namespace, executor: str) -> bool:
        """True when there is an executor of that name, or may come to be one without a restart."""

    async def reachable(self, namespace: Namespace, executor: str, tool: str) -> None:
        """Returns once an executor of that name that performs the tool can be reached; keeps trying until then."""

    async def execute(self, executor: str, call: ToolInvocation) -> ToolOutcome:
        """Performs the attempt. Cancelling this coroutine tells the executor. Never raises for a failed call."""

    async def close(self) -> None:
        """Lets go of every connection."""
