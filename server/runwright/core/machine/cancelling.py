"""Cancel: a barrier, one closing record for every open effect, and the end."""

from __future__ import annotations

from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.errors import ErrorReason, Failure
from runwright.core.machine import calls
from runwright.core.machine.step import Step
from runwright.core.outcomes import CallPhase, RunPhase


def requested(step: Step, input_: i.CancelRequested) -> None:
    """Sets the barrier and closes all that can be closed at once.

    A call that must not be repeated is left running until it answers or the
    deadline passes: closing it now would make its outcome unknown.
    """
    if step.state.phase is RunPhase.CANCELLING:
        return
    step.add(
        r.RunCancelRequested(
            at=step.at, reason=input_.reason, requested_by=input_.requested_by, deadline=step.at + input_.grace_us
        )
    )
    if step.state.model_attempt:
        error = Failure(ErrorReason.CANCELLED, "The run was cancelled while the model was asked.")
        step.add(
            r.ModelAttemptFailed(at=step.at, round=step.state.round, attempt=step.state.model_attempt, error=error)
        )
    for call in step.calls(CallPhase.REQUESTED, CallPhase.RUNNING):
        if call.phase is CallPhase.REQUESTED or call.idempotent:
            calls.cancel(step, call)


def deadline_passed(step: Step) -> None:
    """Closes what is still open once the deadline has really passed."""
    if step.at >= step.state.cancel_deadline:
        close_all(step)


def close_all(step: Step) -> None:
    """Closes what is still open at the deadline or after a crash, as unknown where it must not be repeated."""
    if step.state.phase is not RunPhase.CANCELLING:
        return
    for call in step.calls(CallPhase.RUNNING):
        if call.idempotent:
            calls.cancel(step, call)
        else:
            calls.require_recovery(step, call, ErrorReason.EXECUTOR_LOST)


def finish(step: Step) -> None:
    """Ends the run once nothing is open."""
    if step.calls(CallPhase.REQUESTED, CallPhase.RUNNING):
        return
    said = f": {step.state.cancel_reason}" if step.state.cancel_reason else ""
    error = Failure(ErrorReason.CANCELLED, f"The run was cancelled{said}.")
    step.add(r.TurnFailed(at=step.at, error=error))
    unknown = tuple(call.call_id for call in step.calls(CallPhase.UNKNOWN))
    step.add(r.RunCancelled(at=step.at, error=error, unknown_effects=unknown, usage=step.state.usage))
