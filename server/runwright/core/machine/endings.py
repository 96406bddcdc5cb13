"""The one way in which a run ends early: nothing new begins, what is open is closed, then turn and run end.

A cancel takes two steps, because it gives calls that must not be repeated a while to answer: the barrier, and the end
once nothing is open. Whatever needs no such while goes to the `end` at once. What differs is an `Ending`: another
reason to end a run early is another one of those.
"""

from __future__ import annotations

from msgspec import Struct

from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.errors import ErrorReason, Failure
from runwright.core.machine import approvals, calls, dispatching, reconciling, run_approvals
from runwright.core.machine.step import Step
from runwright.core.outcomes import OPEN_PHASES, CallPhase, RunPhase, StopReason
from runwright.core.package import RuntimePackage
from runwright.core.state import RunState, needs_repair
from runwright.core.units import Micros

# How long a call that must not be repeated may still answer when a policy ends its run.
INTERRUPT_GRACE_US = 10_000_000


class Ending(Struct, frozen=True, kw_only=True):
    """Why a run ends early, in the words of each record that says so.

    `error` is of turn and run, `of_request` of a model request that is open, `unanswered` of a call that must not be
    repeated and was not answered: its outcome stays unknown. With `closes_as` None calls are closed as cancelled,
    else as failed for that reason.
    """

    stop: StopReason
    error: Failure
    of_request: Failure
    unanswered: ErrorReason
    closes_as: ErrorReason | None = None

    @classmethod
    def failed(cls, stop: StopReason, error: Failure) -> Ending:
        """Everything is told the same failure."""
        return cls(stop=stop, error=error, of_request=error, unanswered=error.reason, closes_as=error.reason)

    @classmethod
    def cancelled(cls, reason: str) -> Ending:
        """Somebody asked for it, and may have said why."""
        said = f": {reason}" if reason else ""
        return cls(
            stop=StopReason.CANCELLED,
            error=Failure(ErrorReason.CANCELLED, f"The run was cancelled{said}."),
            of_request=Failure(ErrorReason.CANCELLED, "The run was cancelled while the model was asked."),
            unanswered=ErrorReason.EXECUTOR_LOST,
        )

    @classmethod
    def in_repair(cls, reason: str) -> Ending:
        """Nobody knows what became of a call, and somebody ended the run for that; they may have said why."""
        said = f": {reason}" if reason else ""
        return cls(
            stop=StopReason.EFFECT_UNKNOWN,
            error=Failure(ErrorReason.EFFECT_UNKNOWN, f"The run was ended with a call of unknown outcome{said}."),
            of_request=Failure(ErrorReason.CANCELLED, "The run was ended while the model was asked."),
            unanswered=ErrorReason.EXECUTOR_LOST,
        )


def end(step: Step, ending: Ending) -> None:
    """Closes whatever is open, then turn and run."""
    close(step, ending, awaits_answers=False)
    dispatching.close(step)
    step.add(r.TurnFailed(at=step.at, error=ending.error))
    usage = step.state.usage
    unknown = tuple(call.call_id for call in step.calls(CallPhase.UNKNOWN))
    if ending.stop is StopReason.CANCELLED:
        step.add(r.RunCancelled(at=step.at, error=ending.error, unknown_effects=unknown, usage=usage))
    else:
        step.add(r.RunFailed(at=step.at, stop=ending.stop, error=ending.error, usage=usage, unknown_effects=unknown))


def fail(step: Step, stop: StopReason, error: Failure) -> None:
    """Ends the run as failed."""
    end(step, Ending.failed(stop, error))


def by_policy(step: Step) -> None:
    """Ends the run because a policy says so: at once, or behind the barrier where a call may be of unknown outcome.

    One that must not be repeated and is under way may still answer, and so may an executor that is asked about one: to
    close it now would make its outcome unknown.
    One that is unknown stays so, as after a cancel, and the end names it.
    """
    failure, stop = step.state.policy_failure, step.state.stop
    assert failure is not None and stop is not None, "asked only once a policy has decided"
    under_way = step.calls(CallPhase.RUNNING, CallPhase.RECONCILING)
    nobody_is_to_be_told = all(each.is_over for each in step.state.dispatches)
    if all(call.idempotent for call in under_way) and not needs_repair(step.state) and nobody_is_to_be_told:
        fail(step, stop, failure)
        return
    set_barrier(step, failure.message, "", INTERRUPT_GRACE_US)
    finish(step)


def close(step: Step, ending: Ending, *, awaits_answers: bool) -> None:
    """One closing record for every open effect. No intent is left without a result.

    A call that must not be repeated stays open with `awaits_answers`: to close it now would make its outcome unknown.
    So does one whose executor is being asked; nobody is asked anew.
    """
    state = step.state
    if state.model_attempt:
        failed = ending.of_request
        step.add(r.ModelAttemptFailed(at=step.at, round=state.round, attempt=state.model_attempt, error=failed))
    _close_questions(step)
    run_approvals.withdraw(step)
    for call in step.calls(*OPEN_PHASES):
        asking = call.reconciling
        if asking is not None:
            if not (awaits_answers and asking.is_asked):
                reconciling.withdraw(step, call)
                calls.require_recovery(step, call, asking.reason, call.executor_identity)
        elif call.phase is CallPhase.RUNNING and not call.idempotent:
            if not awaits_answers:
                calls.require_recovery(step, call, ending.unanswered)
        else:
            approvals.withdraw(step, call)
            if ending.closes_as is None:
                calls.cancel(step, call)
            else:
                calls.fail(step, call, ending.closes_as)
    if awaits_answers:
        dispatching.begin(step)  # what was withdrawn is told before the run ends


def _close_questions(step: Step) -> None:
    for walk in (step.state.walk, *(call.policy.walk for call in step.state.calls if call.policy is not None)):
        question = walk.question if walk is not None else None
        if question is None or not question.is_open:
            continue
        error = Failure(ErrorReason.CANCELLED, "The run ended while the policy was asked.")
        step.add(
            r.PolicyAnswered(
                at=step.at,
                effect_id=question.effect_id,
                attempt=question.attempt,
                remote=question.remote,
                subject_digest=question.subject_digest,
                error=error,
            )
        )


def cancel_requested(step: Step, input_: i.CancelRequested) -> None:
    """Sets the barrier and closes all that can be closed at once."""
    if step.state.phase is RunPhase.CANCELLING:
        return
    set_barrier(step, input_.reason, input_.requested_by, input_.grace_us)


def set_barrier(step: Step, reason: str, requested_by: str, grace_us: Micros) -> None:
    """From here on nothing begins. What must not be repeated and is under way may answer within the grace."""
    deadline = step.at + grace_us
    step.add(r.RunCancelRequested(at=step.at, reason=reason, requested_by=requested_by, deadline=deadline))
    close(step, _of_barrier(step), awaits_answers=True)


def cancel_deadline_passed(step: Step) -> None:
    """Closes what is still open once the deadline has really passed."""
    if step.state.phase is RunPhase.CANCELLING and step.at >= step.state.cancel_deadline:
        close(step, _of_barrier(step), awaits_answers=False)
        dispatching.close(step)


def recover(step: Step) -> None:
    """After a restart behind the barrier nothing can answer any more; dispatchers are told once more."""
    close(step, _of_barrier(step), awaits_answers=False)
    dispatching.recover(step)


def finish(step: Step) -> None:
    """Behind the barrier: ends the run once nothing is open, and dispatchers have been told."""
    if not step.calls(*OPEN_PHASES) and not dispatching.is_under_way(step):
        end(step, _of_barrier(step))


def abandon(package: RuntimePackage, state: RunState, at: Micros, failure: Failure) -> list[r.Record]:
    """The end of a run that the server itself cannot go on with, without asking what was planned."""
    step = Step(package, state, at)
    fail(step, StopReason.INTERNAL, failure)
    return step.records


def _of_barrier(step: Step) -> Ending:
    """What the barrier on record was set for: by a resolution, by a policy, or else by somebody who cancels."""
    state = step.state
    if state.stop is StopReason.EFFECT_UNKNOWN:
        return Ending.in_repair(state.cancel_reason)
    if state.policy_failure is not None and state.stop is not None:
        return Ending.failed(state.stop, state.policy_failure)
    return Ending.cancelled(state.cancel_reason)
