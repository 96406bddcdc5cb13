"""What is said of grants that cannot be given, found or taken back."""

from __future__ import annotations

from runwright.core.approval_rows import RequestedApproval
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.grants import Grant, GrantOffer, NotOffered


def grant_not_offered(asked: RequestedApproval, why: NotOffered) -> AgentError:
    """The grant is more than is offered with the approval, which is as it was."""
    message = f"Approval {asked.id} was not given: the grant is not offered with it: {_said(asked.grants, why)}."
    metadata = {"approval_id": asked.id, "rule": why.value}
    return AgentError(ErrorReason.GRANT_NOT_OFFERED, message, metadata=metadata)


def grant_not_found(grant_id: str) -> AgentError:
    """There is none of that id, or it is not to be seen: the same answer."""
    message = f"There is no grant {grant_id}, or it is not yours to see."
    return AgentError(ErrorReason.GRANT_NOT_FOUND, message, metadata={"grant_id": grant_id})


def grant_not_yours(grant: Grant) -> AgentError:
    """Whoever wants to take it back may not."""
    message = f"Grant {grant.grant_id} was issued by {grant.issuer}, who can take it back, or an admin."
    metadata = {"grant_id": grant.grant_id, "issuer": grant.issuer}
    return AgentError(ErrorReason.GRANT_NOT_YOURS, message, metadata=metadata)


def _said(offer: GrantOffer | None, why: NotOffered) -> str:
    if offer is None:
        return "none is"
    match why:
        case NotOffered.SCOPE:
            return f"its scope may be {', '.join(each.name for each in offer.scopes)}"
        case NotOffered.MATCHER:
            return f"its matcher may be {', '.join(each.name for each in offer.matchers)}"
        case NotOffered.USES:
            return f"it may have at most {offer.max_uses} uses"
        case NotOffered.VALID_FOR:
            return f"it may last for at most {offer.max_time}"
        case NotOffered.TAINTED:
            return "it may not answer for tainted calls"
        case NotOffered.ROOM:
            return "as many as are looked at stand there already; revoke one, or wait until one is over"
