"""Grants in the walk of a call: given with an approval, used where somebody would be asked, void by another ask."""

from __future__ import annotations

from collections.abc import Sequence

from runwright.core import records as r
from runwright.core.approval_rules import approval_spec
from runwright.core.approvals import CallApproval, approval_digest, approval_effect_id
from runwright.core.grant_rows import is_about
from runwright.core.grants import (
    AnsweringGrant,
    CalledTool,
    Grant,
    GrantableCall,
    GrantMatcher,
    GrantOffer,
    GrantRequest,
    NotOffered,
    grant_effect_id,
    may_answer,
    why_not_offered,
)
from runwright.core.ids import EffectId
from runwright.core.machine import calls
from runwright.core.machine.step import Step
from runwright.core.package import RuntimePackage, ToolSpec
from runwright.core.policy import PolicyFindings, PolicyOpinion, Verdict
from runwright.core.state import NO_POLICY, CallState, RunState
from runwright.core.units import span_us


def offered(package: RuntimePackage, approval: str, tool: ToolSpec, session_id: str) -> GrantOffer | None:
    """Which grants may be given with an approval of a call; None: none."""
    grants = approval_spec(package.approvals, approval).grants
    if grants is None:
        return None
    return grants.offer.for_call(is_grantable=tool.grantable, has_session=bool(session_id))


def grantable_call(package: RuntimePackage, state: RunState, call: CalledTool, approval: str) -> GrantableCall:
    """What a call that somebody would be asked about is to grants."""
    tool = package.tool(call.tool)
    assert tool is not None, "only calls of declared tools are asked about"
    return GrantableCall(
        run_id=state.key.run_id,
        session_id=state.session_id,
        agent_id=state.agent_id,
        principal=state.principal,
        package_fingerprint=state.package_fingerprint,
        tool=tool.name,
        executor=tool.executor,
        schema_digest=tool.arguments_digest,
        approval=approval,
        arguments_digest=call.arguments_digest,
        tainted=call.tainted,
        four_eyes=approval_spec(package.approvals, approval).four_eyes,
    )


def why_not(step: Step, call: CallState, approval: CallApproval, request: GrantRequest) -> NotOffered | None:
    """Why this grant may not be given with the approval of the call; None: it may."""
    offer = offered(step.package, approval.name, calls.spec_of(step, call), step.state.session_id)
    return why_not_offered(offer, request)


def grant_id(state: RunState, approval_id: str) -> str:
    """The id in the namespace of the grant that is given with an approval."""
    return f"{state.key.run_id}/{grant_effect_id(EffectId(approval_id))}"


def issue(step: Step, call: CallState, approval: CallApproval, request: GrantRequest, made: r.ApprovalDecided) -> None:
    """Records the grant that an approval was given with, right behind the decision: for what was approved.

    That is, after an edit, the arguments that it was approved with.
    """
    tool, state = calls.spec_of(step, call), step.state
    approval_id = approval_effect_id(call.call_id, approval.number)
    is_exact = request.matcher is GrantMatcher.EXACT_ARGUMENTS
    approved = made.edited_arguments.digest if made.edited_arguments else approval.arguments_digest
    grant = Grant(
        grant_id=grant_id(state, approval_id),
        scope=request.scope,
        run_id=state.key.run_id,
        session_id=state.session_id,
        agent_id=state.agent_id,
        principal=state.principal,
        package_fingerprint=state.package_fingerprint,
        tool=tool.name,
        executor=tool.executor,
        schema_digest=tool.arguments_digest,
        approval=approval.name,
        matcher=request.matcher,
        arguments_digest=approved if is_exact else "",
        condition=request.condition,
        uses=request.uses,
        until=step.at + span_us(request.valid_for),
        tainted=request.tainted,
        issuer=made.decided_by,
        approval_id=f"{state.key.run_id}/{approval_id}",
        issued_at=step.at,
        issued_seq=state.seq + 1,
    )
    step.add(r.GrantIssued(at=step.at, call_id=call.call_id, approval_id=approval_id, grant=grant))


def found_for(
    step: Step, call: CallState, opinion: PolicyOpinion, found: PolicyFindings | None
) -> Sequence[AnsweringGrant]:
    """The grants that may answer what is asked: none where somebody else asks, too, whom they do not answer."""
    walk = step.state.walk_of(call.call_id)
    answers = walk.answers if walk is not None else ()
    by_remote = any(each.answer.verdict is Verdict.ASK and not each.remote.shadow for each in answers)
    if found is None or by_remote or not asks_for_one(found, opinion.approval):
        return ()
    return found.grants


def asks_for_one(found: PolicyFindings, approval: str) -> bool:
    """True when whoever asks asks for the approval of that name."""
    return all(each.approval == approval for each in found.opinions if each.verdict is Verdict.ASK)


def use(step: Step, call: CallState, opinion: PolicyOpinion, found: Sequence[AnsweringGrant]) -> bool:
    """Whether a grant answers what is asked; one of its uses is spent then.

    That it stands, has not expired and has a use left are conditions of the append. One of which they are known not to
    hold is passed over.
    """
    tool = calls.spec_of(step, call)
    assert call.arguments is not None, "an open call keeps its arguments"
    called = CalledTool(call.tool, call.arguments.digest, (call.policy or NO_POLICY).tainted)
    asked = grantable_call(step.package, step.state, called, opinion.approval)
    answering = next((each for each in found if _answers(step, each, asked)), None)
    if answering is None:
        return False
    digest = approval_digest(
        step.state.package_fingerprint, tool.name, tool.arguments_digest, tool.executor, call.arguments.digest
    )
    step.add(
        r.GrantUsed(
            at=step.at,
            call_id=call.call_id,
            tool=tool.name,
            grant=answering.grant,
            issued_hash=answering.issued_hash,
            digest=digest,
            arguments_digest=call.arguments.digest,
            policy_ref=opinion.policy_ref,
            rule=opinion.rule,
            code=opinion.code,
            separation=answering.separation,
        )
    )
    return True


def supersede(step: Step, call: CallState, grant: str) -> None:
    """What a grant answered, and was not used, counts no more; its use stays spent."""
    step.add(r.GrantSuperseded(at=step.at, call_id=call.call_id, tool=call.tool, grant_id=grant))


def _answers(step: Step, found: AnsweringGrant, asked: GrantableCall) -> bool:
    grant = found.grant
    if any(is_about(condition, grant) for condition in step.failed):
        return False
    used = sum(isinstance(each, r.GrantUsed) and each.grant.grant_id == grant.grant_id for each in step.records)
    return used < found.left and may_answer(grant, asked, step.at)
