"""Rounds: a model request, its answer, and whether another one follows."""

from __future__ import annotations

from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.errors import ErrorReason, Failure
from runwright.core.machine import tools
from runwright.core.machine.step import Step
from runwright.core.outcomes import FinishReason, StopReason

# The arguments of a call may be cut off, too: an answer that stopped early is never acted on.
_ACTED_ON = (FinishReason.STOP, FinishReason.TOOL_CALLS)


def next_round(step: Step) -> None:
    """Asks the model (again), unless the budget of rounds is used up."""
    limit = step.state.budget.rounds
    if step.state.round >= limit:
        step.fail(StopReason.MAX_ROUNDS, budget_failure("rounds", limit))
        return
    step.add(r.ModelAttemptStarted(at=step.at, round=step.state.round + 1, attempt=1))


def model_replied(step: Step, given: i.ModelReplied) -> None:
    """Records the message and what follows from it: tools, the end, or a failure."""
    if not _is_open(step, given):
        return
    step.add(
        r.ModelMessageCompleted(
            at=step.at,
            round=given.round,
            attempt=given.attempt,
            text=given.text,
            finish=given.finish,
            tool_calls=len(given.calls) if given.finish in _ACTED_ON else 0,
            input_tokens=given.input_tokens,
            output_tokens=given.output_tokens,
        )
    )
    match given.finish:
        case FinishReason.LENGTH:
            message = "The model ran into its token limit."
            step.fail(StopReason.MAX_TOKENS, Failure(ErrorReason.MODEL_OUTPUT_TRUNCATED, message))
        case FinishReason.CONTENT_FILTER:
            message = "The provider withheld the answer."
            step.fail(StopReason.CONTENT_FILTER, Failure(ErrorReason.MODEL_OUTPUT_FILTERED, message))
        case FinishReason.STOP | FinishReason.TOOL_CALLS if given.calls:
            tools.requested(step, given.calls)
        case _:
            _complete(step, given)


def model_failed(step: Step, given: i.ModelFailed) -> None:
    """Ends the run: a failed model call is not tried again."""
    if not _is_open(step, given):
        return
    step.add(r.ModelAttemptFailed(at=step.at, round=given.round, attempt=given.attempt, error=given.error))
    step.fail(StopReason.PROVIDER_FAILURE, given.error)


def _complete(step: Step, given: i.ModelReplied) -> None:
    if given.text is None:
        # The edge refuses such answers; a run without an answer must not look complete.
        rule = "an answer with neither text nor calls"
        error = Failure(
            ErrorReason.MODEL_OUTPUT_INVALID,
            f"The model's answer cannot be used: {rule}.",
            (("adapter", step.state.provider), ("rule", rule)),
        )
        step.fail(StopReason.PROVIDER_FAILURE, error)
        return
    step.add(r.TurnCompleted(at=step.at))
    step.add(r.RunCompleted(at=step.at, stop=StopReason.END_TURN, result=given.text, usage=step.state.usage))


def _is_open(step: Step, given: i.ModelReplied | i.ModelFailed) -> bool:
    return step.state.model_attempt != 0 and (given.round, given.attempt) == (
        step.state.round,
        step.state.model_attempt,
    )


def budget_failure(budget: str, limit: int) -> Failure:
    """A budget is used up."""
    return Failure(
        ErrorReason.BUDGET_EXHAUSTED,
        f"The budget of {limit} {budget.replace('_', ' ')} is used up.",
        (("budget", budget), ("limit", str(limit))),
    )
