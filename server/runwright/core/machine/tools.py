"""Inputs about tool calls: from what the model asked for to a result on record."""

from __future__ import annotations

from collections.abc import Sequence

from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.errors import ErrorReason
from runwright.core.ids import EffectId, call_effect_id
from runwright.core.machine import calls, gates, policies, reconciling
from runwright.core.machine.step import Step
from runwright.core.outcomes import CallPhase, RunPhase
from runwright.core.policy import PolicyStage
from runwright.core.state import CallState, may_start_call, needs_repair


def requested(step: Step, calls_requested: Sequence[i.RequestedCall]) -> None:
    """Records every call of a round with what becomes of it at its gate, before any is started."""
    for index, call in enumerate(calls_requested, start=1):
        call_id, tool = call_effect_id(step.state.round, index), step.package.tool(call.tool)
        step.add(
            r.ToolRequested(
                at=step.at,
                call_id=call_id,
                tool=call.tool,
                provider_call_id=call.provider_call_id,
                arguments=call.arguments,
                executor=tool.executor if tool else "",
                tainted=step.state.tainted,
                untrusted=tool is not None and tool.untrusted,
            )
        )
        gates.walk(step, call_id, call.findings)


def start_with_places(step: Step) -> None:
    """Starts the calls that have passed PRE_TOOL and for which a place is held, up to the bound of the budget.

    A place that is not used goes back. A call without a place has no intent on record: nothing can become of it,
    whatever ends the server. Each call goes for itself: none waits for another one's gate.
    """
    for call in step.calls(CallPhase.REQUESTED):
        if not may_start_call(step.state):
            return
        has_passed = call.passed is PolicyStage.PRE_TOOL
        if has_passed and call.call_id in step.places and step.at >= call.not_before:
            calls.start(step, call)


def returned(step: Step, input_: i.ToolReturned) -> None:
    """Records the result, and releases it if that can be said at once; a failure of the tool is told like a result."""
    call, by = _running(step, input_.call_id, input_.attempt), input_.executor_identity
    if call is None:
        return
    is_gated = policies.are_heard_of_results(step, input_.is_gated)
    if input_.ok:
        calls.complete(step, call, input_.result, by, is_gated=is_gated)
    else:
        calls.fail(step, call, input_.reason, input_.result, by, is_gated=is_gated)
    gates.walk(step, call.call_id, i.Findings(policies=input_.policies))


def result_evaluated(step: Step, input_: i.ResultEvaluated) -> None:
    """Puts what is on record of a call through its gate, with what policies say of it."""
    call = step.state.call(input_.call_id)
    is_due = call is not None and call.awaits_release and not call.is_held_by_policy
    if call is not None and is_due and call.attempt == input_.attempt:
        gates.walk(step, call.call_id, i.Findings(policies=input_.policies))


def not_sent(step: Step, input_: i.ToolNotSent) -> None:
    """Plans another attempt, as what was not sent may always be sent, unless it would come after the wait's end."""
    call = _running(step, input_.call_id, input_.attempt)
    if call is None:
        return
    reason = ErrorReason.EXECUTOR_UNAVAILABLE
    if step.state.phase is RunPhase.CANCELLING:
        calls.cancel(step, call)
    elif input_.withdrawn or calls.next_attempt_at(step, call) < calls.give_up_at(step, call, reason):
        calls.retry(step, call, reason)
    else:
        calls.give_up(step, call, input_.executor_identity)


def outcome_unknown(step: Step, input_: i.ToolOutcomeUnknown) -> None:
    """Repeats what may be repeated; of everything else that was not answered somebody must find out.

    An answer that cannot be read is one all the same: the executor is there, and sending the call again changes
    nothing.
    """
    call, by = _running(step, input_.call_id, input_.attempt), input_.executor_identity
    if call is None:
        return
    is_answered = input_.reason is ErrorReason.TOOL_ANSWER_INVALID
    if not call.idempotent and (not is_answered or _can_be_reconciled(step, call)):
        reconciling.lost(step, call, input_.reason, by)
    elif step.state.phase is RunPhase.CANCELLING and not is_answered:
        calls.cancel(step, call)
    elif step.state.phase is not RunPhase.CANCELLING and calls.may_repeat(step, call):
        calls.retry(step, call, input_.reason, by)
    else:
        calls.fail(step, call, input_.reason, by=by)


def executor_awaited(step: Step, input_: i.ExecutorAwaited) -> None:
    """The answer to a call that its executor holds: at its gate again, it is sent, held on, or given up for good."""
    call = step.state.call(input_.call_id)
    if call is None or call.phase is not CallPhase.REQUESTED or call.attempt != input_.attempt:
        return
    if call.passed is not PolicyStage.PRE_TOOL or step.state.phase is not RunPhase.RUNNING or needs_repair(step.state):
        return
    if not input_.has_place and input_.give_up_at != call.give_up_at:
        return  # news of an earlier wait
    available = i.Availability.HELD if input_.has_place else i.Availability.AWAY
    found = i.Findings(availability=available, policies=input_.policies)
    if gates.walk(step, call.call_id, found):
        start_with_places(step)


def recover(step: Step) -> None:
    """After a restart: a running call waits to be sent again, as often as its tool allows; else it is reconciled.

    It was not the executor's failure, so no time is waited for; but thousands of calls come back together, and each
    needs a place at its executor.
    """
    for call in step.calls(CallPhase.RUNNING):
        if not call.idempotent:
            reconciling.lost(step, call, ErrorReason.EXECUTOR_LOST)
        elif calls.may_repeat(step, call):
            calls.retry(step, call, ErrorReason.EXECUTOR_LOST, after_us=0)
        else:
            calls.fail(step, call, ErrorReason.EXECUTOR_LOST)
    reconciling.recover(step)


def _can_be_reconciled(step: Step, call: CallState) -> bool:
    return step.state.phase is RunPhase.RUNNING and calls.spec_of(step, call).reconcilable


def _running(step: Step, call_id: EffectId, attempt: int) -> CallState | None:
    call = step.state.call(call_id)
    return call if call and call.phase is CallPhase.RUNNING and call.attempt == attempt else None
