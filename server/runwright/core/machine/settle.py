"""settle: what follows once an input's own records stand."""

from __future__ import annotations

from runwright.core.machine import cancelling, rounds, tools
from runwright.core.machine.step import Step
from runwright.core.outcomes import CallPhase, RunPhase


def settle(step: Step) -> None:
    """Starts calls that have a place; once every call has its result, goes on to the next round or the end.

    In REPAIR_NEEDED nothing new begins: asking the model on would hide the
    unknown outcome from it.
    """
    if step.state.phase is RunPhase.CANCELLING:
        cancelling.finish(step)
        return
    if step.state.phase is not RunPhase.RUNNING or step.state.model_request.attempt:
        return
    tools.start_with_places(step)
    if step.calls(CallPhase.REQUESTED, CallPhase.RUNNING):
        return
    if step.state.stop is not None:
        limit = step.state.budget.tool_calls
        step.fail(step.state.stop, rounds.budget_failure("tool_calls", limit))
        return
    rounds.next_round(step)
