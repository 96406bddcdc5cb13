"""Approvals of a run as a whole, as the machine decides: what was given for something else counts no more."""

from __future__ import annotations

import pytest
from msgspec import structs
from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.apply import apply
from runwright.core.approvals import ApprovalPhase, ApprovalVerdict, Decider
from runwright.core.machine import decide, pending
from runwright.core.outcomes import StopReason
from runwright.core.policy import PolicyFindings, PolicyOpinion, PolicyStage, Verdict
from runwright.core.state import RunState
from runwright.core.transitions import IllegalTransition

from tests.core import builders as b

PACKAGE = b.package(
    policy="builtin:read-only",
    policies=[{"rules": [{"stage": "run_start", "then": "ask", "approval": "one"}]}],
    approvals={"one": {}, "two": {"expires": "1h"}},
)


def asks(approval: str, operator_digest: str = "", digest: str = "sha256:request") -> tuple[PolicyFindings, ...]:
    """A rule asks for an approval of the start."""
    opinion = PolicyOpinion(Verdict.ASK, "policies.0", "policies.0.rules.0", "rule.ask", "package", approval=approval)
    return (PolicyFindings(PolicyStage.RUN_START, digest, operator_digest, (opinion,)),)


def started() -> RunState:
    """A run whose start is held."""
    state, _ = b.play(PACKAGE, structs.replace(b.started(PACKAGE), policies=asks("one")))
    return state


def approves(state: RunState, *said: PolicyFindings, approval_id: str = "a0.1") -> i.ApprovalDecisionRequested:
    """Somebody approves what is pending."""
    assert state.approval is not None
    return i.ApprovalDecisionRequested(
        at=b.at(5),
        call_id=None,
        approval_id=approval_id,
        digest=state.approval.approval.digest,
        verdict=ApprovalVerdict.APPROVE,
        decider=Decider("ann", ("approver",)),
        request_id="d-1",
        request_digest="sha256:d",
        policies=said,
    )


def test_a_start_that_is_held_asks_nothing_of_the_model() -> None:
    state = started()

    assert [key[0] for key in pending(state)] == ["a0.1"]
    assert state.approval is not None
    with pytest.raises(IllegalTransition):
        apply(state, r.ModelAttemptStarted(at=b.at(2), round=1, attempt=1, provider="scripted", model="model-1"))


@pytest.mark.parametrize("said", [asks("two", "sha256:rules"), asks("one", "sha256:rules", "sha256:other")])
def test_an_approval_for_something_else_supersedes_what_was_given(said: tuple[PolicyFindings, ...]) -> None:
    state = started()

    state, records = b.play(PACKAGE, approves(state, *said), state=state)

    assert [type(record) for record in records] == [
        r.ApprovalDecided,
        r.ApprovalSuperseded,
        r.PolicyDecided,
        r.ApprovalRequested,
    ]
    assert state.approval is not None
    assert (state.approval.approval.phase, state.approval.approval.number) == (ApprovalPhase.PENDING, 2)
    assert [key[0] for key in pending(state)] == ["a0.2"]
    assert decide(PACKAGE, state, approves(state)) == [], "the first one is decided"
    _, records = b.play(PACKAGE, approves(state, approval_id="a0.2"), state=state)
    assert [type(record) for record in records] == [r.ApprovalDecided, r.ModelAttemptStarted]


def test_an_ask_for_what_was_given_counts_as_answered() -> None:
    state = started()

    _, records = b.play(PACKAGE, approves(state, *asks("one", "sha256:rules")), state=state)

    assert [type(record) for record in records] == [r.ApprovalDecided, r.PolicyDecided, r.ModelAttemptStarted]


def test_a_response_is_no_decision_on_a_start() -> None:
    state = started()

    assert decide(PACKAGE, state, structs.replace(approves(state), verdict=ApprovalVerdict.RESPOND)) == []


def test_nothing_is_published_but_the_answer_that_was_approved() -> None:
    said = (structs.replace(asks("")[0], stage=PolicyStage.OUTPUT, subject_digest=b.text("42").digest),)
    plain = b.package()
    state, _ = b.play(plain, b.started(plain), structs.replace(b.answered("42"), policies=said))
    assert state.approval is not None
    ends = r.RunCompleted(at=b.at(9), stop=StopReason.END_TURN, result=b.text("42"), usage=state.usage)
    approved = structs.replace(state.approval.approval, phase=ApprovalPhase.APPROVED)
    given = structs.replace(state.approval, approval=approved)

    with pytest.raises(IllegalTransition):
        apply(state, ends)
    with pytest.raises(IllegalTransition):
        apply(structs.replace(state, approval=given), structs.replace(ends, result=b.text("43")))
    assert apply(structs.replace(state, approval=given), ends).result == b.text("42")
