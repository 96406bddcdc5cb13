"""pending: what the world still owes a run; waiting_on: the same for a person."""

from __future__ import annotations

from msgspec import Struct

from runwright.core import effects as e
from runwright.core import records as r
from runwright.core.ids import EffectId, model_effect_id
from runwright.core.outcomes import CallPhase, RunPhase, WaitKind
from runwright.core.state import CallState, RunState, has_room_for_call


class WaitingOn(Struct, frozen=True):
    """One thing a run waits for. `since` is microseconds."""

    kind: WaitKind
    effect_id: EffectId
    subject: str
    since: int
    unblocked_by: str


def pending(state: RunState) -> dict[e.EffectKey, e.Effect]:
    """The effects wanted now, by key. Terminal: none. The driver starts and stops to match."""
    if state.is_terminal or state.phase is RunPhase.NEW:
        return {}
    wanted: list[e.Effect] = []
    if state.model_attempt:
        wanted.append(e.CallModel(state.round, state.model_attempt, state.route))
    elif state.model_request.retry_at:
        wanted.append(e.AwaitRetry(state.round, state.model_request.attempt, state.model_request.retry_at))
    # An executor is only waited for while the call could be started: not while as many run as may,
    # and not while the outcome of another call is unknown.
    may_start = state.phase is RunPhase.RUNNING and has_room_for_call(state)
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
        elif call.phase is CallPhase.REQUESTED and call.allowed and may_start:
            wanted.append(e.AwaitExecutor(call.call_id, call.attempt, call.executor, call.not_before, call.give_up_at))
    if state.phase is RunPhase.CANCELLING:
        wanted.append(e.WaitForCancelDeadline(state.cancel_deadline))
    return {effect.key: effect for effect in wanted}


def intent(record: r.Record) -> e.EffectKey | None:
    """The effect whose intent the record is; None for any other record."""
    if isinstance(record, r.ModelAttemptStarted):
        return e.model_request_key(record.round, record.attempt)
    if isinstance(record, r.ToolStarted):
        return e.tool_call_key(record.call_id, record.attempt)
    return None


def waiting_on(state: RunState) -> list[WaitingOn]:
    """What the run waits for, and what would unblock it."""
    waits: list[WaitingOn] = []
    if state.is_terminal:
        return waits
    if state.model_request.retry_at:
        subject = f"{state.provider}/{state.model}"
        seconds = round((state.model_request.retry_at - state.model_request.since) / 1_000_000, 3)
        remedy = f"provider {state.provider} answering when it is asked again, {seconds:g} s after it failed"
        waits.append(
            WaitingOn(WaitKind.PROVIDER, model_effect_id(state.round), subject, state.model_request.since, remedy)
        )
    for call in state.calls:
        if _waits_for_executor(state, call):
            waits.append(_for_executor(call))
        elif call.phase is CallPhase.UNKNOWN:
            remedy = "cancelling the run, once its owner knows what became of the call"
            waits.append(WaitingOn(WaitKind.REPAIR, call.call_id, call.executor, call.since, remedy))
    return waits


def _waits_for_executor(state: RunState, call: CallState) -> bool:
    """True of a call that an executor must be there for, and not only another call of its own run to end."""
    if call.phase is not CallPhase.REQUESTED or not call.allowed:
        return False
    return bool(call.attempt or call.give_up_at) or (state.phase is RunPhase.RUNNING and has_room_for_call(state))


def _for_executor(call: CallState) -> WaitingOn:
    # In runs of older versions a call that was never started does not say who performs it.
    if call.attempt or call.give_up_at:
        remedy = f"executor {call.executor} with tool {call.tool}, answering where it is configured or registered"
    else:
        remedy = f"executor {call.executor} with tool {call.tool}, connected and with room for another call"
    return WaitingOn(WaitKind.EXECUTOR, call.call_id, call.executor or call.tool, call.since, remedy)
