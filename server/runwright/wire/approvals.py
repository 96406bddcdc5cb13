"""Approvals and the requests about them: proto ⇄ core."""

from __future__ import annotations

from runwright._gen.runwright.v1 import approval_pb2
from runwright._gen.runwright.v1 import approval_service_pb2 as pb
from runwright.core.approval_delegation_rows import Delegation
from runwright.core.approval_requests import ApprovalFilter, DecisionRequest, StandingApproval, verdicts_on
from runwright.core.approval_rows import ApprovalOutcome
from runwright.core.approvals import ApprovalState, ApprovalVerdict, ApproverSet
from runwright.core.errors import invalid_request
from runwright.core.ids import check_caller_id
from runwright.core.taint import Taint
from runwright.wire.codec import Codec
from runwright.wire.grant_offers import put_offer
from runwright.wire.grants import grant_request
from runwright.wire.values import micros, put_ref, put_timestamp

_VERDICTS = {verdict.value: verdict for verdict in ApprovalVerdict}
_STATES = {state.value: state for state in ApprovalState}
_TAINT = Codec(Taint, approval_pb2.Taint.DESCRIPTOR)


def approval_filter(message: pb.ListApprovalsRequest) -> ApprovalFilter:
    """proto → core. Raises INVALID_REQUEST for a state that nobody knows."""
    if unknown := [number for number in message.states if number not in _STATES]:
        names = ", ".join(f"APPROVAL_STATE_{each.name}" for each in ApprovalState)
        raise invalid_request("states", f"of {names}, not {unknown[0]}", "Leave them out for what is pending.")
    if message.agent_id:
        check_caller_id("agent_id", message.agent_id)
    return ApprovalFilter(
        states=frozenset(_STATES[number] for number in message.states),
        mine=message.mine,
        agent_id=message.agent_id,
        tool=message.tool,
        risk=message.risk,
        run_id=message.run_id,
        requested_before=micros(message.requested_before) if message.HasField("requested_before") else 0,
    )


def decision_request(message: pb.DecisionRequest) -> DecisionRequest:
    """proto → core. Raises INVALID_REQUEST for a verdict that nobody knows."""
    verdict = _VERDICTS.get(message.verdict)
    if verdict is None:
        names = ", ".join(f"APPROVAL_VERDICT_{each.name}" for each in ApprovalVerdict)
        raise invalid_request("verdict", f"one of {names}", "Say what is decided.")
    return DecisionRequest(
        approval_id=message.approval_id,
        digest=message.digest,
        verdict=verdict,
        request_id=message.request_id,
        message=message.message,
        note=message.note,
        on_behalf_of=message.on_behalf_of,
        arguments_json=message.arguments_json,
        delegate_to=message.delegate_to,
        grant=grant_request(message.grant) if message.HasField("grant") else None,
    )


def put_approval(message: approval_pb2.Approval, standing: StandingApproval) -> None:
    """core → a message's own approval."""
    asked = standing.asked
    message.approval_id, message.run_id, message.effect_id = asked.id, asked.run_id, asked.effect_id
    message.kind = approval_pb2.ApprovalKind.ValueType(asked.kind.value)
    message.state = approval_pb2.ApprovalState.ValueType(standing.state.value)
    message.agent_id, message.session_id, message.started_by = asked.agent_id, asked.session_id, asked.started_by
    message.package_fingerprint = asked.package_fingerprint
    message.tool, message.executor, message.risk = asked.tool, asked.executor, asked.risk
    put_ref(message.arguments, asked.arguments)
    message.digest, message.schema_digest = asked.digest, asked.schema_digest
    message.approval, message.policy_ref, message.rule = asked.approval, asked.policy_ref, asked.rule
    message.code, message.decider, message.message = asked.code, asked.decider, asked.message
    message.tainted = asked.tainted
    if asked.tainted_by is not None:
        _TAINT.put(message.tainted_by, asked.tainted_by)
    for each in standing.sets:
        put_approvers(message.sets.add(), each)
    message.current_set = standing.current_set
    put_timestamp(message.requested_at, asked.requested_at)
    put_timestamp(message.expires_at, asked.expires_at)
    message.on_expiry = approval_pb2.ApprovalExpiry.ValueType(asked.on_expiry.value)
    message.four_eyes = asked.four_eyes
    message.allowed_verdicts.extend(
        [approval_pb2.ApprovalVerdict.ValueType(verdict.value) for verdict in verdicts_on(asked)]
    )
    message.lineage.extend(asked.lineage)
    message.summary = asked.summary
    message.reversible = asked.reversible
    message.highlight.extend(asked.highlight)
    message.separation = approval_pb2.ApprovalSeparation.ValueType(standing.separation.value)
    message.delegates.extend(asked.delegates)
    for delegation in standing.delegations:
        _put_delegation(message.delegations.add(), delegation)
    if asked.escalates_at is not None:
        put_timestamp(message.escalates_at, asked.escalates_at)
    if asked.grants is not None:
        put_offer(message.grants, asked.grants)
    if standing.outcome is not None:
        put_timestamp(message.closed_at, standing.outcome.at)
        _put_decision(message, standing.outcome)


def put_approvers(message: approval_pb2.ApproverSet, value: ApproverSet) -> None:
    """core → a message's own approver set."""
    message.roles.extend(value.roles)
    message.principals.extend(value.principals)
    put_timestamp(message.until, value.until)


def _put_delegation(message: approval_pb2.ApprovalDelegation, value: Delegation) -> None:
    message.delegated_by, message.delegated_to = value.delegated_by, value.delegated_to
    put_timestamp(message.time, value.at)
    message.note, message.on_behalf_of, message.request_id = value.note, value.on_behalf_of, value.request_id


def _put_decision(message: approval_pb2.Approval, outcome: ApprovalOutcome) -> None:
    if outcome.verdict is None:
        return
    decision = message.decision
    decision.verdict = approval_pb2.ApprovalVerdict.ValueType(outcome.verdict.value)
    decision.decided_by, decision.digest = outcome.decided_by, outcome.digest
    put_timestamp(decision.time, outcome.at)
    decision.message, decision.note, decision.on_behalf_of = outcome.message, outcome.note, outcome.on_behalf_of
    decision.request_id, decision.grant_id = outcome.request_id, outcome.grant_id
    if outcome.edited_arguments is not None:
        put_ref(decision.edited_arguments, outcome.edited_arguments)
        decision.edited_digest = outcome.edited_digest
    decision.separation = approval_pb2.ApprovalSeparation.ValueType(outcome.separation.value)
