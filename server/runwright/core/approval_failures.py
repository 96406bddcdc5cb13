"""What is said of approvals that did not lead to what was asked for: to whoever decides, and of runs that end of it."""

from __future__ import annotations

from runwright.core.approval_delegation import MAX_DELEGATIONS, NotDelegated
from runwright.core.approval_rows import ApprovalOutcome, RequestedApproval
from runwright.core.approvals import ApprovalState, ApproverSet, NotAllowed
from runwright.core.errors import MEANINGS, AgentError, ErrorReason, Failure
from runwright.core.ids import RunKey
from runwright.core.units import Micros, time_text


def approval_aborted(run: RunKey, approval_id: str, by: str, note: str, what: str = "a call") -> Failure:
    """Somebody who was asked to approve `what` ended the run."""
    said = f": {note}" if note else ""
    metadata = (("approval_id", f"{run.run_id}/{approval_id}"), ("decided_by", by))
    return Failure(
        ErrorReason.APPROVAL_ABORTED, f"{by} was asked to approve {what}, and ended the run{said}.", metadata
    )


def approval_denied(run: RunKey, approval_id: str, by: str, message: str, what: str) -> Failure:
    """Somebody who was asked to approve the start of the run, or its answer, denied it."""
    said = f": {message}" if message else ""
    metadata = (("approval_id", f"{run.run_id}/{approval_id}"), ("decided_by", by))
    return Failure(ErrorReason.APPROVAL_DENIED, f"{by} was asked to approve {what}, and denied it{said}.", metadata)


def approval_expired(run: RunKey, approval_id: str, expires_at: Micros, what: str = "a call") -> Failure:
    """Nobody decided on `what` in time, and the run ends."""
    at = time_text(expires_at)
    metadata = (("approval_id", f"{run.run_id}/{approval_id}"), ("expires_at", at))
    return Failure(ErrorReason.APPROVAL_EXPIRED, f"Nobody decided on {what} before {at}; the run ends then.", metadata)


def no_approval(approval_id: str) -> AgentError:
    """There is none of that id, or it is not to be seen: the same answer."""
    message = f"There is no approval {approval_id}, or it is not yours to see."
    return AgentError(ErrorReason.APPROVAL_NOT_FOUND, message, metadata={"approval_id": approval_id})


def already_closed(asked: RequestedApproval, outcome: ApprovalOutcome) -> AgentError:
    """Nothing is to be decided any more: who decided what, or why nobody will."""
    named = {"approval_id": asked.id}
    if outcome.state is ApprovalState.EXPIRED:
        at = time_text(asked.expires_at)
        return AgentError(
            ErrorReason.APPROVAL_EXPIRED,
            f"Approval {asked.id} expired at {at}; nobody had decided.",
            metadata={**named, "expires_at": at},
        )
    if outcome.verdict is None:
        message = f"Approval {asked.id} was withdrawn: the run ends or has ended."
        return AgentError(ErrorReason.APPROVAL_WITHDRAWN, message, metadata={**named, "state": outcome.state.name})
    at, by, verdict = time_text(outcome.at), outcome.decided_by, outcome.verdict.name
    metadata = {**named, "verdict": verdict, "decided_by": by, "decided_at": at, "request_id": outcome.request_id}
    message = f"Approval {asked.id} was decided by {by} at {at}: {verdict}."
    return AgentError(ErrorReason.APPROVAL_ALREADY_DECIDED, message, metadata=metadata)


def invalid_edit(asked: RequestedApproval, rule: str) -> AgentError:
    """The call cannot be made with the arguments that a decision carries; `rule` says why, in a sentence."""
    message = f"{asked.tool} cannot be called with the edited arguments of {asked.id}: {rule}"
    return AgentError(ErrorReason.APPROVAL_EDIT_INVALID, message, metadata={"approval_id": asked.id, "rule": rule})


def not_delegated(asked: RequestedApproval, to: str, why: NotDelegated) -> AgentError:
    """An approval cannot be delegated to somebody."""
    listed = ", ".join(asked.delegates) or "nobody"
    said = {
        NotDelegated.SEPARATION: "without keys nobody is told from anybody else",
        NotDelegated.NOT_LISTED: f"its package lets it be delegated to {listed}",
        NotDelegated.ONESELF: "whoever delegates may decide already",
        NotDelegated.STARTER: "they started the run",
        NotDelegated.EXECUTOR: f"they may serve executor {asked.executor}",
        NotDelegated.NO_APPROVER: "no key of that name has role approver",
        NotDelegated.ALREADY: "it is delegated to them",
        NotDelegated.TOO_OFTEN: f"it was delegated {MAX_DELEGATIONS} times",
    }
    metadata = {"approval_id": asked.id, "delegate_to": to, "rule": why.value}
    message = f"Approval {asked.id} cannot be delegated to {to}: {said[why]}."
    return AgentError(ErrorReason.APPROVAL_DELEGATE_NOT_ALLOWED, message, metadata=metadata)


def digest_mismatch(asked: RequestedApproval) -> AgentError:
    """Something else was looked at than what would run."""
    message = f"What is pending as {asked.id} is not what was looked at; its digest is {asked.digest}."
    metadata = {"approval_id": asked.id, "digest": asked.digest}
    return AgentError(ErrorReason.APPROVAL_DIGEST_MISMATCH, message, metadata=metadata)


def approver_not_allowed(
    asked: RequestedApproval, why: NotAllowed, current: ApproverSet, *, has_owner: bool
) -> AgentError:
    """Whoever decides must not. `has_owner`: the operator has said who serves the executor."""
    said = {
        NotAllowed.APPROVER_SET: f"it is the turn of {current}, and of nobody else",
        NotAllowed.EXECUTOR: f"whoever may serve executor {asked.executor} does not approve what it performs",
        NotAllowed.FOUR_EYES: "whoever started the run does not approve what it asks for",
        NotAllowed.DISPATCHER: "four eyes are people's, and this key is a dispatcher's",
    }
    metadata = {"approval_id": asked.id, "rule": why.value}
    message = f"Approval {asked.id} is not yours to decide now: {said[why]}."
    remedy = ""
    if why is NotAllowed.EXECUTOR and not has_owner:
        remedy = (
            f"Nobody owns the name {asked.executor}, so everybody with role executor may serve it, admins too: say"
            " whose it is with `executor_owners`, or decide with a key that has role approver alone."
            f" {MEANINGS[ErrorReason.APPROVER_NOT_ALLOWED].remedy}"
        )
    return AgentError(ErrorReason.APPROVER_NOT_ALLOWED, message, metadata=metadata, remedy=remedy)
