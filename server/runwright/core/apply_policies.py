"""What records about policies, and about questions to remote ones, make true: a part of `apply`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from runwright.core import records as r
from runwright.core.apply_run_approvals import asked_to_approve
from runwright.core.approvals import ApprovalPhase, CallApproval
from runwright.core.call_changes import call_of, with_call
from runwright.core.call_changes import require as _require
from runwright.core.errors import ErrorReason
from runwright.core.ids import EffectId, question_effect_id, question_subject
from runwright.core.outcomes import CallPhase, StopReason
from runwright.core.policy import PolicyStage, Verdict
from runwright.core.policy_failures import policy_failure
from runwright.core.policy_walk import (
    MAX_CACHED,
    NO_WALK,
    CachedAnswer,
    PolicyQuestion,
    PolicyWalk,
    SettledAnswer,
)
from runwright.core.state import NO_POLICY, CallState, RunState
from runwright.core.transitions import IllegalTransition


def decided(state: RunState, record: r.PolicyDecided) -> RunState:
    """The run ends, unless it or the call may go on, or somebody is asked."""
    if record.subject is None and (asked := asked_to_approve(state, record)) is not None:
        return asked
    if record.subject is None or record.decision.verdict is Verdict.INTERRUPT:
        state = _ended_by_policy(state, record)
    if record.subject is None:
        walk = state.walk
        return state if walk is None else state.__replace__(walk=walk.decided(record.stage))
    call = state.call(record.subject)
    assert call is not None, "looked for before"
    heard = (call.policy or NO_POLICY).__replace__(operator_digest=record.operator_digest)
    if heard.walk is not None:
        heard = heard.__replace__(walk=heard.walk.decided(None))
    after = call.__replace__(policy=heard if heard != NO_POLICY else None)
    if record.decision.verdict is Verdict.ASK:
        return with_call(state, _asked_to_approve(after, record))
    return with_call(
        state, after.__replace__(passed=record.stage if record.decision.verdict is Verdict.ALLOW else None)
    )


def _asked_to_approve(call: CallState, record: r.PolicyDecided) -> CallState:
    """Somebody is to approve it, unless what is asked for was given."""
    approval = call.approval
    if approval is not None and approval.covers(record.approval, record.subject_digest):
        return call.__replace__(passed=record.stage)
    number = approval.number if approval else 0
    return call.__replace__(passed=None, approval=CallApproval(ApprovalPhase.ASKED, record.approval, number))


def _ended_by_policy(state: RunState, record: r.PolicyDecided) -> RunState:
    """The run is to end, unless it may go on: what is open is closed by the same decision or after it."""
    if record.decision.verdict is Verdict.ALLOW:
        return state
    is_interrupt = record.decision.verdict is Verdict.INTERRUPT
    stop = StopReason.POLICY_INTERRUPT if is_interrupt else StopReason.POLICY_DENIED
    failure = policy_failure(record.stage, record.decision, record.policy_ref)
    return state.__replace__(stop=stop, policy_failure=failure)


def asked(state: RunState, record: r.PolicyAsked) -> RunState:
    """The question is out: a new one, or another attempt at the one that is not settled."""
    subject = question_subject(record.effect_id)
    walk = state.walk_of(subject) or NO_WALK
    before = walk.question
    if before is not None:
        _require((record.effect_id, record.attempt) == (before.effect_id, before.attempt + 1), record, state)
        question = before.__replace__(attempt=record.attempt, is_open=True, deadline=record.deadline)
        return _with_walk(state, subject, walk.__replace__(question=question))
    _require(record.effect_id == next_question(state, subject) and record.attempt == 1, record, state)
    question = PolicyQuestion(record.effect_id, record.remote, 1, record.subject_digest, record.at, record.deadline)
    after = _with_walk(
        state, subject, walk.__replace__(stage=record.stage, questions=walk.questions + 1, question=question)
    )
    call = after.call(subject) if subject else None
    # What it had passed by other rules it has not passed by these.
    return after if call is None else with_call(after, call.__replace__(passed=None))


def answered(state: RunState, record: r.PolicyAnswered) -> RunState:
    """The question is settled, or the attempt was not answered."""
    subject = question_subject(record.effect_id)
    walk = state.walk_of(subject) or NO_WALK
    if record.cached_from:
        return _answered_from_cache(state, record, subject, walk)
    question = walk.question
    fits = question is not None and (record.effect_id, record.attempt) == (question.effect_id, question.attempt)
    # One that waits is only given up.
    _require(fits and (question is None or question.is_open or record.answer is not None), record, state)
    assert question is not None, "required before"
    if record.answer is None:
        assert record.error is not None, "an attempt that was not answered failed for some reason"
        failures = question.failures + (record.error.reason is not ErrorReason.POLICY_UNAVAILABLE)
        return _with_walk(
            state, subject, walk.__replace__(question=question.__replace__(is_open=False, failures=failures))
        )
    settled = SettledAnswer(question.remote, record.answer, record.effect_id, record.at)
    defers = walk.defers + (record.answer.verdict is Verdict.DEFER and not question.remote.shadow)
    answers = (*walk.answers, settled)
    after = _with_walk(state, subject, walk.__replace__(question=None, answers=answers, defers=defers))
    may_be_cached = record.answer.verdict in (Verdict.ALLOW, Verdict.DENY) and record.error is None
    if not (question.remote.cache and may_be_cached and walk.stage is not None):
        return after
    call = state.call(subject) if subject else None
    cached = CachedAnswer(
        question.remote.policy,
        walk.stage,
        call.tool if call else "",
        cached_digest(call, question.subject_digest),
        record.effect_id,
        record.answer,
        call is not None and call.policy is not None and call.policy.tainted,
    )
    return after.__replace__(cached_answers=(*after.cached_answers, cached)[-MAX_CACHED:])


def cached_digest(call: CallState | None, subject_digest: str) -> str:
    """What an answer must be about to count again: of a result also the arguments, which were seen with it."""
    if call is None or not call.awaits_release or call.arguments is None:
        return subject_digest
    return f"{subject_digest} {call.arguments.digest}"


def _answered_from_cache(
    state: RunState, record: r.PolicyAnswered, subject: EffectId | None, walk: PolicyWalk
) -> RunState:
    found = next((each for each in state.cached_answers if each.question == record.cached_from), None)
    fits = record.effect_id == next_question(state, subject) and walk.question is None
    _require(found is not None and fits and record.answer == found.answer, record, state)
    assert record.answer is not None, "required before"
    settled = SettledAnswer(record.remote, record.answer, record.effect_id, record.at)
    after = walk.__replace__(questions=walk.questions + 1, answers=(*walk.answers, settled))
    return _with_walk(state, subject, after)


def wait_for_policy(state: RunState, record: r.RetryScheduled) -> RunState:
    """Another attempt at a question is planned."""
    subject = question_subject(record.effect_id)
    walk = state.walk_of(subject)
    question = walk.question if walk else None
    _require(question is not None and not question.is_open, record, state)
    assert walk is not None and question is not None, "required before"
    _require((record.effect_id, record.attempt) == (question.effect_id, question.attempt), record, state)
    planned = question.__replace__(not_before=record.not_before, give_up_at=record.give_up_at or 0)
    return _with_walk(state, subject, walk.__replace__(question=planned))


def resumed(state: RunState, record: r.PolicyResumed) -> RunState:
    """What was deferred goes on: the policy is to be asked again."""
    subject = question_subject(record.effect_id)
    walk = state.walk_of(subject)
    held = walk.deferred if walk is not None else ()
    _require(any(each.question == record.effect_id for each in held), record, state)
    assert walk is not None, "required before"
    answers = tuple(each for each in walk.answers if each.question != record.effect_id)
    return _with_walk(state, subject, walk.__replace__(answers=answers))


def replaced(state: RunState, record: r.SubjectReplaced) -> RunState:
    """Arguments, text or budget are others now; nothing that was said before counts for them."""
    walk = state.walk_of(record.subject)
    call = state.call(record.subject) if record.subject else None
    if call is not None and _is_edit(call, record):
        return with_call(state, call.__replace__(arguments=record.replacement))
    _require(walk is not None and walk.question is None and walk.stage is record.stage, record, state)
    assert walk is not None, "required before"
    state = _with_walk(state, record.subject, walk.__replace__(answers=(), replacements=walk.replacements + 1))
    if record.subject:
        call = state.call(record.subject)
        _require(call is not None and call.arguments is not None and record.replacement is not None, record, state)
        assert call is not None, "required before"
        if record.stage is PolicyStage.POST_TOOL:
            said = (call.policy or NO_POLICY).__replace__(outcome=record.replacement)
            return with_call(state, call.__replace__(policy=said))
        return with_call(state, call.__replace__(arguments=record.replacement))
    match record.stage:
        case PolicyStage.RUN_START:
            _require(record.budget is not None, record, state)
            return state.__replace__(budget=record.budget or state.budget)
        case PolicyStage.INPUT if record.replacement is not None:
            return state.__replace__(input=(record.replacement,))
        case PolicyStage.OUTPUT if record.replacement is not None:
            return state.__replace__(result=record.replacement)
        case _:
            raise IllegalTransition(f"{record!r} replaces nothing")


def _is_edit(call: CallState, record: r.SubjectReplaced) -> bool:
    """True for the arguments that the call was just approved with, in the place of those it still has."""
    if call.approval is None or call.arguments is None or record.replacement is None or call.is_held_by_policy:
        return False
    replaces = record.stage is PolicyStage.PRE_TOOL and record.replaced_digest == call.arguments.digest
    is_approved = call.approval.is_given_for(record.replacement.digest) and not call.attempt
    return replaces and is_approved and not call.approval.is_given_for(call.arguments.digest)


def next_question(state: RunState, subject: EffectId | None) -> EffectId:
    """The id of the next question about a subject."""
    walk = state.walk_of(subject) or NO_WALK
    return question_effect_id(state.round, subject, walk.questions + 1)


def _with_walk(state: RunState, subject: EffectId | None, walk: PolicyWalk) -> RunState:
    if not subject:
        return state.__replace__(walk=walk)
    call = state.call(subject)
    if call is None:
        raise IllegalTransition(f"{subject} is no call of this round")
    return with_call(state, call.__replace__(policy=(call.policy or NO_POLICY).__replace__(walk=walk)))


def _policy_decided(state: RunState, record: r.PolicyDecided) -> RunState:
    _at_its_stage(state, record, record.subject, record.stage)
    return decided(state, record)


def _policy_asked(state: RunState, record: r.PolicyAsked) -> RunState:
    _at_its_stage(state, record, question_subject(record.effect_id), record.stage)
    return asked(state, record)


def _policy_answered(state: RunState, record: r.PolicyAnswered) -> RunState:
    _about_call(state, record, record.effect_id)
    return answered(state, record)


def _policy_resumed(state: RunState, record: r.PolicyResumed) -> RunState:
    _about_call(state, record, record.effect_id)
    return resumed(state, record)


def _subject_replaced(state: RunState, record: r.SubjectReplaced) -> RunState:
    _at_its_stage(state, record, record.subject, record.stage)
    return replaced(state, record)


def _about_call(state: RunState, record: r.Record, question: EffectId) -> None:
    """Raises IllegalTransition unless the call that a question is about is held; the run may be asked about, too."""
    if (subject := question_subject(question)) is not None:
        before, _ = call_of(state, record, subject)
        _require(before.phase is CallPhase.REQUESTED or before.awaits_release, record, state)


def _at_its_stage(state: RunState, record: r.Record, subject: EffectId | None, stage: PolicyStage) -> None:
    """Raises IllegalTransition unless a call is decided on where it is: before it is sent, or before its release."""
    if subject is not None:
        before, _ = call_of(state, record, subject)
        _require((stage is PolicyStage.POST_TOOL) == before.awaits_release, record, state)


APPLY_POLICIES: Mapping[type[r.Record], Callable[[RunState, Any], RunState]] = {
    r.PolicyDecided: _policy_decided,
    r.PolicyAsked: _policy_asked,
    r.PolicyAnswered: _policy_answered,
    r.PolicyResumed: _policy_resumed,
    r.SubjectReplaced: _subject_replaced,
}
