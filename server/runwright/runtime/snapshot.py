"""A run as it stands, ready for a caller."""

from __future__ import annotations

from msgspec import Struct

from runwright.core.content import Content
from runwright.core.machine import status, waiting_on
from runwright.core.machine.pending import WaitingOn
from runwright.core.outcomes import RunPhase, RunStatus, StopReason
from runwright.core.state import RunState


class RunSnapshot(Struct, frozen=True):
    """A run at one position of the journal. `result` is the answer, with its bytes."""

    state: RunState
    last_cursor: str
    result: Content | None

    @property
    def status(self) -> RunStatus:
        """Where the run stands."""
        return status(self.state)

    @property
    def waiting_on(self) -> list[WaitingOn]:
        """What the run waits for."""
        return waiting_on(self.state)

    @property
    def text(self) -> str | None:
        """The answer as text; None before there is one."""
        return self.result.data.decode("utf-8", "replace") if self.result else None


def has_result(state: RunState) -> bool:
    """True when the run's last text is its answer, or what there was of it when the model stopped early."""
    early = state.stop in (StopReason.MAX_TOKENS, StopReason.CONTENT_FILTER)
    return state.result is not None and (state.phase is RunPhase.COMPLETED or early)
