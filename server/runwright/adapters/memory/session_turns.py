"""What a completed run brings into later turns of its session, from the journal in memory."""

from __future__ import annotations

from collections.abc import Sequence

from runwright.core.context import SessionTurn, input_seen
from runwright.core.kinds import EventKind
from runwright.core.records import TurnStarted
from runwright.core.state import RunState
from runwright.core.taint import Taint
from runwright.ports.journal import StoredEvent
from runwright.wire.records import decode_event


def turn_of(state: RunState, events: Sequence[StoredEvent]) -> tuple[SessionTurn, Taint | None] | tuple[None, None]:
    """What was said in it, and by what it is tainted; None when it has not got a turn with an answer."""
    begun = next((decode_event(event.data) for event in events if event.kind is EventKind.TURN_STARTED), None)
    if state.result is None or not isinstance(begun, TurnStarted):
        return None, None
    seen = input_seen(begun.input, state.input)
    return SessionTurn(state.key.run_id, state.turn_id, seen, state.result, state.tainted), state.tainted_by
