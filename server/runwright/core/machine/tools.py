"""Inputs about tool calls: from what the model asked for to a result on record."""

from __future__ import annotations

from collections.abc import Sequence

from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.errors import ErrorReason
from runwright.core.ids import EffectId, call_effect_id
from runwright.core.machine import calls
from runwright.core.machine.step import Step
from runwright.core.outcomes import CallPhase, RunPhase
from runwright.core.policy import Verdict, decide_tool_call
from runwright.core.state import CallState, has_room_for_call


def requested(step: Step, asked: Sequence[i.RequestedCall]) -> None:
    """Records every call of a round with what becomes of it, before any is started."""
    left = step.state.budget.tool_calls - step.state.usage.tool_calls
    for index, call in enumerate(asked, start=1):
        step.add(
            r.ToolRequested(
                at=step.at,
                call_id=call_effect_id(step.state.round, index),
                tool=call.tool,
                provider_call_id=call.provider_call_id,
                arguments=call.arguments,
            )
        )
        known = step.state.calls[-1]
        if call.problem is not None:
            calls.fail(step, known, call.problem, call.problem_text)
        elif not _allowed(step, known):
            continue
        elif left == 0:
            calls.fail(step, known, ErrorReason.BUDGET_EXHAUSTED)
        else:
            left -= 1


def start_queued(step: Step) -> None:
    """Starts calls that are allowed and were never started, up to the bound of the budget."""
    for call in step.calls(CallPhase.REQUESTED):
        if not has_room_for_call(step.state):
            return
        if call.attempt == 0:
            calls.start(step, call)


def returned(step: Step, given: i.ToolReturned) -> None:
    """Records the result; a failure of the tool is told to the model like a result."""
    call = _running(step, given.call_id, given.attempt)
    if call is None:
        return
    if not given.ok:
        calls.fail(step, call, given.reason, given.result, given.executor_identity)
        return
    step.add(
        r.ToolCompleted(
            at=step.at,
            call_id=call.call_id,
            attempt=call.attempt,
            tool=call.tool,
            result=given.result,
            executor_identity=given.executor_identity,
        )
    )


def not_sent(step: Step, given: i.ToolNotSent) -> None:
    """Plans another attempt: what was not sent may always be sent."""
    call = _running(step, given.call_id, given.attempt)
    if call is None:
        return
    if step.state.phase is RunPhase.CANCELLING:
        calls.cancel(step, call)
    else:
        calls.retry(step, call, ErrorReason.EXECUTOR_UNAVAILABLE, given.executor_identity)


def outcome_unknown(step: Step, given: i.ToolOutcomeUnknown) -> None:
    """Repeats what may be repeated; of everything else that was not answered somebody must find out.

    An answer that cannot be read is one all the same: the executor is there, and asking it again changes nothing.
    """
    call, by = _running(step, given.call_id, given.attempt), given.executor_identity
    if call is None:
        return
    is_answered = given.reason is ErrorReason.TOOL_ANSWER_INVALID
    if not (call.idempotent or is_answered):
        calls.require_recovery(step, call, given.reason, by)
    elif step.state.phase is RunPhase.CANCELLING and not is_answered:
        calls.cancel(step, call)
    elif step.state.phase is not RunPhase.CANCELLING and calls.may_repeat(step, call):
        calls.retry(step, call, given.reason, by)
    else:
        calls.fail(step, call, given.reason, by=by)


def executor_awaited(step: Step, given: i.ExecutorAwaited) -> None:
    """Sends the next attempt, or gives up for good."""
    call = step.state.call(given.call_id)
    waits = call is not None and call.phase is CallPhase.REQUESTED and call.attempt == given.attempt > 0
    if call is None or not waits or step.state.phase is not RunPhase.RUNNING:
        return
    if not given.reachable:
        # "Not sent" would be untrue of a call that was lost before.
        calls.fail(step, call, ErrorReason.EXECUTOR_LOST if call.losses else ErrorReason.EXECUTOR_UNAVAILABLE)
    elif has_room_for_call(step.state):
        calls.start(step, call)


def recover(step: Step) -> None:
    """After a restart: a running call is sent again if it may be, as often as its tool allows; else it is unknown."""
    for call in step.calls(CallPhase.RUNNING):
        if not call.idempotent:
            calls.require_recovery(step, call, ErrorReason.EXECUTOR_LOST)
        elif call.losses + 1 < calls.spec_of(step, call).max_attempts:
            calls.start(step, call)
        else:
            calls.fail(step, call, ErrorReason.EXECUTOR_LOST)


def _allowed(step: Step, call: CallState) -> bool:
    policy = step.package.policy
    decision = decide_tool_call(policy, calls.spec_of(step, call))
    step.add(r.PolicyDecided(at=step.at, call_id=call.call_id, policy_ref=policy.value, decision=decision))
    if decision.verdict is Verdict.DENY:
        step.add(
            r.ToolDenied(at=step.at, call_id=call.call_id, tool=call.tool, policy_ref=policy.value, code=decision.code)
        )
    return decision.verdict is Verdict.ALLOW


def _running(step: Step, call_id: EffectId, attempt: int) -> CallState | None:
    call = step.state.call(call_id)
    return call if call and call.phase is CallPhase.RUNNING and call.attempt == attempt else None
