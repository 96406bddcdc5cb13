"""What policies say, put on record: of one call, or of the run at one of its stages."""

from __future__ import annotations

from collections.abc import Sequence

from runwright.core import records as r
from runwright.core.inputs import Findings
from runwright.core.machine import approvals, calls, grants, remote_policies, run_approvals
from runwright.core.machine.step import Step
from runwright.core.outcomes import CallPhase, ResultRelease
from runwright.core.policy import (
    ALL_POLICIES,
    NOT_FOUND_OUT,
    SERVER,
    Decision,
    PolicyFindings,
    PolicyOpinion,
    PolicyStage,
    Verdict,
    decided,
    decided_for_call,
)
from runwright.core.run_approvals import KINDS
from runwright.core.state import CallState

_UNKNOWN = PolicyOpinion(Verdict.DENY, ALL_POLICIES, "", NOT_FOUND_OUT, SERVER)


def allow_call(step: Step, call: CallState, found: PolicyFindings | None) -> bool:
    """Decides on a call; one that may not be made is denied. True when it may, or somebody is to be asked first.

    While a policy is asked, not yet.
    """
    package, stage = step.package, PolicyStage.PRE_TOOL
    assert call.arguments is not None, "an open call keeps its arguments"
    digest = call.arguments.digest
    fits = found is None or found.subject_digest == digest
    answered = call.approval.name if call.approval and call.approval.is_given_for(digest) else None
    if not fits or (found is None and package.chain(stage).needs_findings):
        # What was found for something else counts for nothing, and what was not found out is not allowed.
        opinion, found = _UNKNOWN, None
    elif found is not None and remote_policies.are_in(step, call.call_id, found):
        decision = remote_policies.heard(step, call.call_id, found, answered)
        if decision is None:
            return False
        opinion = decision
    else:
        effect = calls.spec_of(step, call).effect.value
        opinion = decided_for_call(found, package.builtin_policies, effect, answered)
    if opinion.verdict is Verdict.ASK:
        approvals.supersede_unless(step, call, opinion.approval, digest)
        step.asking[call.call_id] = opinion
        step.summaries[call.call_id] = found.summary if found is not None else ""
        step.dispatchers[call.call_id] = found.dispatchers if found is not None else ()
        step.answering[call.call_id] = grants.found_for(step, call, opinion, found)
    step.add(_on_record(step, call, stage, digest, opinion, found))
    if opinion.verdict in (Verdict.ALLOW, Verdict.ASK):
        return True
    message = " ".join(filter(None, (opinion.message, calls.lost_note(call))))
    step.add(
        r.ToolDenied(
            at=step.at,
            call_id=call.call_id,
            tool=call.tool,
            policy_ref=opinion.policy_ref,
            code=opinion.code,
            message=message,
        )
    )
    return False


def are_heard_of_results(step: Step, by_operator: bool) -> bool:
    """True when what comes of a call awaits its release: at the operator's policies, or the package's."""
    return by_operator or step.package.chain(PolicyStage.POST_TOOL).is_used


def release(step: Step, call: CallState, found: PolicyFindings) -> bool:
    """Decides what the model is told of a call; the result stays on record as it is. False while a policy is asked."""
    stage = PolicyStage.POST_TOOL
    assert call.outcome is not None, "only what awaits its release comes here"
    digest = call.outcome.digest
    fits = found.subject_digest == digest
    opinion = _UNKNOWN
    if fits and found.remotes:
        decision = remote_policies.heard(step, call.call_id, found)
        if decision is None:
            return False
        opinion = decision
    elif fits:
        opinion = decided(stage, found.opinions)
    is_replaced = call.policy is not None and call.policy.is_outcome_replaced
    step.add(_on_record(step, call, stage, digest, opinion, found if fits else None))
    if opinion.verdict is Verdict.ALLOW:
        step.add(
            r.ToolResultReleased(
                at=step.at,
                call_id=call.call_id,
                tool=call.tool,
                release=ResultRelease.REPLACED if is_replaced else ResultRelease.RELEASED,
                replacement=call.outcome if is_replaced else None,
                failed=is_replaced and call.phase is CallPhase.FAILED,
            )
        )
        return True
    step.add(
        r.ToolResultReleased(
            at=step.at,
            call_id=call.call_id,
            tool=call.tool,
            release=ResultRelease.WITHHELD,
            policy_ref=opinion.policy_ref,
            code=opinion.code,
            message=opinion.message,
        )
    )
    return True


def allow_run(step: Step, stage: PolicyStage, findings: Findings, *, again: bool = False) -> bool:
    """Decides on the run at a stage that is used; else there is nothing to decide. True when it goes on.

    While a policy or a person is asked it does not, yet. A stage that it has passed is decided on `again` by other
    rules alone.
    """
    walk, found = step.state.walk, findings.said_at(stage)
    if not again and walk is not None and walk.has_passed(stage):
        return True
    if found is None:
        # Held there it is decided on, even where nobody is heard any more: nothing else would let it go.
        if not (step.package.chain(stage).is_used or (walk is not None and walk.stage is stage)):
            return True
        opinion, digest = _UNKNOWN, ""
    elif remote_policies.are_in(step, None, found):
        decision, digest = remote_policies.heard(step, None, found), found.subject_digest
        if decision is None:
            return False
        opinion = decision
    else:
        opinion, digest = decided(stage, found.opinions), found.subject_digest
    if opinion.verdict is Verdict.ASK and stage in KINDS:
        return _is_approved(step, stage, digest, opinion, found)
    step.add(_on_record(step, None, stage, digest, opinion, found))
    return opinion.verdict is Verdict.ALLOW


def is_still_decided_on(said: Sequence[PolicyFindings]) -> bool:
    """True for an answer that is not decided on at once: a person, or a remote policy that may deny it, is asked."""
    return any(
        any(not remote.shadow for remote in found.remotes)
        or decided(found.stage, found.opinions).verdict is Verdict.ASK
        for found in said
    )


def _is_approved(
    step: Step, stage: PolicyStage, digest: str, opinion: PolicyOpinion, found: PolicyFindings | None
) -> bool:
    """Whether the run has the approval that is asked for. Else somebody is asked, and it is held until they decide."""
    is_given = run_approvals.is_given(step, stage, opinion.approval, digest)
    if not is_given:
        run_approvals.supersede(step, stage)
    step.add(_on_record(step, None, stage, digest, opinion, found))
    if not is_given:
        run_approvals.request(step, opinion, found.dispatchers if found is not None else ())
    return is_given


def _on_record(
    step: Step,
    call: CallState | None,
    stage: PolicyStage,
    digest: str,
    opinion: PolicyOpinion,
    found: PolicyFindings | None,
) -> r.PolicyDecided:
    walk = step.state.walk_of(call.call_id if call else None)
    return r.PolicyDecided(
        at=step.at,
        stage=stage,
        subject=call.call_id if call else None,
        policy_ref=opinion.policy_ref,
        decision=Decision(opinion.verdict, opinion.code),
        rule=opinion.rule,
        decider=opinion.decider,
        subject_digest=digest,
        operator_digest=found.operator_digest if found else "",
        shadow=(*(found.shadow if found else ()), *(walk.shadow if walk else ())),
        approval=opinion.approval,
    )
