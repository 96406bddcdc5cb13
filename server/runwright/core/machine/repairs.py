"""Repair: a call of unknown outcome is settled by somebody who found out what became of it."""

from __future__ import annotations

from typing import assert_never

from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.errors import ErrorReason
from runwright.core.machine import calls, endings, policies, reconciling
from runwright.core.machine.step import Step
from runwright.core.outcomes import CallPhase, Resolution, RunPhase


def resolve(step: Step, input_: i.ResolutionRequested) -> None:
    """Records who said what, and what follows from it.

    Nothing for another attempt, for a call that is not unknown (any more), and behind the barrier of a cancel: the
    run ends with what is unknown then. A call whose executor is still asked is unknown, too: nobody has to wait for
    that who knows better.
    """
    call = step.state.call(input_.call_id)
    if call is None or call.attempt != input_.attempt or step.state.phase is not RunPhase.RUNNING:
        return
    if call.phase not in (CallPhase.UNKNOWN, CallPhase.RECONCILING):
        return
    reconciling.withdraw(step, call)
    step.add(
        r.EffectResolved(
            at=step.at,
            call_id=call.call_id,
            attempt=call.attempt,
            tool=call.tool,
            resolution=input_.resolution,
            resolved_by=input_.resolved_by,
            reason=input_.reason,
            request_id=input_.request_id,
            request_digest=input_.request_digest,
        )
    )
    is_gated = policies.are_heard_of_results(step, input_.is_gated)
    match input_.resolution:
        case Resolution.HAPPENED:
            assert input_.result is not None, "what happened has a result"
            calls.complete(step, call, input_.result, call.executor_identity, is_gated=is_gated)
        case Resolution.TRY_AGAIN:
            # However often: whoever says so knows that nothing has happened.
            calls.retry(step, call, ErrorReason.EXECUTOR_LOST, after_us=0)
        case Resolution.FAILED:
            by = call.executor_identity
            calls.fail(step, call, ErrorReason.EXECUTOR_LOST, input_.result, by, is_gated=is_gated)
        case Resolution.END_RUN:
            endings.set_barrier(step, input_.reason, input_.resolved_by, input_.grace_us)
        case _:
            assert_never(input_.resolution)
