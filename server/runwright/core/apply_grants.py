"""What records of grants make true."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from runwright.core import records as r
from runwright.core.approvals import ApprovalPhase, CallApproval
from runwright.core.call_changes import call_of, require, with_call
from runwright.core.policy import PolicyStage
from runwright.core.state import RunState


def _grant_issued(state: RunState, record: r.GrantIssued) -> RunState:
    before, _ = call_of(state, record, record.call_id)
    approval = before.approval
    is_approved = approval is not None and approval.phase is ApprovalPhase.APPROVED and not approval.grant_id
    # Whoever uses it names the event that issued it.
    require(is_approved and record.grant.issued_seq == state.seq + 1, record, state)
    return state


def _grant_used(state: RunState, record: r.GrantUsed) -> RunState:
    before, _ = call_of(state, record, record.call_id)
    asked = before.approval
    require(asked is not None and asked.phase is ApprovalPhase.ASKED, record, state)
    answered = CallApproval(
        ApprovalPhase.APPROVED,
        record.grant.approval,
        asked.number if asked else 0,
        digest=record.digest,
        arguments_digest=record.arguments_digest,
        requested_at=record.at,
        approved_by=record.grant.issuer,
        separation=record.separation,
        grant_id=record.grant.grant_id,
    )
    return with_call(state, before.__replace__(approval=answered, passed=PolicyStage.PRE_TOOL, since=record.at))


def _grant_superseded(state: RunState, record: r.GrantSuperseded) -> RunState:
    before, _ = call_of(state, record, record.call_id)
    approval = before.approval
    fits = approval is not None and approval.grant_id == record.grant_id and not before.attempt
    require(fits, record, state)
    number = approval.number if approval else 0
    return with_call(state, before.__replace__(approval=CallApproval(ApprovalPhase.ASKED, number=number), passed=None))


APPLY_GRANTS: Mapping[type[r.Record], Callable[[RunState, Any], RunState]] = {
    r.GrantIssued: _grant_issued,
    r.GrantUsed: _grant_used,
    r.GrantSuperseded: _grant_superseded,
}
