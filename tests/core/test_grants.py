"""Grants in the run machine: what may be given, and what one answers, spent with the append it stands under."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace
from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.apply import apply
from runwright.core.approvals import ApprovalVerdict
from runwright.core.effects import AwaitExecutor
from runwright.core.grant_rows import ANSWERING, answering_key, counter_of
from runwright.core.grants import AnsweringGrant, GrantMatcher, GrantRequest, GrantScope, NotOffered, why_not_offered
from runwright.core.kinds import side_rows
from runwright.core.machine import pending
from runwright.core.side_rows import EntryIs, Spend
from runwright.core.state import RunState
from runwright.core.transitions import IllegalTransition

from tests.core import builders as b
from tests.core import grant_builders as g


def played(state: RunState, input_: i.Input, **fields: Any) -> Sequence[str]:
    """The kinds of records that an input makes true, of those about asking and starting."""
    _, records = b.play(g.package(**fields), input_, state=state)
    shown = ("APPROVAL_REQUESTED", "GRANT_USED", "GRANT_SUPERSEDED", "TOOL_STARTED")
    return [kind for kind in b.kinds(records) if kind in shown]


ASKED, USED = ["APPROVAL_REQUESTED"], ["GRANT_USED", "TOOL_STARTED"]


def test_a_grant_is_on_record_right_behind_the_decision_it_was_given_with() -> None:
    pinned = g.package()
    state = g.pending(pinned)

    after, records = b.play(pinned, g.approves(state, g.wanted()), state=state)

    assert b.kinds(records) == ["APPROVAL_DECIDED", "GRANT_ISSUED", "TOOL_STARTED"]
    issued = records[1]
    assert isinstance(issued, r.GrantIssued)
    assert (issued.grant.issued_seq, issued.grant.until) == (state.seq + 2, b.at(2) + 3600 * b.SECOND)
    assert (issued.grant.approval, issued.grant.issuer) == ("writes", "ann")
    with pytest.raises(IllegalTransition):
        apply(after, issued)


def test_a_grant_answers_where_somebody_would_be_asked() -> None:
    state, grant = g.granted(g.package())

    after, records = b.play(g.package(), g.sends(g.answering(grant), round=2, seconds=4), state=state)

    started = records[-1]
    assert isinstance(started, r.ToolStarted)
    assert (started.grant_id, started.approved_by, started.approval_id) == (grant.grant_id, "ann", "")
    call = after.call(started.call_id)
    assert call is not None
    assert call.not_performed_by == "ann", "an executor of whoever issued it does not get the call"


@pytest.mark.parametrize(
    "changed",
    [
        {"run_id": "run-2"},
        {"tool": "fetch"},
        {"executor": "other"},
        {"package_fingerprint": "sha256:runwright-package-v0:00"},
        {"schema_digest": "sha256:00"},
        {"approval": "payments"},
        {"arguments_digest": "sha256:00"},
        {"until": b.at(4)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_grant_for_anything_else_does_not_answer(changed: dict[str, Any]) -> None:
    state, grant = g.granted(g.package())

    other = replace(grant, **changed)

    assert played(state, g.sends(g.answering(other), round=2, seconds=4)) == ASKED


@pytest.mark.parametrize("scope", GrantScope)
def test_a_wider_scope_asks_for_what_it_is_named_after(scope: GrantScope) -> None:
    state, grant = g.granted(g.package(), scope=GrantScope.NAMESPACE)
    of_other_run = replace(grant, scope=scope, run_id="run-2", session_id="s-2", principal="eve")

    expected = USED if scope is GrantScope.NAMESPACE else ASKED
    assert played(state, g.sends(g.answering(of_other_run), round=2, seconds=4)) == expected


def test_a_grant_for_a_session_is_none_for_runs_without_one() -> None:
    state, grant = g.granted(g.package(), scope=GrantScope.NAMESPACE)
    assert not state.session_id

    of_none = replace(grant, scope=GrantScope.SESSION, run_id="run-2")

    assert played(state, g.sends(g.answering(of_none), round=2, seconds=4)) == ASKED


def test_a_tainted_call_is_asked_about_unless_the_grant_says_otherwise() -> None:
    state, grant = g.granted(g.package())
    tainted = replace(state, tainted=True)

    assert played(tainted, g.sends(g.answering(grant), round=2, seconds=4)) == ASKED
    assert played(tainted, g.sends(g.answering(replace(grant, tainted=True)), round=2, seconds=4)) == USED


def test_with_four_eyes_no_grant_of_whoever_started_the_run_answers() -> None:
    state, grant = g.granted(g.package())
    own = replace(grant, issuer=state.principal)
    pinned = g.package(four_eyes=True)
    fits = replace(own, schema_digest=grant.schema_digest)

    assert played(state, g.sends(g.answering(fits), round=2, seconds=4), four_eyes=True) == ASKED
    other = replace(fits, issuer="ann")
    assert played(state, g.sends(g.answering(other), round=2, seconds=4), four_eyes=True) == USED
    assert pinned.approvals["writes"].four_eyes


def test_a_grant_does_not_answer_what_somebody_else_asks() -> None:
    """Of the operator's asks, and of other approvals, nothing is said by a grant for this one."""
    state, grant = g.granted(g.package())

    both = g.sends(g.answering(grant), round=2, seconds=4, opinions=(g.WRITES, g.BY_OPERATOR))

    assert played(state, both) == ASKED


def test_two_calls_of_one_answer_use_no_more_than_is_left() -> None:
    state, grant = g.granted(g.package())

    found = played(state, g.sends(g.answering(grant, left=1), round=2, seconds=4, calls=2))

    assert found.count("GRANT_USED") == 1
    assert found.count("APPROVAL_REQUESTED") == 1


def test_a_condition_that_failed_is_put_once_more_and_another_grant_answers_or_somebody_is_asked() -> None:
    state, grant = g.granted(g.package())
    wider = replace(grant, grant_id="run-1/g9.1.1", scope=GrantScope.NAMESPACE)
    asks = g.sends(g.answering(grant), g.answering(wider), round=2, seconds=4)
    gone = (Spend(counter_of(grant.grant_id)), Spend(counter_of(wider.grant_id)))

    once = i.ConditionFailed(at=b.at(4), of=asks, conditions=gone[:1])
    twice = i.ConditionFailed(at=b.at(4), of=asks, conditions=gone)

    _, records = b.play(g.package(), once, state=state)
    assert [record.grant.grant_id for record in records if isinstance(record, r.GrantUsed)] == [wider.grant_id]
    assert played(state, twice) == ASKED
    revoked = EntryIs(ANSWERING, answering_key(grant), at=b.at(4))
    taken_back = i.ConditionFailed(at=b.at(4), of=replace(asks), conditions=(revoked,))
    _, records = b.play(g.package(), taken_back, state=state)
    assert [record.grant.grant_id for record in records if isinstance(record, r.GrantUsed)] == [wider.grant_id]


def test_a_use_stands_under_the_grant_and_what_is_left_of_it() -> None:
    state, grant = g.granted(g.package())
    after, records = b.play(g.package(), g.sends(g.answering(grant), round=2, seconds=4), state=state)
    [used] = [record for record in records if isinstance(record, r.GrantUsed)]

    conditions = side_rows(after, used)[:2]

    assert conditions == (EntryIs(ANSWERING, answering_key(grant), at=b.at(4)), Spend(counter_of(grant.grant_id)))


def test_what_a_grant_answered_and_was_not_sent_counts_no_more_when_others_ask() -> None:
    [history] = g.histories()

    kinds = b.kinds(history)

    assert kinds[-3:] == ["GRANT_SUPERSEDED", "POLICY_DECIDED", "APPROVAL_REQUESTED"]
    assert kinds.count("TOOL_STARTED") == 1


OFFER = g.package().approvals["writes"].grants


@pytest.mark.parametrize(
    ("asked", "offers", "why"),
    [
        ({}, {}, None),
        ({"scope": GrantScope.NAMESPACE}, {"scopes": ["run"]}, NotOffered.SCOPE),
        ({"matcher": GrantMatcher.ANY}, {"matchers": ["exact_arguments"]}, NotOffered.MATCHER),
        ({"uses": 10}, {}, NotOffered.USES),
        ({"valid_for": "61m"}, {}, NotOffered.VALID_FOR),
        ({"valid_for": "60m", "uses": 9}, {}, None),
        ({"tainted": True}, {"tainted": False}, NotOffered.TAINTED),
    ],
)
def test_a_grant_that_exceeds_what_is_offered_is_not_given(
    asked: dict[str, Any], offers: dict[str, Any], why: NotOffered | None
) -> None:
    pinned = g.package({**g.OFFERS, **offers})
    spec = pinned.approvals["writes"].grants
    assert spec is not None
    request: GrantRequest = g.wanted(**asked)
    state = g.pending(pinned)

    _, records = b.play(pinned, g.approves(state, request), state=state)

    assert why_not_offered(spec.offer, request) is why
    assert bool(records) is (why is None), "nothing is decided then"


def test_what_is_offered_is_on_record_without_any_for_tools_that_are_not_grantable() -> None:
    tools = (b.tool("send", effect="write", grantable=False),)
    writes = {"grants": {**g.OFFERS, "matchers": ["constraints", "any"]}}
    rules = [{"then": "ask", "approval": "writes", "code": "writes"}]
    pinned = b.package(*tools, policy="builtin:read-only", policies=[{"rules": rules}], approvals={"writes": writes})

    _, records = b.play(pinned, b.started(pinned), g.sends())

    [asked] = [record for record in records if isinstance(record, r.ApprovalRequested)]
    assert asked.grants is not None
    assert asked.grants.matchers == (GrantMatcher.CONSTRAINTS,)
    assert GrantScope.SESSION not in asked.grants.scopes, "the run has none"


def test_nothing_is_offered_unless_the_package_says_so() -> None:
    pinned = b.package(
        b.tool("send", effect="write"), policies=[{"rules": [{"then": "ask"}]}], policy="builtin:read-only"
    )
    opinion = replace(g.WRITES, approval="")

    state, records = b.play(pinned, b.started(pinned), g.sends(opinions=(opinion,)))

    [asked] = [record for record in records if isinstance(record, r.ApprovalRequested)]
    assert asked.grants is None
    assert b.play(pinned, g.approves(state, g.wanted()), state=state)[1] == []


def test_an_approval_that_nobody_offers_grants_with_is_answered_by_none() -> None:
    """Also not by what somebody put into the index."""
    found = AnsweringGrant(b.example_grant(), g.HASH, 1)
    pinned = g.package()

    _, records = b.play(pinned, b.started(pinned), g.sends(found))

    assert [kind for kind in b.kinds(records) if kind in ("GRANT_USED", "APPROVAL_REQUESTED")] == ASKED


def test_a_place_that_may_be_at_whoever_issued_the_grant_is_not_used() -> None:
    state, grant = g.granted(g.package())
    asks = g.sends(g.answering(grant), round=2, seconds=4)
    [call] = asks.calls
    anywhere = replace(asks, calls=(replace(call, findings=replace(call.findings, not_by="")),))

    after, records = b.play(g.package(), anywhere, state=state)

    assert "GRANT_USED" in b.kinds(records)
    assert "TOOL_STARTED" not in b.kinds(records)
    [wanted] = pending(after).values()
    assert isinstance(wanted, AwaitExecutor)


def test_nothing_is_decided_by_a_denial_that_gives_a_grant() -> None:
    pinned = g.package()
    state = g.pending(pinned)

    _, records = b.play(pinned, g.approves(state, g.wanted(), verdict=ApprovalVerdict.DENY), state=state)

    assert records == []
