"""pending: what the world still owes a run."""

from __future__ import annotations

from collections.abc import Iterator

from runwright.core import effects as e
from runwright.core import records as r
from runwright.core.kinds import INTENTS, about
from runwright.core.machine.holds import (
    await_approval,
    await_deferral,
    await_policy,
    hold_of_call,
    hold_of_reconciling,
    hold_of_run,
    hold_of_run_approval,
    open_approval,
    walks_of,
)
from runwright.core.outcomes import CallPhase, RunPhase
from runwright.core.state import CallState, RunState, may_start_call


def pending(state: RunState) -> dict[e.EffectKey, e.Effect]:
    """The effects wanted now, by key. Terminal: none. The driver starts and stops to match."""
    if state.is_terminal or state.phase is RunPhase.NEW:
        return {}
    wanted: list[e.Effect] = []
    if state.model_attempt:
        wanted.append(e.CallModel(state.round, state.model_attempt, state.route))
    elif (hold := hold_of_run(state)) is not None and hold.effect is not None:
        wanted.append(hold.effect)
    if (asked := hold_of_run_approval(state)) is not None and asked.effect is not None:
        wanted.append(asked.effect)
    wanted += _of_walks(state)
    may_start = may_start_call(state)
    for call in state.calls:
        if (effect := _of_call(state, call, may_start)) is not None:
            wanted.append(effect)
    wanted += _of_dispatches(state)
    if state.phase is RunPhase.CANCELLING:
        wanted.append(e.WaitForCancelDeadline(state.cancel_deadline))
    return {effect.key: effect for effect in wanted}


def _of_walks(state: RunState) -> Iterator[e.Effect]:
    """What is wanted for a subject that a remote policy holds: its answer, a host of it, or all that is said anew."""
    if state.phase is not RunPhase.RUNNING or state.policy_failure is not None:
        return
    for subject, walk in walks_of(state):
        question = walk.question
        if question is None and walk.deferred:
            yield from map(await_deferral, walk.deferred)
        elif question is None:
            yield e.HearPolicies(subject, walk.step)
        elif question.is_open:
            yield e.AskPolicy(question.effect_id, question.attempt)
        else:
            yield await_policy(question)


def _of_dispatches(state: RunState) -> Iterator[e.Effect]:
    """What is wanted for dispatchers: an attempt, or the wait before the next one, which a run that ends gives up."""
    for each in state.dispatches:
        if each.is_open:
            yield e.DispatchApproval(each.effect_id, each.attempt)
        elif each.waits and state.phase is RunPhase.RUNNING:
            yield e.AwaitDispatcher(each.effect_id, each.attempt, each.dispatcher, each.not_before, each.since)


def _of_call(state: RunState, call: CallState, may_start: bool) -> e.Effect | None:
    """What is wanted for one call: its attempt, an ask about it, or what it waits for."""
    asking = call.reconciling
    if call.arguments is not None and call.phase is CallPhase.RUNNING:
        return e.CallTool(
            call.call_id,
            call.tool,
            call.executor,
            call.attempt,
            call.arguments,
            call.idempotency_key,
            call.idempotent,
            call.deadline,
        )
    if call.arguments is not None and asking is not None and asking.is_asked:
        return e.ReconcileTool(call.call_id, call.tool, call.attempt, asking.asks, call.arguments, call.idempotency_key)
    if call.awaits_release:
        # The model of a run that ends is told nothing.
        is_due = state.phase is RunPhase.RUNNING and not call.is_held_by_policy
        return e.EvaluateResult(call.call_id, call.attempt) if is_due else None
    if (approval := open_approval(call)) is not None:
        return await_approval(call, approval)
    hold = hold_of_reconciling(state, call) or hold_of_call(call, may_start)
    return hold.effect if hold is not None else None


def intent(record: r.Record) -> e.EffectKey | None:
    """The effect whose intent the record is; None for any other record."""
    if not isinstance(record, INTENTS):
        return None
    if isinstance(record, r.ReconcileStarted):
        return e.ask_key(record.call_id, record.ask)
    _, effect, attempt = about(record)
    return e.attempt_key(effect, attempt) if effect is not None else None
