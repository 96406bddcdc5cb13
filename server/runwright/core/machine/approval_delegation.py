"""Delegating an approval: who may decide changes, and nothing else does."""

from __future__ import annotations

from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.approval_delegation import delegated, terms_of, why_not_delegated
from runwright.core.approvals import CallApproval
from runwright.core.machine.step import Step


def delegate(step: Step, approval: CallApproval, input_: i.ApprovalDecisionRequested, tool: str) -> None:
    """Records that somebody else is to decide; nothing of a delegation that may not be.

    `tool` is that of the call, empty where it is the run as a whole that is to be approved.
    """
    to, by = input_.delegate, input_.decider
    if to is None or why_not_delegated(to, by, terms_of(approval, step.state.principal)):
        return
    step.add(
        r.ApprovalDelegated(
            at=step.at,
            call_id=input_.call_id,
            approval_id=input_.approval_id,
            tool=tool,
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
