"""Decisions on approvals as this program sends them: on the digest that was shown, with an id made of their words."""

from __future__ import annotations

from hashlib import sha256

from runwright._gen.runwright.v1 import approval_pb2, grant_pb2
from runwright._gen.runwright.v1 import approval_service_pb2 as pb
from runwright.cli import names
from runwright.cli.escapes import escaped

APPROVE = approval_pb2.APPROVAL_VERDICT_APPROVE
DENY = approval_pb2.APPROVAL_VERDICT_DENY
RESPOND = approval_pb2.APPROVAL_VERDICT_RESPOND
ABORT_RUN = approval_pb2.APPROVAL_VERDICT_ABORT_RUN
APPROVE_WITH_EDITS = approval_pb2.APPROVAL_VERDICT_APPROVE_WITH_EDITS
PENDING = approval_pb2.APPROVAL_STATE_PENDING


def decision_on(
    shown: approval_pb2.Approval,
    verdict: approval_pb2.ApprovalVerdict.ValueType,
    message: str = "",
    grant: grant_pb2.GrantRequest | None = None,
) -> pb.DecisionRequest:
    """A decision on exactly what was shown. `message` is what the model is told, or the result of the call."""
    return named(
        pb.DecisionRequest(
            approval_id=shown.approval_id, digest=shown.digest, verdict=verdict, message=message, grant=grant
        )
    )


def edits_on(shown: approval_pb2.Approval, arguments: str) -> pb.DecisionRequest:
    """An approval of the call that was shown, with other arguments."""
    decision = decision_on(shown, APPROVE_WITH_EDITS)
    decision.arguments_json = arguments.encode()
    return named(decision)


def is_allowed(shown: approval_pb2.Approval, verdict: approval_pb2.ApprovalVerdict.ValueType) -> bool:
    """Whether this may be decided on it; the server has the last word."""
    return not shown.allowed_verdicts or verdict in shown.allowed_verdicts


def named(decision: pb.DecisionRequest) -> pb.DecisionRequest:
    """The decision with a request id made of all its words: whoever is not answered sends the same again."""
    decision.request_id = ""
    decision.request_id = f"cli-{sha256(decision.SerializeToString(deterministic=True)).hexdigest()[:32]}"
    return decision


def outcome_line(response: pb.DecideApprovalResponse) -> str:
    """What stands after a decision, in one line."""
    approval = response.approval
    made = approval.decision
    when = "" if response.decided else f", since {names.clock(made.time)}"
    word = names.approval_state(approval.state)
    given = f"; with grant {made.grant_id}" if made.grant_id else ""
    # The policies are asked about an edit, too, and may deny what was approved.
    edited = f"; what the policies say of the edit: `runwright events {approval.run_id}`"
    edited = edited if made.verdict == APPROVE_WITH_EDITS else ""
    return escaped(f"{approval.approval_id} is {word}, by {made.decided_by}{when}{given}{edited}")
