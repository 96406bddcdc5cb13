"""decide: from a state and an input to the records that must be written, as one atomic append."""

from __future__ import annotations

from typing import assert_never

from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.ids import EffectId
from runwright.core.machine import (
    approvals,
    dispatching,
    endings,
    gates,
    policies,
    questions,
    reconciling,
    repairs,
    rounds,
    run_approvals,
    tools,
)
from runwright.core.machine.step import Step
from runwright.core.outcomes import OPEN_PHASES, RunPhase
from runwright.core.package import RuntimePackage
from runwright.core.places_held import places_held
from runwright.core.request import Budget
from runwright.core.side_rows import Condition
from runwright.core.state import RunState, needs_repair


def decide(package: RuntimePackage, state: RunState, input_: i.Input) -> list[r.Record]:
    """What the input makes true. Empty for an input that is late, repeated or means nothing now."""
    return advance(package, state, input_)[0]


def advance(package: RuntimePackage, state: RunState, input_: i.Input) -> tuple[list[r.Record], RunState]:
    """What the input makes true, and the state after it: what was folded while deciding is not folded again."""
    if isinstance(input_, i.ConditionFailed):
        return _advance(package, state, input_.of, input_.conditions)
    return _advance(package, state, input_, ())


def _advance(
    package: RuntimePackage, state: RunState, input_: i.Input, failed: tuple[Condition, ...]
) -> tuple[list[r.Record], RunState]:
    if state.is_terminal or (state.phase is RunPhase.NEW) != isinstance(input_, i.StartRequested):
        return [], state
    step = Step(package, state, input_.at, places_held(input_), failed)
    match input_:
        case i.StartRequested():
            _start(step, input_)
        case i.ModelReplied():
            rounds.model_replied(step, input_)
        case i.ModelFailed():
            rounds.model_failed(step, input_)
        case i.RetryDue():
            rounds.retry_due(step, input_)
        case i.ToolReturned():
            tools.returned(step, input_)
        case i.ToolNotSent():
            tools.not_sent(step, input_)
        case i.ToolOutcomeUnknown():
            tools.outcome_unknown(step, input_)
        case i.ExecutorAwaited():
            tools.executor_awaited(step, input_)
        case i.PolicyReplied():
            questions.replied(step, input_)
        case i.PolicyAwaited():
            questions.awaited(step, input_)
        case i.PoliciesHeard():
            questions.heard(step, input_)
        case i.ResumeRequested():
            questions.resumed(step, input_)
        case i.ReconcileAwaited():
            reconciling.awaited(step, input_)
        case i.Reconciled():
            reconciling.answered(step, input_)
        case i.ResultEvaluated():
            tools.result_evaluated(step, input_)
        case i.ResolutionRequested():
            repairs.resolve(step, input_)
        case i.ApprovalDecisionRequested() | i.ApprovalDue() | i.ApprovalDispatchReported() | i.DispatcherAwaited():
            _of_approval(step, input_)
        case i.CancelRequested():
            endings.cancel_requested(step, input_)
        case i.CancelDeadlinePassed():
            endings.cancel_deadline_passed(step)
        case i.Recovered():
            _recover(step)
        case i.ConditionFailed():
            raise AssertionError("conditions of an input are told all at once")
        case _:
            assert_never(input_)
    if step.records:
        _settle(step)
    return step.records, step.state


def _of_approval(
    step: Step,
    input_: i.ApprovalDecisionRequested | i.ApprovalDue | i.ApprovalDispatchReported | i.DispatcherAwaited,
) -> None:
    match input_:
        case i.ApprovalDue() if input_.call_id is not None:
            approvals.is_due(step, input_)
        case i.ApprovalDue():
            run_approvals.is_due(step, input_)
        case i.ApprovalDecisionRequested():
            _decided(step, input_)
        case i.DispatcherAwaited():
            dispatching.awaited(step, input_)
        case i.ApprovalDispatchReported():
            if (decision := dispatching.reported(step, input_)) is not None:
                _decided(step, decision)
            dispatching.begin(step)
            rounds.publish_if_held(step)
        case _:
            assert_never(input_)


def _decided(step: Step, input_: i.ApprovalDecisionRequested) -> None:
    if input_.call_id is None:
        _of_run_approval(step, input_)
    elif approvals.decided(step, input_, is_gated=policies.are_heard_of_results(step, input_.is_gated)):
        gates.walk(step, input_.call_id, i.Findings(availability=input_.availability, policies=input_.policies))


def _of_run_approval(step: Step, input_: i.ApprovalDecisionRequested) -> None:
    """Decides on the start or the answer of the run. Approved, it goes on, unless rules that are others now object."""
    stage = run_approvals.decided(step, input_)
    if stage is None:
        return
    found = i.Findings(policies=input_.policies)
    if found.said_at(stage) is None or policies.allow_run(step, stage, found, again=True):
        questions.go_on(step, None, input_.policies)


def _start(step: Step, input_: i.StartRequested) -> None:
    package, request = step.package, input_.request
    step.add(
        r.RunStarted(
            at=step.at,
            session_id=request.session_id,
            turn_id=input_.turn_id,
            agent_id=package.agent.id,
            principal=input_.principal,
            request=input_.request_ref,
            request_digest=input_.request_ref.digest,
            package_id=package.id,
            package=input_.package_ref,
            package_fingerprint=input_.package_fingerprint,
            provider=package.provider.adapter,
            model=package.provider.model,
            budget=effective_budget(package, request.budget),
            labels=request.labels,
            trace_parent=input_.trace_parent,
            journal_id=input_.journal_id,
            principal_roles=input_.principal_roles,
        )
    )
    if input_.context is not None:
        step.add(r.ContextAssembled(at=step.at, context=input_.context))
    step.add(r.TurnStarted(at=step.at, input=input_.input))
    gates.walk(step, EffectId(""), i.Findings(policies=input_.policies))


def effective_budget(package: RuntimePackage, requested: Budget) -> Budget:
    """The package's limits, lowered where the request asks for less; a request never raises one."""
    return Budget(
        rounds=min(package.budget.rounds, requested.rounds or package.budget.rounds),
        tool_calls=min(package.budget.tool_calls, requested.tool_calls or package.budget.tool_calls),
        parallel_calls=min(package.budget.parallel_calls, requested.parallel_calls or package.budget.parallel_calls),
    )


def _recover(step: Step) -> None:
    """Settles every open effect at once: what may be repeated is, under a higher attempt."""
    if step.state.phase is RunPhase.CANCELLING:
        endings.recover(step)
        return
    rounds.recover(step)
    tools.recover(step)
    questions.recover(step)
    dispatching.recover(step)


def _settle(step: Step) -> None:
    """What follows once the input's own records are there.

    A run that a policy ends goes on with nothing else. Calls that have passed their gate and have a place start; once
    every call has its result, and each result that awaits its release has it, the next round or the end follows. While
    the outcome of a call is unknown nothing new begins.
    """
    dispatching.begin(step)
    state = step.state
    if state.phase is RunPhase.CANCELLING:
        endings.finish(step)
        return
    if state.phase is RunPhase.RUNNING and state.policy_failure is not None:
        endings.by_policy(step)
        return
    if state.phase is not RunPhase.RUNNING or state.model_request.attempt or needs_repair(state):
        return
    if state.walk is not None and state.walk.stage is not None:
        return  # held while a policy is asked about it
    if state.approval is not None and state.approval.is_pending:
        return  # held while somebody is asked to approve its start or its answer
    if rounds.awaits_publishing(step):
        return  # held while a dispatcher is told
    tools.start_with_places(step)
    if step.calls(*OPEN_PHASES) or any(call.awaits_release for call in step.state.calls):
        return
    if step.state.stop is not None:
        endings.fail(step, step.state.stop, rounds.budget_failure("tool_calls", step.state.budget.tool_calls))
        return
    rounds.next_round(step)
