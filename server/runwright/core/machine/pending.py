"""pending: what the world still owes a run."""

from __future__ import annotations

from runwright.core import effects as e
from runwright.core import records as r
from runwright.core.kinds import INTENTS, about
from runwright.core.machine.holds import hold_of_call, hold_of_run
from runwright.core.outcomes import CallPhase, RunPhase
from runwright.core.state import RunState, may_start_call


def pending(state: RunState) -> dict[e.EffectKey, e.Effect]:
    """The effects wanted now, by key. Terminal: none. The driver starts and stops to match."""
    if state.is_terminal or state.phase is RunPhase.NEW:
        return {}
    wanted: list[e.Effect] = []
    if state.model_attempt:
        wanted.append(e.CallModel(state.round, state.model_attempt, state.route))
    elif (hold := hold_of_run(state)) is not None and hold.effect is not None:
        wanted.append(hold.effect)
    may_start = may_start_call(state)
    for call in state.calls:
        if call.phase is CallPhase.RUNNING and call.arguments is not None:
            wanted.append(
                e.CallTool(
                    call.call_id,
                    call.tool,
                    call.executor,
                    call.attempt,
                    call.arguments,
                    call.idempotency_key,
                    call.idempotent,
                    call.deadline,
                )
            )
        elif call.awaits_release and state.phase is RunPhase.RUNNING:  # the model of a run that ends is told nothing
            wanted.append(e.EvaluateResult(call.call_id, call.attempt))
        elif (hold := hold_of_call(call, may_start)) is not None and hold.effect is not None:
            wanted.append(hold.effect)
    if state.phase is RunPhase.CANCELLING:
        wanted.append(e.WaitForCancelDeadline(state.cancel_deadline))
    return {effect.key: effect for effect in wanted}


def intent(record: r.Record) -> e.EffectKey | None:
    """The effect whose intent the record is; None for any other record."""
    if not isinstance(record, INTENTS):
        return None
    _, effect, attempt = about(record)
    return e.attempt_key(effect, attempt) if effect is not None else None
