"""Rounds: a model request, its answer, and whether another one follows."""

from __future__ import annotations

from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.error_kinds import RetryClass
from runwright.core.errors import ErrorReason, Failure
from runwright.core.ids import EffectId, idempotency_key, model_effect_id
from runwright.core.machine import dispatching, endings, gates, policies, tools
from runwright.core.machine.step import Step
from runwright.core.outcomes import FinishReason, RunPhase, StopReason
from runwright.core.policy import PolicyStage
from runwright.core.retry import LONGEST_WAIT_US, model_wait_us, retry_after_us

# The arguments of a call may be cut off, too: an answer that stopped early is never acted on.
_ACTED_ON = (FinishReason.STOP, FinishReason.TOOL_CALLS)
# How many attempts of one request the end of the server may cost: each may have reached the vendor, and be paid for.
# Far more than a request gets for failures of its own, since an end of the server is seldom its fault; a request that
# ends the server is found by what core/quarantine.py counts.
MAX_LOSSES = 25


def next_round(step: Step) -> None:
    """Asks the model (again), unless the budget of rounds is used up."""
    limit = step.state.budget.rounds
    if step.state.round >= limit:
        endings.fail(step, StopReason.MAX_ROUNDS, budget_failure("rounds", limit))
        return
    _start(step, step.state.round + 1, 1, step.state.route)


def model_replied(step: Step, input_: i.ModelReplied) -> None:
    """Records the message and what follows from it: tools, the end, or a failure."""
    if not _is_open(step, input_):
        return
    calls = len(input_.calls) if input_.finish in _ACTED_ON else 0
    step.add(
        r.ModelMessageCompleted(
            at=step.at,
            round=input_.round,
            attempt=input_.attempt,
            text=input_.text,
            finish=input_.finish,
            tool_calls=calls,
            input_tokens=input_.input_tokens,
            output_tokens=input_.output_tokens,
            opaque=input_.opaque if calls else None,  # without calls, this was the last request of the run
            route=step.state.route,
            is_held=not input_.calls and input_.text is not None and policies.is_still_decided_on(input_.policies),
        )
    )
    match input_.finish:
        case FinishReason.LENGTH:
            message = "The model ran into its token limit."
            endings.fail(step, StopReason.MAX_TOKENS, Failure(ErrorReason.MODEL_OUTPUT_TRUNCATED, message))
        case FinishReason.CONTENT_FILTER:
            message = "The provider withheld the answer."
            endings.fail(step, StopReason.CONTENT_FILTER, Failure(ErrorReason.MODEL_OUTPUT_FILTERED, message))
        case FinishReason.STOP | FinishReason.TOOL_CALLS if input_.calls:
            tools.requested(step, input_.calls)
        case _:
            _complete(step, input_)


def model_failed(step: Step, input_: i.ModelFailed) -> None:
    """Another attempt over this route, the next route, or the end."""
    if not _is_open(step, input_):
        return
    step.add(r.ModelAttemptFailed(at=step.at, round=input_.round, attempt=input_.attempt, error=input_.error))
    routes, route, model_request = step.package.routes, step.state.route, step.state.model_request
    # Every route would be told the same.
    has_next = route + 1 < len(routes) and input_.error.reason is not ErrorReason.CONVERSATION_TOO_LARGE
    requested_wait = retry_after_us(dict(input_.error.metadata))
    # A vendor that asks for more patience than there is leaves the request to the next route.
    in_time = requested_wait <= LONGEST_WAIT_US or not has_next
    may_pass = input_.error.error().meaning.retry is RetryClass.RETRYABLE
    if may_pass and in_time and model_request.failures < routes[route].max_attempts:
        name = idempotency_key(step.state.key, model_effect_id(input_.round))
        step.add(
            r.RetryScheduled(
                at=step.at,
                effect_id=model_effect_id(input_.round),
                attempt=input_.attempt,
                reason=input_.error.reason,
                not_before=step.at + model_wait_us(f"{name}/{input_.attempt}", model_request.failures, requested_wait),
            )
        )
    elif has_next:
        _start(step, input_.round, input_.attempt + 1, route + 1)
    else:
        endings.fail(step, StopReason.PROVIDER_FAILURE, input_.error)


def retry_due(step: Step, input_: i.RetryDue) -> None:
    """Makes the attempt that was planned, not before its time."""
    model_request = step.state.model_request
    planned = model_request.retry_at and (input_.round, input_.attempt) == (step.state.round, model_request.attempt)
    if planned and step.at >= model_request.retry_at:
        _start(step, input_.round, input_.attempt + 1, step.state.route)


def recover(step: Step) -> None:
    """After a restart: asks again over the same route, unless asking seems to be what ends the server."""
    state, model_request = step.state, step.state.model_request
    if not model_request.is_open:
        return
    if model_request.losses + 1 < MAX_LOSSES:
        _start(step, state.round, model_request.attempt + 1, state.route)
        return
    message = f"The server ended {MAX_LOSSES} times while it waited for this answer; the request is given up."
    error = Failure(ErrorReason.PROVIDER_FAILED, message, (("adapter", state.provider), ("class", "lost")))
    step.add(r.ModelAttemptFailed(at=step.at, round=state.round, attempt=model_request.attempt, error=error))
    endings.fail(step, StopReason.PROVIDER_FAILURE, error)


def _start(step: Step, round_number: int, attempt: int, route: int) -> None:
    """Intent of a model request."""
    chosen = step.package.routes[route]
    step.add(
        r.ModelAttemptStarted(
            at=step.at,
            round=round_number,
            attempt=attempt,
            provider=chosen.adapter,
            model=chosen.model,
            route=route,
        )
    )


def _complete(step: Step, input_: i.ModelReplied) -> None:
    if input_.text is None:
        # The edge refuses such answers; a run without an answer must not look complete.
        rule = "an answer with neither text nor calls"
        error = Failure(
            ErrorReason.MODEL_OUTPUT_INVALID,
            f"The model's answer cannot be used: {rule}.",
            (("adapter", step.state.provider), ("rule", rule)),
        )
        endings.fail(step, StopReason.PROVIDER_FAILURE, error)
        return
    if gates.walk(step, EffectId(""), i.Findings(policies=input_.policies)):
        publish(step)  # else the run is ended by what was decided, or held while a policy is asked


def publish(step: Step) -> None:
    """Ends turn and run with the answer that has passed OUTPUT, once nobody is being told of an approval any more."""
    assert step.state.result is not None, "what is published is an answer"
    dispatching.begin(step)
    if dispatching.is_under_way(step):
        return
    step.add(r.TurnCompleted(at=step.at))
    step.add(
        r.RunCompleted(
            at=step.at,
            stop=StopReason.END_TURN,
            result=step.state.result,
            usage=step.state.usage,
            tainted=step.state.tainted,
            input=step.state.input,
            tainted_by=step.state.tainted_by,
        )
    )


def publish_if_held(step: Step) -> None:
    """Ends a run that only a dispatcher has kept from it."""
    if awaits_publishing(step):
        publish(step)


def awaits_publishing(step: Step) -> bool:
    """True for a run whose answer has passed OUTPUT, and which is not published: else it would be held there."""
    state = step.state
    approval = state.approval if state.approval is not None and state.approval.stage is PolicyStage.OUTPUT else None
    is_asked = bool(state.model_request.attempt) or (approval is not None and not approval.is_given)
    is_asked = is_asked or (state.walk is not None and state.walk.stage is not None)
    is_answered = state.round > 0 and not state.calls and state.result is not None and not state.turn_ended
    return state.phase is RunPhase.RUNNING and state.policy_failure is None and is_answered and not is_asked


def _is_open(step: Step, input_: i.ModelReplied | i.ModelFailed) -> bool:
    return step.state.model_attempt != 0 and (input_.round, input_.attempt) == (
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
