"""Remote policies in a walk: who is asked next, and what follows from all that was said.

One question is out at a time, in the order of the chain. What others deny is not asked about, and nobody is held up
for it: the rules that need no asking come first. Every answer counts for the digest that was asked about and no other.
Those in shadow mode are asked last, once each: what they say, or that they say nothing, is only put on record.
"""

from __future__ import annotations

from runwright.core import records as r
from runwright.core.apply_policies import cached_digest, next_question
from runwright.core.ids import EffectId
from runwright.core.machine import approvals
from runwright.core.machine.step import Step
from runwright.core.policy import PolicyFindings, PolicyOpinion, PolicyStage, RemotePolicy, Verdict, decided
from runwright.core.policy_walk import (
    MAX_DEFERS,
    MAX_REPLACEMENTS,
    NO_WALK,
    TOO_MANY_DEFERS,
    TOO_MANY_REPLACEMENTS,
    PolicyWalk,
    SettledAnswer,
)
from runwright.core.request import Budget
from runwright.core.units import Micros

_FINAL = (Verdict.DENY, Verdict.INTERRUPT)


def are_in(step: Step, subject: EffectId | None, found: PolicyFindings) -> bool:
    """True when the walk is one with remote policies: some are to be asked, or were asked at this stage."""
    walk = step.state.walk_of(subject)
    return bool(found.remotes) or (walk is not None and walk.stage is found.stage)


def heard(
    step: Step, subject: EffectId | None, found: PolicyFindings, answered: str | None = None
) -> PolicyOpinion | None:
    """The decision over a subject; None while it is held: a question is out, or it is another subject now.

    `answered` as in `decided`.
    """
    while True:
        walk = step.state.walk_of(subject) or NO_WALK
        enforced = [remote for remote in found.remotes if not remote.shadow]
        answers = [settled for remote in enforced if (settled := walk.answer_of(remote)) is not None]
        opinions = [*found.opinions, *(settled.opinion() for settled in answers)]
        if any(opinion.verdict in _FINAL for opinion in opinions):
            return decided(found.stage, opinions)
        missing = _next(found, walk, answers, len(enforced))
        if missing is None:
            break
        if not _answer_from_cache(step, subject, found, missing):
            ask(step, next_question(step.state, subject), 1, missing, found.stage, found.subject_digest)
            return None
    # One that is not asked any more since, too: its place is taken before anybody is heard anew.
    enforcing = (*answers, *(each for each in walk.answers if not each.remote.shadow))
    changed = next((each for each in enforcing if each.answer.verdict is Verdict.MODIFY), None)
    if changed is None:
        return _decided_or_held(found, opinions, walk, answers, answered)
    if walk.replacements >= MAX_REPLACEMENTS:
        remote = changed.remote
        return PolicyOpinion(Verdict.DENY, remote.policy_ref, "", TOO_MANY_REPLACEMENTS, remote.decider)
    _replace(step, subject, found, changed)
    return None


def _next(found: PolicyFindings, walk: PolicyWalk, answers: list[SettledAnswer], enforced: int) -> RemotePolicy | None:
    """Who is asked next. Those in shadow mode come last, and hear of nothing that is about to be replaced."""
    missing = [remote for remote in found.remotes if walk.answer_of(remote) is None]
    if len(answers) < enforced:
        return next(remote for remote in missing if not remote.shadow)
    is_replaced = any(settled.answer.verdict is Verdict.MODIFY for settled in answers)
    return missing[0] if missing and not is_replaced else None


def _decided_or_held(
    found: PolicyFindings,
    opinions: list[PolicyOpinion],
    walk: PolicyWalk,
    answers: list[SettledAnswer],
    answered: str | None,
) -> PolicyOpinion | None:
    """The decision; None while somebody defers it, which may not be without end."""
    defers = next((settled.remote for settled in answers if settled.answer.verdict is Verdict.DEFER), None)
    if defers is None:
        return decided(found.stage, opinions, answered)
    if walk.defers <= MAX_DEFERS:
        return None
    return PolicyOpinion(Verdict.DENY, defers.policy_ref, "", TOO_MANY_DEFERS, defers.decider)


def ask(step: Step, question: EffectId, attempt: int, remote: RemotePolicy, stage: PolicyStage, digest: str) -> None:
    """Intent of one attempt at a question."""
    deadline: Micros = step.at + remote.timeout_ms * 1000
    step.add(
        r.PolicyAsked(
            at=step.at,
            effect_id=question,
            attempt=attempt,
            remote=remote,
            stage=stage,
            subject_digest=digest,
            deadline=deadline,
        )
    )


def _answer_from_cache(step: Step, subject: EffectId | None, found: PolicyFindings, remote: RemotePolicy) -> bool:
    """Whether the policy has answered the same before, in this run, and may be taken at its word again."""
    call = step.state.call(subject) if subject else None
    tool, digest = call.tool if call else "", found.subject_digest
    tainted = call is not None and call.policy is not None and call.policy.tainted
    about, cached = cached_digest(call, digest), step.state.cached_answers
    known = [each for each in cached if each.is_of(remote, found.stage, tool, about, tainted=tainted)]
    if not (remote.cache and known):
        return False
    step.add(
        r.PolicyAnswered(
            at=step.at,
            effect_id=next_question(step.state, subject),
            attempt=0,
            remote=remote,
            subject_digest=digest,
            answer=known[-1].answer,
            cached_from=known[-1].question,
        )
    )
    return True


def _replace(step: Step, subject: EffectId | None, found: PolicyFindings, changed: SettledAnswer) -> None:
    said = changed.answer
    if subject and said.replacement is not None and found.stage is PolicyStage.PRE_TOOL:
        # What was given for other arguments counts no more, whatever is said of these.
        approvals.supersede_unless(step, step.call(subject), "", said.replacement.digest)
    step.add(
        r.SubjectReplaced(
            at=step.at,
            subject=subject,
            stage=found.stage,
            policy_ref=changed.remote.policy_ref,
            decider=changed.remote.decider,
            replaced_digest=found.subject_digest,
            replacement=said.replacement,
            budget=lowered(step.state.budget, said.budget) if said.budget is not None else None,
        )
    )


def lowered(budget: Budget, wanted: Budget) -> Budget:
    """The limits in force, lowered where less is wanted; 0 wants nothing."""
    return Budget(
        rounds=min(budget.rounds, wanted.rounds or budget.rounds),
        tool_calls=min(budget.tool_calls, wanted.tool_calls or budget.tool_calls),
        parallel_calls=min(budget.parallel_calls, wanted.parallel_calls or budget.parallel_calls),
    )
