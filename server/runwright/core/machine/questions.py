"""Inputs about questions to remote policies: an answer, the end of a wait, and what follows for who was held."""

from __future__ import annotations

from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.errors import ErrorReason, Failure
from runwright.core.ids import EffectId, question_subject
from runwright.core.machine import gates, remote_policies, rounds
from runwright.core.machine.step import Step
from runwright.core.outcomes import CallPhase, RunPhase
from runwright.core.policy import PolicyFindings, Verdict
from runwright.core.policy_walk import FAILURE_CODES, PolicyAnswer, PolicyQuestion, PolicyWalk
from runwright.core.retry import backoff_us
from runwright.core.units import Micros


def replied(step: Step, input_: i.PolicyReplied) -> None:
    """Records what came of an attempt: an answer, another attempt, or a denial because nobody knows what is said."""
    found = _of(step, input_.effect_id, input_.attempt)
    if found is None or not found[1].is_open:
        return
    _, question = found
    if input_.error is None:
        assert input_.answer is not None, "what did not fail was answered"
        step.add(_answered(step, question, input_.answer))
    elif _is_given_up(step, question, input_.error):
        _give_up(step, question, input_.error)
    else:
        step.add(_answered(step, question, None, input_.error))
        _wait(step, question, input_.error.reason)
        return
    if input_.policies:
        go_on(step, question_subject(question.effect_id), input_.policies)


def awaited(step: Step, input_: i.PolicyAwaited) -> None:
    """Asks again, or gives up a policy that was not there in time."""
    found = _of(step, input_.effect_id, input_.attempt)
    if found is None or found[1].is_open or step.state.phase is not RunPhase.RUNNING:
        return
    walk, question = found
    if input_.is_there:
        assert walk.stage is not None, "it is held where it was asked about"
        digest = question.subject_digest
        remote_policies.ask(step, question.effect_id, question.attempt + 1, question.remote, walk.stage, digest)
    else:
        _give_up(step, question, _failure(question, ErrorReason.POLICY_UNAVAILABLE, "was not there in time"))


def resumed(step: Step, input_: i.ResumeRequested) -> None:
    """Ends what is deferred; the policy is asked again once all that is said has been found out anew."""
    walk = step.state.walk_of(question_subject(input_.effect_id))
    held = walk.deferred if walk is not None and walk.stage is not None else ()
    if step.state.phase is RunPhase.RUNNING and any(each.question == input_.effect_id for each in held):
        step.add(
            r.PolicyResumed(
                at=step.at,
                effect_id=input_.effect_id,
                resumed_by=input_.resumed_by,
                reason=input_.reason,
                request_id=input_.request_id,
            )
        )


def heard(step: Step, input_: i.PoliciesHeard) -> None:
    """Goes on with a walk that waits for nobody's answer."""
    subject = EffectId(input_.subject) if input_.subject else None
    walk = step.state.walk_of(subject)
    if walk is None or walk.stage is None or walk.question is not None or walk.step != input_.step:
        return
    if step.state.phase is RunPhase.RUNNING:
        go_on(step, subject, input_.policies)


def go_on(step: Step, subject: EffectId | None, policies: tuple[PolicyFindings, ...]) -> None:
    """Takes the subject on from its gate, with what is said of it now."""
    call = step.state.call(subject) if subject else None
    if subject and (call is None or not (call.phase is CallPhase.REQUESTED or call.awaits_release)):
        return
    passed = gates.walk(step, subject or EffectId(""), i.Findings(policies=policies))
    if passed and not subject and step.state.round:
        rounds.publish(step)


def recover(step: Step) -> None:
    """After a restart: what was asked is asked again. Questions have no effect, and the policy did not fail.

    One in shadow mode is not.
    """
    for walk in walks(step):
        question = walk.question
        if question is not None and question.is_open and walk.stage is not None:
            if question.remote.shadow:  # it holds nothing up for longer than one attempt
                _give_up(step, question, _failure(question, ErrorReason.POLICY_LOST, "was asked when the server ended"))
                continue
            attempt, digest = question.attempt + 1, question.subject_digest
            remote_policies.ask(step, question.effect_id, attempt, question.remote, walk.stage, digest)


def walks(step: Step) -> list[PolicyWalk]:
    """The walks in which somebody was asked: the run's, then those of its calls."""
    of_calls = [call.policy.walk for call in step.state.calls if call.policy is not None]
    return [walk for walk in (step.state.walk, *of_calls) if walk is not None]


def _of(step: Step, effect_id: EffectId, attempt: int) -> tuple[PolicyWalk, PolicyQuestion] | None:
    """The walk and the question that an input is about; None when it is settled, or at another attempt."""
    walk = step.state.walk_of(question_subject(effect_id))
    question = walk.question if walk is not None else None
    if walk is None or question is None or (question.effect_id, question.attempt) != (effect_id, attempt):
        return None
    return walk, question


def _is_given_up(step: Step, question: PolicyQuestion, error: Failure) -> bool:
    """True when there is no other attempt.

    A policy that answers what cannot be used is there: asking it again changes nothing.
    """
    if error.reason is ErrorReason.POLICY_ANSWER_INVALID or question.remote.shadow:
        return True
    if error.reason is ErrorReason.POLICY_UNAVAILABLE:
        return step.at >= _give_up_at(step, question)
    return question.failures + 1 >= question.remote.max_attempts


def _give_up_at(step: Step, question: PolicyQuestion) -> Micros:
    """When a host is waited for no more: one end for all outages while the question is open."""
    return question.give_up_at or step.at + question.remote.unavailable_timeout_ms * 1000


def _wait(step: Step, question: PolicyQuestion, reason: ErrorReason) -> None:
    step.add(
        r.RetryScheduled(
            at=step.at,
            effect_id=question.effect_id,
            attempt=question.attempt,
            reason=reason,
            not_before=step.at + backoff_us(question.failures + 1),
            give_up_at=_give_up_at(step, question),
        )
    )


def _give_up(step: Step, question: PolicyQuestion, error: Failure) -> None:
    """Closed by default: nobody knows what it says, so it denies."""
    code = FAILURE_CODES[error.reason]
    step.add(_answered(step, question, PolicyAnswer(Verdict.DENY, code, error.message), error))


def _failure(question: PolicyQuestion, reason: ErrorReason, what: str) -> Failure:
    name = question.remote.policy
    return Failure(reason, f"Policy {name} {what}.", (("policy", name),))


def _answered(
    step: Step, question: PolicyQuestion, answer: PolicyAnswer | None, error: Failure | None = None
) -> r.PolicyAnswered:
    return r.PolicyAnswered(
        at=step.at,
        effect_id=question.effect_id,
        attempt=question.attempt,
        remote=question.remote,
        subject_digest=question.subject_digest,
        answer=answer,
        error=error,
    )
