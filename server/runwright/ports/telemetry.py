"""Telemetry: who is told what the server does. Where nobody asks, nothing is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from msgspec import Struct

from runwright.core.ids import RunKey
from runwright.core.records import Record
from runwright.core.state import RunState


class AppendObserver(Protocol):
    """Told of every append once it is durable, on the event loop; must return at once."""

    def appended(self, run: RunKey, records: Sequence[Record], state: RunState, seconds: float) -> None:
        """`state` is the run's after the records; the append took `seconds`."""


class CallMeter(Protocol):
    """Told of every gRPC call that is served, on the event loop."""

    def begun(self) -> float:
        """A call begins; what comes back goes to `ended`."""

    def ended(self, method: str, code: str, begun: float) -> None:
        """The call is over: its full method name and the name of its status."""


class LoopMeter(Protocol):
    """Told how promptly the event loop turns; on any thread."""

    def turned(self, late_seconds: float) -> None:
        """The loop came round, that much later than it should have."""

    def stalled(self) -> None:
        """The loop was found not to turn; once a stall."""


class RuntimeReport(Struct, frozen=True):
    """A runtime at a glance. `runs` counts those that have not ended, by status; `pending_approvals` by age."""

    runs: Mapping[str, int]
    unknown_effects: int
    pending_approvals: Mapping[str, int]
    oldest_approval_us: int  # its age; 0 while none is pending
    subscribers: int
    subscriber_lag: int
    journal_head: int
    takes_writes: bool


@runtime_checkable
class CountsExecutors(Protocol):
    """Tool executors that can say how many there are; any ToolExecutors may."""

    def counts(self) -> Mapping[str, int]:
        """How many executors are in each state, such as `configured` and `connected`; callable on any thread."""
