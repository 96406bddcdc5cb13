"""Tool executors: where calls are performed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Protocol, TypeAlias

from msgspec import Struct

from runwright.core.callbacks import UnusedTool
from runwright.core.ids import Namespace, RunKey
from runwright.core.outcomes import ExecutorIdentity, ReconcileAnswer
from runwright.core.units import Micros


def _always() -> bool:
    return True


class PlaceRequest(Struct, frozen=True):
    """What a place is wanted for: the next attempt of a call, or to ask about the last one.

    `first` is the executor that is taken if it has room, by its callback id or address: whoever got the attempt.
        `schema_digest` is that of the tool's schema in the package, whose fingerprint is `package`; empty: any.
        `not_by` is the principal that must not perform it, because it approved it; empty for none.
    """

    run: RunKey
    call_id: str
    executor: str
    tool: str
    schema_digest: str = ""
    package: str = ""
    first: str = ""
    not_by: str = ""


class Place(Protocol):
    """Room for one attempt at one executor, from before its intent is written until its end, however it ends."""

    def release(self) -> None:
        """Gives it back; harmless when that was done."""


# Gets the place that a call has waited for; whoever it belongs to gives it back.
Granted: TypeAlias = Callable[[Place], None]


class PlaceWait(Protocol):
    """A call that waits for a place."""

    def leave(self) -> None:
        """Waits no more; harmless once the place was granted."""


class ToolInvocation(Struct, frozen=True, kw_only=True):
    """One attempt of one call. `deadline` is microseconds, counted from the sending; `namespace` is the run's.

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
    deadline: Micros
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


class ReconcileOutcome(Struct, frozen=True):
    """What asking about an attempt came to; `data` and `media_type` are its result if it was performed.

    `executor_identity` says who was asked; nobody was where it is absent.
    """

    answer: ReconcileAnswer
    data: bytes = b""
    media_type: str = ""
    executor_identity: ExecutorIdentity | None = None


class ToolExecutors(Protocol):
    """The executors a server knows, by the names packages use.

    A run is served by the executors of its namespace and by those the operator
    configured for all. Several may have one name; which of them gets an attempt
    is decided here. Each takes so many calls at once: an attempt is only made
    with a place. Who waits for one is served in order, runs in turn.
    """

    def knows(self, namespace: Namespace, executor: str) -> bool:
        """True when there is an executor of that name, or may come to be one without a restart."""

    def is_reachable(self, wanted: PlaceRequest) -> bool:
        """True unless it is known that no executor performs the tool now: connected or not yet, and however busy.

        An executor of a principal that must not perform the call is none.
        """

    def unused(self, wanted: PlaceRequest) -> Sequence[UnusedTool]:
        """Who would perform the tool, but has another schema of it than the package."""

    def take_place(self, wanted: PlaceRequest) -> Place | None:
        """A place, if one is free and nobody waits for it; never waits."""

    def wait_for_place(self, wanted: PlaceRequest, granted: Granted) -> PlaceWait:
        """Has the call wait for a place without end, after those that wait already; to be asked for when none is free.

        `granted` gets the place later, once, on the event loop, unless the call leaves before. It raises nothing, and
        may give the place back at once. Nothing runs for a call meanwhile: thousands may wait.
        """

    async def execute(self, place: Place, call: ToolInvocation) -> ToolOutcome:
        """Performs the attempt at the executor of the place, or at another of its name if that one has gone.

        Cancelling this coroutine tells the executor. Never raises for a failed
        call. The place stays the caller's to release.
        """

    async def reconcile(self, place: Place, call: ToolInvocation, ask: int) -> ReconcileOutcome:
        """Asks an executor, for the `ask`-th time, what became of an attempt that was lost. As `execute` otherwise.

        It has no effect on the world, and never raises for an executor that does not answer. What is not beyond
        doubt about this very attempt is UNREADABLE.
        """

    async def close(self) -> None:
        """Lets go of every connection."""
