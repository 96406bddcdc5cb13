"""Reconciling: what became of an attempt that was lost is asked of its executor, before a person is needed.

An ask has an intent and a result on record, and no effect on the world: it may be repeated, and is, after longer and
longer waits, until `give_up_at`. That time is fixed when the attempt is lost, so a restart does not begin it anew.
"""

from __future__ import annotations

from typing import assert_never

from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.errors import ErrorReason
from runwright.core.machine import calls, policies
from runwright.core.machine.step import Step
from runwright.core.outcomes import CallPhase, ExecutorIdentity, ReconcileAnswer, RunPhase
from runwright.core.retry import ask_wait_us
from runwright.core.state import CallState, Reconciling
from runwright.core.units import Micros, span_us


def lost(step: Step, call: CallState, reason: ErrorReason, by: ExecutorIdentity | None = None) -> None:
    """Nobody knows whether the call happened, and it must not be repeated: its executor is asked, if it can be.

    Behind a barrier nothing begins, and so nobody is asked.
    """
    tool = calls.spec_of(step, call)
    if not tool.reconcilable or step.state.phase is not RunPhase.RUNNING:
        calls.require_recovery(step, call, reason, by)
        return
    give_up_at = step.at + span_us(tool.reconcile_for)
    _end(step, call, Reconciling(reason, give_up_at, step.at), ReconcileAnswer.NOT_ASKED, step.at, by)


def awaited(step: Step, input_: i.ReconcileAwaited) -> None:
    """The next ask, for which there is a place; or its end, when none came in time."""
    call, asking = _asking(step, input_.call_id, input_.attempt)
    if call is None or asking is None or asking.is_asked or asking.asks != input_.ask:
        return
    if step.state.phase is not RunPhase.RUNNING:
        return
    if not input_.has_place:
        calls.require_recovery(step, call, asking.reason, call.executor_identity)
        return
    if step.at < asking.next_ask_at:
        return
    tool = calls.spec_of(step, call)
    step.add(
        r.ReconcileStarted(
            at=step.at,
            call_id=call.call_id,
            attempt=call.attempt,
            tool=call.tool,
            executor=call.executor,
            ask=asking.asks + 1,
            idempotency_key=call.idempotency_key,
            arguments_digest=call.arguments.digest if call.arguments else "",
            deadline=step.at + tool.timeout_ms * 1000,
        )
    )


def answered(step: Step, input_: i.Reconciled) -> None:
    """Settles the call by what its executor says; else it is asked again, until a person is needed."""
    call, asking = _asking(step, input_.call_id, input_.attempt)
    if call is None or asking is None or not asking.is_asked or asking.asks != input_.ask:
        return
    by = input_.executor_identity
    match input_.answer:
        case ReconcileAnswer.PERFORMED:
            assert input_.result is not None, "what was performed has a result"
            _end(step, call, asking, input_.answer, None, by)
            is_gated = policies.are_heard_of_results(step, input_.is_gated)
            if input_.failure is None:
                calls.complete(step, call, input_.result, by, is_gated=is_gated)
            else:
                calls.fail(step, call, input_.failure, input_.result, by, is_gated=is_gated)
        case ReconcileAnswer.NOT_PERFORMED:
            _end(step, call, asking, input_.answer, None, by)
            _not_performed(step, call, asking, by)
        case (
            ReconcileAnswer.NOT_ASKED
            | ReconcileAnswer.CANNOT_SAY
            | ReconcileAnswer.NO_ANSWER
            | ReconcileAnswer.UNREADABLE
        ):
            _ask_again(step, call, asking, input_.answer, by)
        case _:
            assert_never(input_.answer)


def recover(step: Step) -> None:
    """After a restart: whoever was being asked is asked again, at once."""
    for call in step.calls(CallPhase.RECONCILING):
        asking = call.reconciling
        if asking is not None and asking.is_asked:
            _end(step, call, asking, ReconcileAnswer.NO_ANSWER, step.at)


def withdraw(step: Step, call: CallState) -> None:
    """Nobody waits for an answer any more: the call is settled in another way."""
    if call.reconciling is not None and call.reconciling.is_asked:
        _end(step, call, call.reconciling, ReconcileAnswer.NO_ANSWER, None)


def _not_performed(step: Step, call: CallState, asking: Reconciling, by: ExecutorIdentity | None) -> None:
    """It is sent again, as often as its tool allows; the model is told of one that is lost time and again."""
    if step.state.phase is RunPhase.CANCELLING:
        calls.cancel(step, call)
    elif call.losses + 1 < calls.spec_of(step, call).max_attempts:
        calls.retry(step, call, asking.reason, by)
    else:
        calls.fail(step, call, ErrorReason.EXECUTOR_LOST, by=by)


def _ask_again(
    step: Step, call: CallState, asking: Reconciling, answer: ReconcileAnswer, by: ExecutorIdentity | None
) -> None:
    if step.state.phase is RunPhase.RUNNING and step.at < asking.give_up_at:
        # The last ask is made when the time is over.
        _end(step, call, asking, answer, min(step.at + ask_wait_us(asking.asks), asking.give_up_at), by)
        return
    _end(step, call, asking, answer, None, by)
    calls.require_recovery(step, call, asking.reason, call.executor_identity)


def _end(
    step: Step,
    call: CallState,
    asking: Reconciling,
    answer: ReconcileAnswer,
    next_ask_at: Micros | None,
    by: ExecutorIdentity | None = None,
) -> None:
    step.add(
        r.ReconcileEnded(
            at=step.at,
            call_id=call.call_id,
            attempt=call.attempt,
            tool=call.tool,
            ask=asking.asks,
            answer=answer,
            reason=asking.reason,
            give_up_at=asking.give_up_at,
            next_ask_at=next_ask_at,
            executor_identity=by,
        )
    )


def _asking(step: Step, call_id: str, attempt: int) -> tuple[CallState | None, Reconciling | None]:
    call = next((call for call in step.calls(CallPhase.RECONCILING) if call.call_id == call_id), None)
    return (call, call.reconciling) if call is not None and call.attempt == attempt else (None, None)
