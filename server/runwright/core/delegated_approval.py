"""What a record of a delegation makes of the approval that it is about: a part of `apply`."""

from __future__ import annotations

from runwright.core import records as r
from runwright.core.approvals import CallApproval


def after_delegation(approval: CallApproval, record: r.ApprovalDelegated) -> CallApproval | None:
    """The approval as it was delegated; None for a record that does not fit it, or gives somebody more time."""
    fits = (record.number, record.current_set) == (approval.delegations + 1, approval.current_set)
    if not fits or record.approvers.until != approval.approvers.until:
        return None
    sets = [record.approvers if index == record.current_set else each for index, each in enumerate(approval.sets)]
    return approval.__replace__(sets=tuple(sets), delegations=record.number, delegated_set=record.current_set)
