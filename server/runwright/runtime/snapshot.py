"""A run as it stands, ready for a caller."""

from __future__ import annotations

from msgspec import Struct

from runwright.core.condition import DRIVEN, Condition, is_done_in, status_in, waiting_on_in
from runwright.core.content import Content
from runwright.core.machine import WaitingOn
from runwright.core.outcomes import RunPhase, RunStatus, StopReason
from runwright.core.state import RunState


class RunSnapshot(Struct, frozen=True):
    """A run at one position of the journal. `result` is the answer, with its bytes.

    `condition` is what keeps this server from driving the run.
    """

    state: RunState
    last_cursor: str
    result: Content | None
    condition: Condition = DRIVEN

    @property
    def status(self) -> RunStatus:
        """Where the run stands."""
        return status_in(self.state, self.condition)

    @property
    def is_done(self) -> bool:
        """True when the run goes no further by itself."""
        return is_done_in(self.state, self.condition)

    @property
    def waiting_on(self) -> list[WaitingOn]:
        """What the run waits for."""
        return waiting_on_in(self.state, self.condition)

    @property
    def text(self) -> str | None:
        """The answer as text; None before there is one."""
        return self.result.data.decode("utf-8", "replace") if self.result else None


def has_result(state: RunState) -> bool:
    """True when the run's last text is its answer, or what there was of it when the model stopped early."""
    early = state.stop in (StopReason.MAX_TOKENS, StopReason.CONTENT_FILTER)
    return state.result is not None and (state.phase is RunPhase.COMPLETED or early)


class Cancelled(Struct, frozen=True):
    """What a cancel came to; `barrier_seq` is 0 when the run ended without one."""

    snapshot: RunSnapshot
    barrier_seq: int
