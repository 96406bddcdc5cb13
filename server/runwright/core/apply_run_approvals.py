"""What records make true of the approvals of a run as a whole: a part of `apply_approvals.py`."""

from __future__ import annotations

from runwright.core import records as r
from runwright.core.approval_failures import approval_aborted, approval_denied, approval_expired
from runwright.core.approvals import ApprovalPhase, ApprovalVerdict, CallApproval
from runwright.core.call_changes import require
from runwright.core.delegated_approval import after_delegation
from runwright.core.errors import Failure
from runwright.core.outcomes import StopReason
from runwright.core.policy import PolicyStage, Verdict
from runwright.core.policy_walk import NO_WALK
from runwright.core.run_approvals import KINDS, RunApproval, approval_words, run_approval_id
from runwright.core.state import RunState
from runwright.core.transitions import IllegalTransition

# The last stage that a run has passed while it is held at one.
_BEFORE = {PolicyStage.RUN_START: None, PolicyStage.OUTPUT: PolicyStage.INPUT}


def asked_to_approve(state: RunState, record: r.PolicyDecided) -> RunState | None:
    """The state after a decision that somebody is to be asked; None for any other, and where nobody can be.

    What is asked for may have been given.
    """
    stage = record.stage
    if record.decision.verdict is not Verdict.ASK or stage not in KINDS:
        return None
    before = state.approval if state.approval is not None and state.approval.stage is stage else None
    if before is not None and before.approval.covers(record.approval, record.subject_digest):
        return state.__replace__(walk=(state.walk or NO_WALK).decided(stage))
    number = before.approval.number if before is not None else 0
    asked = CallApproval(ApprovalPhase.ASKED, record.approval, number, arguments_digest=record.subject_digest)
    walk = state.walk.decided(_BEFORE[stage]) if state.walk is not None else None
    return state.__replace__(approval=RunApproval(stage, asked, record.operator_digest), walk=walk)


def requested(state: RunState, record: r.ApprovalRequested) -> RunState:
    """Somebody is asked."""
    asked = state.approval
    if asked is None or asked.approval.phase is not ApprovalPhase.ASKED or record.kind is not asked.kind:
        raise IllegalTransition(f"{record!r}: nobody is to be asked")
    pending = asked.approval.__replace__(
        phase=ApprovalPhase.PENDING,
        number=asked.approval.number + 1,
        digest=record.digest,
        sets=record.sets,
        requested_at=record.at,
        expires_at=record.expires_at,
        on_expiry=record.on_expiry,
        four_eyes=record.four_eyes,
        delegates=record.delegates,
    )
    require(record.approval_id == run_approval_id(state.round, pending.number), record, state)
    return state.__replace__(approval=asked.__replace__(approval=pending))


def decided(state: RunState, record: r.ApprovalDecided) -> RunState:
    """Approved, the run has passed the stage; else it ends."""
    asked = _pending(state, record)
    if record.verdict is ApprovalVerdict.APPROVE:
        require(record.digest == asked.approval.digest, record, state)
        given = asked.approval.__replace__(
            phase=ApprovalPhase.APPROVED, approved_by=record.decided_by, separation=record.separation, sets=()
        )
        return state.__replace__(
            approval=asked.__replace__(approval=given), walk=(state.walk or NO_WALK).decided(asked.stage)
        )
    what = approval_words(asked.kind)
    if record.verdict is ApprovalVerdict.ABORT_RUN:
        failure = approval_aborted(state.key, record.approval_id, record.decided_by, record.note, what)
        return _ends(state, StopReason.APPROVAL_ABORTED, failure)
    failure = approval_denied(state.key, record.approval_id, record.decided_by, record.message, what)
    return _ends(state, StopReason.APPROVAL_DENIED, failure)


def expired(state: RunState, record: r.ApprovalExpired) -> RunState:
    """Nobody has decided: whatever is said of that, there is nothing that the run could go on with."""
    what = approval_words(_pending(state, record).kind)
    failure = approval_expired(state.key, record.approval_id, record.expires_at, what)
    return _ends(state, StopReason.APPROVAL_EXPIRED, failure)


def withdrawn(state: RunState, record: r.ApprovalWithdrawn) -> RunState:
    """The run is ending."""
    _pending(state, record)
    return state.__replace__(approval=None)


def superseded(state: RunState, record: r.ApprovalSuperseded) -> RunState:
    """What was given counts no more; another one is asked for right behind this."""
    given = state.approval
    if given is None or not given.is_given:
        raise IllegalTransition(f"{record!r}: nothing was given")
    asked = CallApproval(ApprovalPhase.ASKED, number=given.approval.number)
    return state.__replace__(approval=given.__replace__(approval=asked))


def escalated(state: RunState, record: r.ApprovalEscalated) -> RunState:
    """It is the turn of another approver set."""
    asked = _pending(state, record)
    require(asked.approval.current_set < record.current_set < len(asked.approval.sets), record, state)
    return state.__replace__(
        approval=asked.__replace__(approval=asked.approval.__replace__(current_set=record.current_set))
    )


def delegated(state: RunState, record: r.ApprovalDelegated) -> RunState:
    """Somebody else is to decide."""
    asked = _pending(state, record)
    after = after_delegation(asked.approval, record)
    require(after is not None, record, state)
    assert after is not None, "required above"
    return state.__replace__(approval=asked.__replace__(approval=after))


def require_published(state: RunState, record: r.RunCompleted) -> None:
    """Raises IllegalTransition for an answer that somebody is asked to approve, or that is not what was approved."""
    asked = state.approval
    if asked is None or asked.stage is not PolicyStage.OUTPUT:
        return
    digest = record.result.digest if record.result is not None else ""
    require(asked.is_given and digest == asked.approval.arguments_digest, record, state)


def _pending(state: RunState, record: r.Record) -> RunApproval:
    if state.approval is None or not state.approval.is_pending:
        raise IllegalTransition(f"{record!r}: nothing of the run is pending")
    return state.approval


def _ends(state: RunState, stop: StopReason, failure: Failure) -> RunState:
    return state.__replace__(approval=None, stop=stop, policy_failure=failure)
