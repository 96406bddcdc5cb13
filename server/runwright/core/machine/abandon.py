"""abandon: the end of a run that the server itself cannot go on with."""

from __future__ import annotations

from runwright.core import records as r
from runwright.core.errors import Failure
from runwright.core.machine import calls
from runwright.core.machine.step import Step
from runwright.core.outcomes import CallPhase, StopReason
from runwright.core.package import RuntimePackage
from runwright.core.state import RunState
from runwright.core.units import Micros


def abandon(package: RuntimePackage, state: RunState, at: Micros, failure: Failure) -> list[r.Record]:
    """Closes every open effect and ends the run as failed, without asking what was planned.

    Even here no intent is left without a result: what must not be repeated is
    recorded as unknown.
    """
    step = Step(package, state, at)
    if state.model_attempt:
        step.add(r.ModelAttemptFailed(at=step.at, round=state.round, attempt=state.model_attempt, error=failure))
    for call in step.calls(CallPhase.REQUESTED, CallPhase.RUNNING):
        if call.phase is CallPhase.RUNNING and not call.idempotent:
            calls.require_recovery(step, call, failure.reason)
        else:
            calls.fail(step, call, failure.reason)
    step.fail(StopReason.INTERNAL, failure)
    return step.records
