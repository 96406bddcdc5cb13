"""What callers see of where a run stands: the phase, except that one with nothing under way is WAITING."""

from __future__ import annotations

from runwright.core.machine.pending import pending
from runwright.core.outcomes import RunPhase, RunStatus
from runwright.core.state import RunState


def is_done(state: RunState) -> bool:
    """True when the run goes no further by itself: it has ended, or needs repair."""
    return state.is_terminal or state.phase is RunPhase.REPAIR_NEEDED


def status(state: RunState) -> RunStatus:
    """The status of a started run."""
    # A model that is asked is under way: no need to list what else is.
    if state.phase is RunPhase.RUNNING and not state.model_attempt:
        wanted = pending(state).values()
        if wanted and all(effect.parks for effect in wanted):
            return RunStatus.WAITING
    return RunStatus(state.phase.value)
