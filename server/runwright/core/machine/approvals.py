"""Approvals of calls: asked for at the gate, decided by somebody or by time, withdrawn when the run ends."""

from __future__ import annotations

from typing import assert_never

from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.approval_dispatches import all_dispatchers
from runwright.core.approval_rules import approval_spec
from runwright.core.approvals import (
    APPROVING,
    DENIED,
    ApprovalExpiry,
    ApprovalKind,
    ApprovalPhase,
    ApprovalVerdict,
    CallApproval,
    approval_effect_id,
    current_set,
    why_not_allowed,
)
from runwright.core.errors import ErrorReason
from runwright.core.ids import EffectId
from runwright.core.machine import approval_delegation, approval_edits, calls, grants
from runwright.core.machine.step import Step
from runwright.core.outcomes import CallPhase, RunPhase
from runwright.core.policy import PolicyOpinion
from runwright.core.state import NO_POLICY, CallState


def request(step: Step, call: CallState, opinion: PolicyOpinion) -> None:
    """Asks for an approval of exactly this call, as the policy that asks says. The call is held by it."""
    tool, arguments, asked = calls.spec_of(step, call), call.arguments, call.approval
    assert arguments is not None and asked is not None, "asked for by a policy, of an open call"
    spec = approval_spec(step.package.approvals, asked.name)
    step.add(
        r.ApprovalRequested(
            at=step.at,
            call_id=call.call_id,
            approval_id=approval_effect_id(call.call_id, asked.number + 1),
            kind=ApprovalKind.TOOL_CALL,
            tool=tool.name,
            executor=tool.executor,
            risk=tool.risk or "",
            arguments=arguments,
            digest=approval_edits.digest_of(step, call, arguments),
            schema_digest=tool.arguments_digest,
            approval=asked.name,
            policy_ref=opinion.policy_ref,
            rule=opinion.rule,
            code=opinion.code,
            decider=opinion.decider,
            message=opinion.message,
            tainted=(call.policy or NO_POLICY).tainted,
            sets=spec.approvers(step.at),
            expires_at=spec.expires_at(step.at),
            on_expiry=spec.expiry,
            four_eyes=spec.four_eyes,
            delegates=spec.delegates,
            escalates_at=spec.escalates_at(step.at),
            summary=step.summaries[call.call_id],
            reversible=tool.reversible,
            highlight=tool.highlight,
            dispatchers=all_dispatchers(spec.dispatchers, step.dispatchers[call.call_id]),
            grants=grants.offered(step.package, asked.name, tool, step.state.session_id),
            tainted_by=step.state.tainted_by,
        )
    )


def pending(step: Step, call_id: EffectId | None, approval_id: str) -> tuple[CallState, CallApproval] | None:
    """The call whose pending approval that is, while the run goes on; None when nothing is to be decided."""
    call = step.state.call(call_id) if call_id is not None else None
    if call is None or call.phase is not CallPhase.REQUESTED or step.state.phase is not RunPhase.RUNNING:
        return None
    if not call.is_pending or call.approval is None:
        return None
    is_it = approval_id == approval_effect_id(call.call_id, call.approval.number)
    return (call, call.approval) if is_it else None


def brought_up_to_date(step: Step, call: CallState, approval: CallApproval) -> CallApproval | None:
    """The approval as it stands at the time of this step, which may be past the turn of a set, or past its end.

    None: it has expired, and what follows is on record.
    """
    if step.at >= approval.expires_at:
        _expire(step, call, approval)
        return None
    now = current_set(approval.sets, step.at)
    if now > approval.current_set:
        escalated = r.ApprovalEscalated(
            at=step.at,
            call_id=call.call_id,
            approval_id=approval_effect_id(call.call_id, approval.number),
            tool=call.tool,
            requested_at=approval.requested_at,
            current_set=now,
        )
        step.add(escalated)
    return step.call(call.call_id).approval


def decided(step: Step, input_: i.ApprovalDecisionRequested, *, is_gated: bool) -> bool:
    """Records who decided what. True when the call may go on through its gate.

    `is_gated`: a response awaits its release, like any other result.
    Nothing is recorded of a decision on anything else than what is pending, and of one by somebody who may not decide.
    """
    found = pending(step, input_.call_id, input_.approval_id)
    if found is None:
        return False
    call = found[0]
    approval = brought_up_to_date(step, *found)
    if approval is None or not is_acceptable(step, input_, approval):
        return False
    if input_.grant is not None and (
        input_.verdict not in APPROVING or grants.why_not(step, call, approval, input_.grant) is not None
    ):
        return False
    if input_.verdict is ApprovalVerdict.DELEGATE:
        approval_delegation.delegate(step, approval, input_, call.tool)
        return False
    made = decision(step, input_, approval, call.tool)
    if input_.verdict is ApprovalVerdict.APPROVE_WITH_EDITS:
        if not approval_edits.is_usable(call, approval, input_.edited):
            return False
        made = approval_edits.with_edits(step, call, made, input_)
    step.add(made)
    if input_.grant is not None:
        grants.issue(step, call, approval, input_.grant, made)
    return _follows(step, call, approval, input_, is_gated=is_gated)


def is_acceptable(step: Step, input_: i.ApprovalDecisionRequested, approval: CallApproval) -> bool:
    """Whether the decision is about what is pending, by somebody who may decide now."""
    starter, four_eyes = step.state.principal, approval.four_eyes
    why_not = why_not_allowed(input_.decider, approval.approvers, starter, four_eyes=four_eyes)
    return input_.digest == approval.digest and why_not is None


def decision(step: Step, input_: i.ApprovalDecisionRequested, approval: CallApproval, tool: str) -> r.ApprovalDecided:
    """What somebody decided, for the record."""
    return r.ApprovalDecided(
        at=step.at,
        call_id=input_.call_id,
        approval_id=input_.approval_id,
        tool=tool,
        requested_at=approval.requested_at,
        digest=approval.digest,
        verdict=input_.verdict,
        decided_by=input_.decider.name,
        message=input_.message,
        note=input_.note,
        on_behalf_of=input_.on_behalf_of,
        request_id=input_.request_id,
        request_digest=input_.request_digest,
        separation=input_.decider.separation,
        grant_id=grants.grant_id(step.state, input_.approval_id) if input_.grant else "",
    )


def _follows(
    step: Step, call: CallState, approval: CallApproval, input_: i.ApprovalDecisionRequested, *, is_gated: bool
) -> bool:
    match input_.verdict:
        case ApprovalVerdict.APPROVE:
            return True
        case ApprovalVerdict.APPROVE_WITH_EDITS:
            approval_edits.replace(step, call, input_)
            return True
        case ApprovalVerdict.DENY:
            said = " ".join(filter(None, (input_.message, calls.lost_note(call))))
            denied = r.ToolDenied(
                at=step.at, call_id=call.call_id, tool=call.tool, policy_ref=approval.ref, code=DENIED, message=said
            )
            step.add(denied)
        case ApprovalVerdict.RESPOND:
            assert input_.response is not None, "checked when it was asked for"
            calls.complete(step, call, input_.response, is_gated=is_gated)
        case ApprovalVerdict.ABORT_RUN:
            pass  # the record says why the run is to end, and it is ended like by a policy
        case ApprovalVerdict.DELEGATE:
            pass  # decides nothing: it was told apart before
        case _:
            assert_never(input_.verdict)
    return False


def is_due(step: Step, input_: i.ApprovalDue) -> None:
    """The turn of a set, or the whole time, is over, whatever the clock says now."""
    if (found := pending(step, input_.call_id, input_.approval_id)) is not None:
        brought_up_to_date(step, *found)


def withdraw(step: Step, call: CallState) -> None:
    """There is nothing to decide any more, if something was to be decided: the call is closed right behind this."""
    approval = call.approval
    if call.is_pending and approval is not None:
        withdrawn = r.ApprovalWithdrawn(
            at=step.at,
            call_id=call.call_id,
            approval_id=approval_effect_id(call.call_id, approval.number),
            tool=call.tool,
            requested_at=approval.requested_at,
        )
        step.add(withdrawn)


def supersede_unless(step: Step, call: CallState, name: str, arguments_digest: str) -> None:
    """What was given, and not used, counts no more, unless it is what the policies ask for again."""
    approval = call.approval
    if approval is None or call.attempt or approval.phase is not ApprovalPhase.APPROVED:
        return
    if approval.covers(name, arguments_digest):
        return
    if approval.grant_id:
        grants.supersede(step, call, approval.grant_id)
        return
    superseded = r.ApprovalSuperseded(
        at=step.at,
        call_id=call.call_id,
        approval_id=approval_effect_id(call.call_id, approval.number),
        tool=call.tool,
        requested_at=approval.requested_at,
    )
    step.add(superseded)


def _expire(step: Step, call: CallState, approval: CallApproval) -> None:
    expired = r.ApprovalExpired(
        at=step.at,
        call_id=call.call_id,
        approval_id=approval_effect_id(call.call_id, approval.number),
        tool=call.tool,
        requested_at=approval.requested_at,
        expires_at=approval.expires_at,
        on_expiry=approval.on_expiry,
    )
    step.add(expired)
    if approval.on_expiry is ApprovalExpiry.DENY:
        # "Not made" would be untrue of a call that was lost before.
        calls.fail(step, call, ErrorReason.EXECUTOR_LOST if call.losses else ErrorReason.APPROVAL_EXPIRED)
