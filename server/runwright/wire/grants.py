"""Grants and the requests about them: proto ⇄ core."""

from __future__ import annotations

from runwright._gen.runwright.v1 import approval_service_pb2 as pb
from runwright._gen.runwright.v1 import grant_pb2
from runwright.core.errors import invalid_request
from runwright.core.grant_requests import GrantFilter, StandingGrant
from runwright.core.grants import Grant, GrantMatcher, GrantRequest, GrantScope, GrantState
from runwright.core.ids import check_caller_id
from runwright.wire.codec import Codec
from runwright.wire.values import put_timestamp

_SCOPES = {scope.value: scope for scope in GrantScope}
_MATCHERS = {matcher.value: matcher for matcher in GrantMatcher}
_STATES = {state.value: state for state in GrantState}
_GRANT: Codec[Grant] = Codec(Grant, grant_pb2.Grant.DESCRIPTOR)


def grant_request(message: grant_pb2.GrantRequest) -> GrantRequest:
    """proto → core. Raises INVALID_REQUEST for a scope or matcher that nobody knows."""
    scope, matcher = _SCOPES.get(message.scope), _MATCHERS.get(message.matcher)
    if scope is None:
        names = ", ".join(f"GRANT_SCOPE_{each.name}" for each in GrantScope)
        raise invalid_request("grant.scope", f"one of {names}", "Say for which runs it is to answer.")
    if matcher is None:
        names = ", ".join(f"GRANT_MATCHER_{each.name}" for each in GrantMatcher)
        raise invalid_request("grant.matcher", f"one of {names}", "Say for which calls it is to answer.")
    return GrantRequest(scope, matcher, message.condition, message.uses, message.valid_for, message.tainted)


def grant_filter(message: pb.ListGrantsRequest) -> GrantFilter:
    """proto → core. Raises INVALID_REQUEST for a state that nobody knows."""
    if unknown := [number for number in message.states if number not in _STATES]:
        names = ", ".join(f"GRANT_STATE_{each.name}" for each in GrantState)
        raise invalid_request("states", f"of {names}, not {unknown[0]}", "Leave them out for those that answer.")
    if message.agent_id:
        check_caller_id("agent_id", message.agent_id)
    return GrantFilter(
        states=frozenset(_STATES[number] for number in message.states),
        tool=message.tool,
        agent_id=message.agent_id,
        run_id=message.run_id,
        issuer=message.issuer,
    )


def put_grant(message: grant_pb2.GrantStatus, standing: StandingGrant) -> None:
    """core → a message's own grant as it stands."""
    _GRANT.put(message.grant, standing.grant)
    message.state = grant_pb2.GrantState.ValueType(standing.state.value)
    message.uses_left = standing.left
    if standing.revocation is not None:
        message.revoked_by, message.note = standing.revocation.revoked_by, standing.revocation.note
        put_timestamp(message.revoked_at, standing.revocation.at)
