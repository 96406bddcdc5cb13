"""What a record does to one call of a run: the pieces that the functions of `apply` share."""

from __future__ import annotations

from runwright.core import records as r
from runwright.core.ids import EffectId
from runwright.core.kinds import kind_of
from runwright.core.outcomes import CallPhase
from runwright.core.state import CallState, RunState
from runwright.core.transitions import CALL_TRANSITIONS, IllegalTransition


def call_of(state: RunState, record: r.Record, call_id: EffectId) -> tuple[CallState, CallPhase]:
    """The call a record is about, as it stands, and the phase that the record takes it to."""
    before = state.call(call_id) or CallState(call_id, "", CallPhase.NONE)
    phase = CALL_TRANSITIONS.get((before.phase, kind_of(record)))
    if phase is None:
        raise IllegalTransition(f"{kind_of(record).name} for {call_id} in {before.phase.name}")
    return before, phase


def with_call(state: RunState, after: CallState) -> RunState:
    """The state with a call of its round as it stands now."""
    calls = tuple([after if call.call_id == after.call_id else call for call in state.calls])
    return state.__replace__(calls=calls)


def require(holds: bool, record: r.Record, state: RunState) -> None:
    """Raises IllegalTransition unless it holds."""
    if not holds:
        raise IllegalTransition(f"{record!r} does not fit {state.phase.name} at seq {state.seq}")
