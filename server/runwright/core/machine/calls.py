"""The single records of a tool call, built from its state: start, retry, fail, cancel, unknown."""

from __future__ import annotations

from runwright.core import records as r
from runwright.core.approvals import approval_effect_id
from runwright.core.content import ContentRef
from runwright.core.errors import ErrorReason
from runwright.core.ids import idempotency_key
from runwright.core.machine.step import Step
from runwright.core.outcomes import ExecutorIdentity
from runwright.core.package import ToolSpec
from runwright.core.retry import backoff_us
from runwright.core.state import CallState
from runwright.core.units import Micros


def spec_of(step: Step, call: CallState) -> ToolSpec:
    """The call's tool. Only calls of declared tools get as far as needing it."""
    tool = step.package.tool(call.tool)
    assert tool is not None, f"{call.tool} is not in the pinned package"
    return tool


def start(step: Step, call: CallState) -> None:
    """Intent of the next attempt."""
    tool = spec_of(step, call)
    assert call.arguments is not None, "an open call keeps its arguments"
    approval = call.approval
    step.add(
        r.ToolStarted(
            at=step.at,
            call_id=call.call_id,
            attempt=call.attempt + 1,
            tool=tool.name,
            executor=tool.executor,
            effect=tool.effect.value,
            idempotent=tool.idempotent,
            idempotency_key=idempotency_key(step.state.key, call.call_id, step.state.journal_id),
            arguments_digest=call.arguments.digest,
            deadline=step.at + tool.timeout_ms * 1000,
            approval_id=approval_effect_id(call.call_id, approval.number) if approval and not approval.grant_id else "",
            approved_by=approval.approved_by if approval else "",
            approval_digest=approval.digest if approval else "",
            grant_id=approval.grant_id if approval else "",
        )
    )


def may_repeat(step: Step, call: CallState) -> bool:
    """True while an attempt that was not answered leaves the tool another one."""
    tool = spec_of(step, call)
    return call.idempotent and call.losses + 1 < tool.max_attempts


def retry(
    step: Step,
    call: CallState,
    reason: ErrorReason,
    by: ExecutorIdentity | None = None,
    *,
    after_us: Micros | None = None,
) -> None:
    """The attempt does not stand, or none could be made; the next one waits for time and executor.

    The time is `after_us`, else what attempts wait for one another.
    """
    step.add(
        r.RetryScheduled(
            at=step.at,
            effect_id=call.call_id,
            attempt=call.attempt,
            reason=reason,
            not_before=next_attempt_at(step, call) if after_us is None else step.at + after_us,
            give_up_at=give_up_at(step, call, reason),
            executor_identity=by,
        )
    )


def next_attempt_at(step: Step, call: CallState) -> Micros:
    """When the next attempt may be made at the earliest, after one that was refused or lost."""
    return step.at + backoff_us(call.attempt)


def give_up_at(step: Step, call: CallState, reason: ErrorReason) -> Micros:
    """When an executor that goes on refusing, or is away, is waited for no more."""
    if reason is ErrorReason.EXECUTOR_UNAVAILABLE and call.give_up_at:
        return call.give_up_at  # the same outage: an executor that comes and goes is not waited for without end
    return step.at + spec_of(step, call).unavailable_timeout_ms * 1000


def complete(
    step: Step,
    call: CallState,
    result: ContentRef,
    by: ExecutorIdentity | None = None,
    *,
    is_gated: bool = False,
) -> None:
    """The call was performed, with this result, which awaits its release if it is gated."""
    step.add(
        r.ToolCompleted(
            at=step.at,
            call_id=call.call_id,
            attempt=call.attempt,
            tool=call.tool,
            result=result,
            executor_identity=by,
            awaits_release=is_gated,
        )
    )


def fail(
    step: Step,
    call: CallState,
    reason: ErrorReason,
    message: ContentRef | None = None,
    by: ExecutorIdentity | None = None,
    *,
    is_gated: bool = False,
) -> None:
    """The call failed for certain, or was never made. What somebody says of it awaits its release if it is gated."""
    step.add(
        r.ToolFailed(
            at=step.at,
            call_id=call.call_id,
            attempt=call.attempt,
            tool=call.tool,
            reason=reason,
            message=message,
            executor_identity=by,
            awaits_release=is_gated and message is not None,
        )
    )


def give_up(step: Step, call: CallState, by: ExecutorIdentity | None = None) -> None:
    """Nobody waits for its executor any more."""
    # "Not sent" would be untrue of a call that was lost before.
    fail(step, call, ErrorReason.EXECUTOR_LOST if call.losses else ErrorReason.EXECUTOR_UNAVAILABLE, by=by)


def lost_note(call: CallState) -> str:
    """What the model is told beside a refusal of a call that was sent before, and not answered."""
    return "An earlier attempt of it was sent, and may have been performed." if call.losses else ""


def cancel(step: Step, call: CallState) -> None:
    """Closes a call as cancelled; the driver tells its executor by cancelling the RPC."""
    step.add(r.ToolCancelled(at=step.at, call_id=call.call_id, attempt=call.attempt, tool=call.tool))


def require_recovery(step: Step, call: CallState, reason: ErrorReason, by: ExecutorIdentity | None = None) -> None:
    """Nobody knows whether the call happened, and it must not be repeated."""
    step.add(
        r.ToolRecoveryRequired(
            at=step.at,
            call_id=call.call_id,
            attempt=call.attempt,
            tool=call.tool,
            executor=call.executor,
            idempotency_key=call.idempotency_key,
            arguments_digest=call.arguments.digest if call.arguments else "",
            reason=reason,
            executor_identity=by,
        )
    )
