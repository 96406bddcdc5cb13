"""Grants as lines for people. Pure."""

from __future__ import annotations

from runwright._gen.runwright.v1 import event_pb2, grant_pb2
from runwright.cli import names, sanitize

_OPEN, _REVOKED = grant_pb2.GRANT_STATE_OPEN, grant_pb2.GRANT_STATE_REVOKED
_EXACT, _CONSTRAINTS = grant_pb2.GRANT_MATCHER_EXACT_ARGUMENTS, grant_pb2.GRANT_MATCHER_CONSTRAINTS


def grant_line(status: grant_pb2.GrantStatus) -> str:
    """A grant in one line: which, where it stands, what for, whose, and how long."""
    grant, state = status.grant, names.grant_state(status.state)
    left = f"{status.uses_left} of {grant.uses} uses left until {names.clock(grant.until)}"
    if status.state == _REVOKED:
        note = f": {status.note}" if status.note else ""
        left = f"by {status.revoked_by} at {names.clock(status.revoked_at)}{note}"
    elif status.state != _OPEN:
        left = f"{grant.uses - status.uses_left} of {grant.uses} uses, until {names.clock(grant.until)}"
    return sanitize.line(f"{grant.grant_id} {state}: {grant_words(grant)}, by {grant.issuer}; {left}")


def grant_words(grant: grant_pb2.Grant) -> str:
    """What a grant is for: `send with the same arguments, for the run first`."""
    calls = "with any arguments"
    if grant.matcher == _EXACT:
        calls = "with the same arguments"
    elif grant.matcher == _CONSTRAINTS:
        calls = f"where {grant.condition}"
    whose = {
        grant_pb2.GRANT_SCOPE_RUN: f"for the run {grant.run_id}",
        grant_pb2.GRANT_SCOPE_SESSION: f"for the session {grant.session_id}",
        grant_pb2.GRANT_SCOPE_AGENT_AND_PRINCIPAL: f"for runs of {grant.agent_id} that {grant.principal} starts",
        grant_pb2.GRANT_SCOPE_NAMESPACE: f"for all runs of agent {grant.agent_id}",
    }
    tainted = ", tainted or not" if grant.tainted else ""
    return f"{grant.tool} {calls}{tainted}, {whose.get(grant.scope, names.grant_scope(grant.scope))}"


def offer_words(offer: grant_pb2.GrantOffer) -> str:
    """Which grants may be given: `run, session; exact_arguments; at most 5 uses, for at most 8h`."""
    scopes = ", ".join(names.grant_scope(each).lower() for each in offer.scopes)
    matchers = ", ".join(names.grant_matcher(each).lower() for each in offer.matchers)
    tainted = ", also for tainted calls" if offer.tainted else ""
    return f"{scopes}; {matchers}; at most {offer.max_uses} uses, for at most {offer.max_time}{tainted}"


def grant_event(event: event_pb2.Event) -> str:
    """What an event says of a grant."""
    match event.WhichOneof("body"):
        case "grant_issued":
            grant = event.grant_issued.grant
            said = f"{grant.uses} more uses until {names.clock(grant.until)}: {grant_words(grant)}"
            return f"grant {grant.grant_id} by {grant.issuer}: {said}"
        case "grant_used":
            grant = event.grant_used.grant
            return f"permitted by grant {grant.grant_id} of {grant.issuer}, given with {grant.approval_id}"
        case _:
            return f"grant {event.grant_superseded.grant_id} counts no more: the policies ask for something else"
