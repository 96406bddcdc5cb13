"""pending: what the world still owes a run."""

from __future__ import annotations

from runwright.core import effects as e
from runwright.core import records as r
from runwright.core.ids import model_effect_id
from runwright.core.kinds import INTENTS, about
from runwright.core.machine.holds import hold_of_call, hold_of_run
from runwright.core.outcomes import CallPhase, RunPhase
from runwright.core.state import RunState, may_start_call


def pending(state: RunState) -> dict[e.EffectKey, e.Effect]:
    """The effects wanted now, by key. Terminal: none. The driver starts and stops to match."""
    wanted: dict[e.EffectKey, e.Effect] = {}
    if state.is_terminal or state.phase is RunPhase.NEW:
        return wanted
    if state.model_attempt:
        key = (str(model_effect_id(state.round)), "call", state.model_attempt)
        wanted[key] = e.CallModel(state.round, state.model_attempt, state.route)
    elif (hold := hold_of_run(state)) is not None and hold.effect is not None:
        wanted[(hold.subject, "retry", hold.effect.attempt)] = hold.effect
    may_start = may_start_call(state)
    for call in state.calls:
        if call.phase is CallPhase.RUNNING and call.arguments is not None:
            wanted[(call.call_id, "call", call.attempt)] = e.CallTool(
                call.call_id,
                call.tool,
                call.executor,
                call.attempt,
                call.arguments,
                call.idempotency_key,
                call.idempotent,
                call.deadline,
            )
        elif (hold := hold_of_call(call, may_start)) is not None and hold.effect is not None:
            wanted[(hold.subject, "await", hold.effect.attempt)] = hold.effect
    if state.phase is RunPhase.CANCELLING:
        wanted[("cancel", "deadline", 1)] = e.WaitForCancelDeadline(state.cancel_deadline)
    return wanted


def intent(record: r.Record) -> e.EffectKey | None:
    """The effect whose intent the record is; None for any other record."""
    if not isinstance(record, INTENTS):
        return None
    _, effect, attempt = about(record)
    return (str(effect), "call", attempt)
