"""Runs whose calls a grant may answer for, played without an edge: what it finds is put on the inputs here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace
from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.approvals import ApprovalVerdict, Decider
from runwright.core.grants import AnsweringGrant, Grant, GrantMatcher, GrantRequest, GrantScope
from runwright.core.ids import EffectId
from runwright.core.outcomes import FinishReason
from runwright.core.package import RuntimePackage
from runwright.core.policy import PolicyFindings, PolicyOpinion, PolicyStage, Verdict
from runwright.core.state import RunState

from tests.core import builders as b

OFFERS: dict[str, Any] = {
    "scopes": ["run", "session", "agent_and_principal", "namespace"],
    "matchers": ["exact_arguments", "constraints", "any"],
    "max_uses": 9,
    "max_time": "1h",
    "tainted": True,
}
ARGUMENTS = b.json_text("{}")
WRITES = PolicyOpinion(Verdict.ASK, "policies.0", "policies.0.rules.0", "writes", "package", "", "writes")
BY_OPERATOR = PolicyOpinion(Verdict.ASK, "operator.policies.0", "operator.policies.0.rules.0", "ask", "operator")
HASH = bytes(range(32))


def package(offers: dict[str, Any] | None = None, **approval: Any) -> RuntimePackage:
    """A package whose calls of `send` are asked for, and may be permitted for later."""
    writes = {"sets": [{"roles": ["approver"]}], "grants": offers or OFFERS, **approval}
    rules = [{"then": "ask", "approval": "writes", "code": "writes"}]
    tools = (b.tool("send", effect="write"),)
    return b.package(*tools, policy="builtin:read-only", policies=[{"rules": rules}], approvals={"writes": writes})


def found(*grants: AnsweringGrant, opinions: tuple[PolicyOpinion, ...] = (WRITES,)) -> tuple[PolicyFindings, ...]:
    """What the edge finds for a call."""
    return (PolicyFindings(PolicyStage.PRE_TOOL, ARGUMENTS.digest, "", opinions, grants=grants),)


def sends(
    *grants: AnsweringGrant,
    round: int = 1,
    seconds: float = 1,
    calls: int = 1,
    opinions: tuple[PolicyOpinion, ...] = (WRITES,),
) -> i.ModelReplied:
    """The model asks to send, so many times at once; places are held."""
    not_by = grants[0].grant.issuer if grants else ""
    said = found(*grants, opinions=opinions)
    findings = i.Findings(availability=i.Availability.HELD, policies=said, not_by=not_by)
    asked = tuple(i.RequestedCall("send", f"p-{number}", ARGUMENTS, findings) for number in range(calls))
    return i.ModelReplied(
        at=b.at(seconds), round=round, attempt=1, text=None, finish=FinishReason.TOOL_CALLS, calls=asked
    )


def wanted(**fields: Any) -> GrantRequest:
    """A grant as somebody asks for it."""
    said = {"scope": GrantScope.RUN, "matcher": GrantMatcher.EXACT_ARGUMENTS, "uses": 3, "valid_for": "1h"}
    return GrantRequest(**{**said, **fields})


def approves(
    state: RunState, grant: GrantRequest | None, *, seconds: float = 2, **fields: Any
) -> i.ApprovalDecisionRequested:
    """Ann approves the first call, perhaps with a grant."""
    call = state.call(b.FIRST_CALL)
    assert call is not None and call.approval is not None
    said = i.ApprovalDecisionRequested(
        at=b.at(seconds),
        call_id=b.FIRST_CALL,
        approval_id="a1.1.1",
        digest=call.approval.digest,
        verdict=ApprovalVerdict.APPROVE,
        decider=Decider("ann", ("approver",)),
        request_id="decision-1",
        request_digest="",
        grant=grant,
        availability=i.Availability.HELD,
    )
    return replace(said, **fields)


def pending(pinned: RuntimePackage) -> RunState:
    """A run that asks somebody for its first call."""
    return b.play(pinned, b.started(pinned), sends())[0]


def granted(pinned: RuntimePackage, **fields: Any) -> tuple[RunState, Grant]:
    """A run in its second round, whose first call was approved with a grant, and that grant."""
    state = pending(pinned)
    state, records = b.play(pinned, approves(state, wanted(**fields)), state=state)
    [issued] = [record for record in records if isinstance(record, r.GrantIssued)]
    return b.play(pinned, b.returned(seconds=3), state=state)[0], issued.grant


def answering(grant: Grant, left: int = 3) -> AnsweringGrant:
    """The grant as the edge finds it."""
    return AnsweringGrant(grant, HASH, left)


def histories() -> Iterator[list[r.Record]]:
    """Each kind of record about grants, where it may stand."""
    pinned = package()
    started, replied = b.started(pinned), sends()
    state, before = b.play(pinned, started, replied)
    state, decided = b.play(pinned, approves(state, wanted()), b.returned(seconds=3), state=state)
    [issued] = [record for record in decided if isinstance(record, r.GrantIssued)]
    without_place = replace(sends(answering(issued.grant), round=2, seconds=4))
    [call] = without_place.calls
    findings = replace(call.findings, availability=i.Availability.BUSY)
    waits = replace(without_place, calls=(replace(call, findings=findings),))
    _, after = b.play(pinned, waits, _other_rules(), state=state)
    yield [*before, *decided, *after]


def _other_rules() -> i.ExecutorAwaited:
    """There is a place for the second call; the operator asks by now."""
    said = PolicyFindings(PolicyStage.PRE_TOOL, ARGUMENTS.digest, "rules-2", (WRITES, BY_OPERATOR))
    said = replace(said, opinions=(BY_OPERATOR,))
    return i.ExecutorAwaited(at=b.at(5), call_id=EffectId("c2.1"), attempt=0, has_place=True, policies=(said,))
