"""Delegating an approval of a call: who may decide changes, and nothing else does."""

from __future__ import annotations

from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.approval_delegation import delegated, terms_of, why_not_delegated
from runwright.core.approvals import CallApproval
from runwright.core.machine.step import Step
from runwright.core.state import CallState


def delegate(step: Step, call: CallState, approval: CallApproval, input_: i.ApprovalDecisionRequested) -> None:
    """Records that somebody else is to decide; nothing of a delegation that may not be."""
    to, by = input_.delegate, input_.decider
    if to is None or why_not_delegated(to, by, terms_of(approval, step.state.principal)):
        return
    step.add(
        r.ApprovalDelegated(
            at=step.at,
            call_id=call.call_id,
            approval_id=input_.approval_id,
            tool=call.tool,
            requested_at=approval.requested_at,
            digest=approval.digest,
            number=approval.delegations + 1,
            delegated_by=by.name,
            delegated_to=to.name,
            current_set=approval.current_set,
            approvers=delegated(approval, by.name, to.name),
            note=input_.note,
            on_behalf_of=input_.on_behalf_of,
            request_id=input_.request_id,
            request_digest=input_.request_digest,
        )
    )
