"""What records of approvals make true."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from runwright.core import apply_run_approvals as of_run
from runwright.core import records as r
from runwright.core.approval_failures import approval_aborted, approval_expired
from runwright.core.approvals import (
    APPROVING,
    ApprovalExpiry,
    ApprovalPhase,
    ApprovalVerdict,
    CallApproval,
    approval_effect_id,
)
from runwright.core.call_changes import call_of, require, with_call
from runwright.core.delegated_approval import after_delegation
from runwright.core.ids import EffectId
from runwright.core.outcomes import StopReason
from runwright.core.policy import PolicyStage
from runwright.core.state import CallState, RunState
from runwright.core.transitions import IllegalTransition


def _approval_requested(state: RunState, record: r.ApprovalRequested) -> RunState:
    if record.call_id is None:
        return of_run.requested(state, record)
    before, _ = call_of(state, record, record.call_id)
    asked = before.approval
    require(asked is not None and asked.phase is ApprovalPhase.ASKED, record, state)
    pending = CallApproval(
        ApprovalPhase.PENDING,
        record.approval,
        (asked.number if asked else 0) + 1,
        digest=record.digest,
        arguments_digest=record.arguments.digest,
        sets=record.sets,
        requested_at=record.at,
        expires_at=record.expires_at,
        on_expiry=record.on_expiry,
        four_eyes=record.four_eyes,
        delegates=record.delegates,
    )
    require(record.approval_id == approval_effect_id(record.call_id, pending.number), record, state)
    return with_call(state, before.__replace__(approval=pending))


def _approval_decided(state: RunState, record: r.ApprovalDecided) -> RunState:
    if record.call_id is None:
        return of_run.decided(state, record)
    before, approval = _pending(state, record, record.call_id)
    if record.verdict is ApprovalVerdict.ABORT_RUN:
        failure = approval_aborted(state.key, record.approval_id, record.decided_by, record.note)
        return _without_approval(state, before).__replace__(stop=StopReason.APPROVAL_ABORTED, policy_failure=failure)
    if record.verdict not in APPROVING:
        return _without_approval(state, before)
    require(record.digest == approval.digest, record, state)
    approved = approval.__replace__(
        phase=ApprovalPhase.APPROVED, approved_by=record.decided_by, separation=record.separation, sets=()
    )
    if record.verdict is ApprovalVerdict.APPROVE_WITH_EDITS:
        edited = record.edited_arguments
        require(edited is not None and edited.digest != approval.arguments_digest, record, state)
        assert edited is not None, "required before"
        # It is given for the edited arguments and no others. The policies say whether the call goes on with them.
        approved = approved.__replace__(digest=record.edited_digest, arguments_digest=edited.digest)
        return with_call(state, before.__replace__(approval=approved, passed=None, since=record.at))
    return with_call(state, before.__replace__(approval=approved, passed=PolicyStage.PRE_TOOL, since=record.at))


def _approval_expired(state: RunState, record: r.ApprovalExpired) -> RunState:
    if record.call_id is None:
        return of_run.expired(state, record)
    before, _ = _pending(state, record, record.call_id)
    after = _without_approval(state, before)
    if record.on_expiry is not ApprovalExpiry.ABORT_RUN:
        return after
    failure = approval_expired(state.key, record.approval_id, record.expires_at)
    return after.__replace__(stop=StopReason.APPROVAL_EXPIRED, policy_failure=failure)


def _approval_withdrawn(state: RunState, record: r.ApprovalWithdrawn) -> RunState:
    if record.call_id is None:
        return of_run.withdrawn(state, record)
    return _without_approval(state, _pending(state, record, record.call_id)[0])


def _approval_superseded(state: RunState, record: r.ApprovalSuperseded) -> RunState:
    if record.call_id is None:
        return of_run.superseded(state, record)
    before, _ = call_of(state, record, record.call_id)
    approval = before.approval
    fits = approval is not None and approval.phase is ApprovalPhase.APPROVED and not before.attempt
    require(fits, record, state)
    number = approval.number if approval else 0
    return with_call(state, before.__replace__(approval=CallApproval(ApprovalPhase.ASKED, number=number), passed=None))


def _approval_escalated(state: RunState, record: r.ApprovalEscalated) -> RunState:
    if record.call_id is None:
        return of_run.escalated(state, record)
    before, approval = _pending(state, record, record.call_id)
    require(approval.current_set < record.current_set < len(approval.sets), record, state)
    return with_call(state, before.__replace__(approval=approval.__replace__(current_set=record.current_set)))


def _approval_delegated(state: RunState, record: r.ApprovalDelegated) -> RunState:
    if record.call_id is None:
        return of_run.delegated(state, record)
    before, approval = _pending(state, record, record.call_id)
    delegated = after_delegation(approval, record)
    require(delegated is not None, record, state)
    return with_call(state, before.__replace__(approval=delegated))


def _pending(state: RunState, record: r.Record, call_id: EffectId) -> tuple[CallState, CallApproval]:
    """The call that a record about its pending approval is about, and that approval."""
    before, _ = call_of(state, record, call_id)
    approval = before.approval
    if approval is None or approval.phase is not ApprovalPhase.PENDING:
        raise IllegalTransition(f"{record!r} does not fit {call_id}, of which nothing is pending")
    return before, approval


def _without_approval(state: RunState, before: CallState) -> RunState:
    """The call is open, and what becomes of it stands right behind."""
    return with_call(state, before.__replace__(approval=None, passed=None))


APPLY_APPROVALS: Mapping[type[r.Record], Callable[[RunState, Any], RunState]] = {
    r.ApprovalRequested: _approval_requested,
    r.ApprovalDecided: _approval_decided,
    r.ApprovalExpired: _approval_expired,
    r.ApprovalWithdrawn: _approval_withdrawn,
    r.ApprovalSuperseded: _approval_superseded,
    r.ApprovalEscalated: _approval_escalated,
    r.ApprovalDelegated: _approval_delegated,
}
