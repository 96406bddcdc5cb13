"""Delegation and escalation: who may decide changes, and when, by the package's word; nobody gets more time by it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from runwright.core import records as r
from runwright.core.approval_delegation import MAX_DELEGATIONS
from runwright.core.approval_requests import ApprovalFilter
from runwright.core.approvals import ApprovalSeparation, ApprovalState, ApprovalVerdict
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.kinds import EventKind
from runwright.core.outcomes import RunStatus, StopReason
from runwright.core.principal import Principal, Role
from runwright.runtime import AgentRuntime

from tests import builders as b
from tests.runtime.approving import (
    ANN,
    BOB,
    CALLER,
    EVERYBODY,
    HOST,
    asking,
    decide,
    person,
    refused,
    separated,
    shown,
    waiting,
)
from tests.runtime.watching import abandoned, kinds, quiet, records_of, stood_still

DELEGATE, APPROVE = ApprovalVerdict.DELEGATE, ApprovalVerdict.APPROVE
DAN, FAY = person("dan"), person("fay")
ROOT = person("root", Role.ADMIN)
READER = person("gus", Role.CALLER)  # a key of his does not decide
PEOPLE = (*EVERYBODY, DAN, FAY, READER, ROOT)
HOUR, MINUTE = 3600 * b.SECOND, 60 * b.SECOND
MINE = ApprovalFilter(mine=True)
LISTED = ["ann", "bob", "dan", "fay", "cal", "hal", "gus", "nobody"]
ONE_SET = {"sets": [{"principals": ["ann", "bob"]}], "expires": "1h", "delegates": LISTED}
TWO_SETS = {**ONE_SET, "sets": [{"principals": ["ann", "bob"], "for": "10m"}, {"principals": ["fay"]}]}
ESCALATING = {
    "sets": [{"principals": ["ann"]}],
    "expires": "1h",
    "on_expiry": "escalate",
    "escalate": {"principals": ["fay"], "for": "2h"},
}


async def delegating(
    bench: b.Bench, approval: dict[str, Any] | None = None, principal: str = "local"
) -> tuple[AgentRuntime, Any]:
    """A run whose approval may be delegated."""
    bench = separated(bench, *PEOPLE, owners={"tools": ["hal"]})
    return await waiting(bench, asking(approval=approval or ONE_SET), principal)


async def delegate(runtime: AgentRuntime, to: str = "dan", who: Principal = ANN, **fields: Any) -> Any:
    """Somebody has somebody else decide."""
    return await decide(runtime, DELEGATE, who=who, delegate_to=to, request_id=f"to-{to}", **fields)


async def mine(runtime: AgentRuntime, *people: Principal) -> list[str]:
    """The names of those who have something to decide."""
    listed = [(who.name, await runtime.approval_list.page(who, MINE, "", 10)) for who in people]
    return [name for name, page in listed if page.approvals]


async def test_the_delegate_decides_beside_whoever_delegated_and_nobody_else(bench: b.Bench) -> None:
    runtime, sent = await delegating(bench)
    assert await mine(runtime, ANN, BOB, DAN) == ["ann", "bob"]

    standing, is_first = await delegate(runtime, note="I am away")

    assert (standing.state, is_first) == (ApprovalState.PENDING, True)
    assert standing.approvers.principals == ("dan", "ann")
    assert await mine(runtime, ANN, BOB, DAN, FAY) == ["ann", "dan"]
    of_bob = await refused(runtime, who=BOB, request_id="decision-2")
    assert (of_bob.reason, of_bob.metadata["rule"]) == (ErrorReason.APPROVER_NOT_ALLOWED, "approver_set")
    await decide(runtime, who=DAN)
    await stood_still(runtime)
    assert sent.calls == [{"to": "bob"}]
    [started] = await records_of(bench.journal, r.ToolStarted)
    assert started.approved_by == "dan"


async def test_whoever_delegated_can_take_it_back(bench: b.Bench) -> None:
    runtime, sent = await delegating(bench)
    await delegate(runtime)

    await decide(runtime, who=ANN)

    await stood_still(runtime)
    assert sent.calls == [{"to": "bob"}]


async def test_a_delegate_sees_it_and_delegates_on_and_others_see_nothing(bench: b.Bench) -> None:
    runtime, _ = await delegating(bench)
    with pytest.raises(AgentError, match="APPROVAL_NOT_FOUND"):
        await shown(runtime, DAN)

    await delegate(runtime)
    await delegate(runtime, "fay", DAN)

    seen = await shown(runtime, FAY)
    assert seen.approvers.principals == ("fay", "dan", "ann")
    assert [(each.delegated_by, each.delegated_to) for each in seen.delegations] == [("ann", "dan"), ("dan", "fay")]
    assert await shown(runtime, BOB) == await shown(runtime, DAN) == seen
    with pytest.raises(AgentError, match="APPROVAL_NOT_FOUND"):
        await shown(runtime, CALLER)


@pytest.mark.parametrize(
    ("to", "rule"),
    [
        ("root", "not_listed"),
        ("ann", "oneself"),
        ("cal", "starter"),
        ("hal", "executor"),
        ("gus", "no_approver"),
        ("nobody", "no_approver"),
    ],
)
async def test_it_cannot_be_delegated_to_whoever_must_not_decide(bench: b.Bench, to: str, rule: str) -> None:
    runtime, _ = await delegating(bench, principal="cal")
    before, commits = await shown(runtime), bench.journal.commits

    with pytest.raises(AgentError) as caught:
        await delegate(runtime, to)

    assert caught.value.reason is ErrorReason.APPROVAL_DELEGATE_NOT_ALLOWED
    assert (caught.value.metadata["rule"], caught.value.metadata["delegate_to"]) == (rule, to)
    assert (await shown(runtime), bench.journal.commits) == (before, commits)


async def test_only_whoever_may_decide_delegates(bench: b.Bench) -> None:
    runtime, _ = await delegating(bench)

    with pytest.raises(AgentError, match="APPROVAL_NOT_FOUND"):
        await delegate(runtime, "fay", DAN)
    await delegate(runtime)
    with pytest.raises(AgentError, match="APPROVER_NOT_ALLOWED"):
        await delegate(runtime, "fay", BOB)


async def test_without_keys_nothing_can_be_delegated(bench: b.Bench) -> None:
    runtime, _ = await waiting(bench, asking(approval=ONE_SET))

    with pytest.raises(AgentError) as caught:
        await delegate(runtime)

    assert caught.value.metadata["rule"] == "separation"


async def test_a_delegation_gives_nobody_more_time(bench: b.Bench) -> None:
    runtime, _ = await delegating(bench, TWO_SETS)
    before = (await shown(runtime)).asked

    await delegate(runtime)
    bench.manual_clock.advance(10 * MINUTE)
    await quiet()

    after = await shown(runtime, FAY)
    assert (after.asked, after.current_set, after.approvers.principals) == (before, 1, ("fay",))
    assert await mine(runtime, ANN, BOB, DAN, FAY) == ["fay"]
    late = await refused(runtime, who=DAN)
    assert (late.reason, late.metadata["rule"]) == (ErrorReason.APPROVER_NOT_ALLOWED, "approver_set")
    bench.manual_clock.advance(50 * MINUTE)
    assert (await refused(runtime, who=FAY)).reason is ErrorReason.APPROVAL_EXPIRED


async def test_the_next_set_delegates_for_itself(bench: b.Bench) -> None:
    runtime, _ = await delegating(bench, TWO_SETS)
    await delegate(runtime)
    bench.manual_clock.advance(10 * MINUTE)

    await delegate(runtime, "bob", FAY)

    assert (await shown(runtime)).approvers.principals == ("bob", "fay"), "not those who had the turn before"
    assert await mine(runtime, ANN, BOB, DAN, FAY) == ["bob", "fay"]


async def test_a_delegation_that_is_sent_again_changes_nothing_also_after_a_restart(bench: b.Bench) -> None:
    async with abandoned():
        runtime, _ = await delegating(bench)
        first, _ = await delegate(runtime)
    after_restart = bench.runtime()
    await after_restart.recover()

    again, is_first = await delegate(after_restart)
    with pytest.raises(AgentError) as caught:
        await delegate(after_restart, note="and another note")

    assert (again, is_first) == (first, False)
    assert caught.value.reason is ErrorReason.REQUEST_ID_CONFLICT
    assert [kind.name for kind in await kinds(bench.journal)].count("APPROVAL_DELEGATED") == 1
    assert await mine(after_restart, ANN, BOB, DAN) == ["ann", "dan"]
    await decide(after_restart, who=DAN)
    assert (await stood_still(after_restart)).status is RunStatus.COMPLETED
    assert (await delegate(after_restart))[1] is False, "also after the end"


async def test_of_many_delegations_at_once_each_request_delegates_once(bench: b.Bench) -> None:
    runtime, _ = await delegating(bench)

    said = await asyncio.gather(*(delegate(runtime) for _ in range(10)))
    with pytest.raises(AgentError) as caught:
        await decide(runtime, DELEGATE, who=ANN, delegate_to="dan", request_id="another")

    assert sorted(is_first for _, is_first in said) == [False] * 9 + [True]
    assert caught.value.metadata["rule"] == "already"
    assert len((await shown(runtime)).delegations) == 1


async def test_it_is_not_delegated_without_end(bench: b.Bench) -> None:
    runtime, _ = await delegating(bench)
    for number in range(MAX_DELEGATIONS):
        who, to = ((ANN, "dan"), (DAN, "ann"))[number % 2]
        await decide(runtime, DELEGATE, who=who, delegate_to=to, request_id=f"to-{number}")

    with pytest.raises(AgentError) as caught:
        await delegate(runtime)

    assert caught.value.metadata["rule"] == "too_often"
    assert len((await shown(runtime)).delegations) == MAX_DELEGATIONS


async def test_a_delegation_names_somebody_and_nothing_else_does(bench: b.Bench) -> None:
    runtime, _ = await delegating(bench)

    missing = await refused(runtime, DELEGATE, who=ANN)
    too_many = await refused(runtime, APPROVE, who=ANN, delegate_to="dan")

    assert [error.metadata["field"] for error in (missing, too_many)] == ["delegate_to"] * 2


async def test_a_delegation_late_by_a_millisecond_is_none(bench: b.Bench) -> None:
    runtime, _ = await delegating(bench)
    bench.manual_clock.advance(HOUR)

    with pytest.raises(AgentError, match="APPROVAL_EXPIRED"):
        await delegate(runtime)

    assert EventKind.APPROVAL_DELEGATED not in await kinds(bench.journal)


async def test_nobody_of_the_sets_decides_and_it_escalates_for_a_time_that_ends(bench: b.Bench) -> None:
    runtime, sent = await delegating(bench, ESCALATING)
    asked = (await shown(runtime, ANN)).asked
    assert asked.escalates_at == asked.requested_at + HOUR
    assert (asked.expires_at, asked.sets[-1].until) == (asked.requested_at + 3 * HOUR,) * 2
    assert await mine(runtime, ANN, FAY) == ["ann"]

    bench.manual_clock.advance(HOUR)
    await quiet()

    assert await mine(runtime, ANN, FAY) == ["fay"]
    [escalated] = await records_of(bench.journal, r.ApprovalEscalated)
    assert escalated.current_set == 1
    assert (await refused(runtime, who=ANN)).metadata["rule"] == "approver_set"
    await decide(runtime, who=FAY)
    await stood_still(runtime)
    assert sent.calls == [{"to": "bob"}]


@pytest.mark.parametrize("then", ["deny", "abort_run"])
async def test_what_nobody_decides_on_after_it_escalated_ends_as_the_package_says(bench: b.Bench, then: str) -> None:
    escalate = {"principals": ["fay"], "for": "2h", "then": then}
    runtime, sent = await delegating(bench, {**ESCALATING, "escalate": escalate})
    bench.manual_clock.advance(HOUR)
    await quiet()
    bench.manual_clock.advance(2 * HOUR)

    ended = await stood_still(runtime)

    stop = StopReason.APPROVAL_EXPIRED if then == "abort_run" else StopReason.END_TURN
    assert (ended.state.stop, sent.calls) == (stop, [])
    assert (await refused(runtime, who=FAY)).reason is ErrorReason.APPROVAL_EXPIRED


async def test_a_restart_changes_nothing_of_an_escalation(bench: b.Bench) -> None:
    async with abandoned():
        runtime, _ = await delegating(bench, ESCALATING)
        before = (await shown(runtime, ANN)).asked
    bench.manual_clock.advance(HOUR)
    after_restart = bench.runtime()
    await after_restart.recover()
    await quiet()

    assert (await shown(after_restart, FAY)).asked == before
    assert await mine(after_restart, ANN, FAY) == ["fay"]
    assert [kind.name for kind in await kinds(bench.journal)].count("APPROVAL_ESCALATED") == 1


async def test_a_run_is_not_refused_because_of_delegates_alone(bench: b.Bench) -> None:
    """Whom it can be delegated to is looked at when it is."""
    runtime, _ = await delegating(bench, {**ONE_SET, "delegates": ["somebody"]})

    assert (await shown(runtime)).asked.delegates == ("somebody",)
    assert (await shown(runtime)).separation is ApprovalSeparation.ENFORCED


@pytest.mark.parametrize("verdict", list(ApprovalVerdict), ids=lambda verdict: verdict.name.lower())
async def test_for_whoever_does_not_see_an_approval_there_is_none_whatever_they_ask(
    bench: b.Bench, verdict: ApprovalVerdict
) -> None:
    """The same words as of an id that nothing has: also with its digest, and after it was decided."""
    runtime, _ = await delegating(bench)
    fields: dict[str, Any] = {}
    if verdict is ApprovalVerdict.APPROVE_WITH_EDITS:
        fields["arguments_json"] = b'{"to": "eve"}'
    if verdict is DELEGATE:
        fields["delegate_to"] = "fay"
    if verdict is ApprovalVerdict.RESPOND:
        fields["message"] = "I did it"

    async def answers(approval_id: str) -> list[str]:
        with pytest.raises(AgentError) as caught:
            await shown(runtime, DAN, approval_id)
        error = await refused(runtime, verdict, who=DAN, approval_id=approval_id, **fields)
        return [str(each).replace(approval_id, "ID") for each in (caught.value, error)]

    pending = await answers("run-1/a1.1.1")
    await decide(runtime, who=ANN)
    decided = await answers("run-1/a1.1.1")

    assert pending == decided == await answers("run-7/a1.1.1")
    assert all("APPROVAL_NOT_FOUND" in each for each in pending)


async def test_an_admin_who_is_refused_for_an_executor_without_owner_is_told_the_remedy(bench: b.Bench) -> None:
    runtime, _ = await waiting(separated(bench, *PEOPLE), asking())

    error = await refused(runtime, who=ROOT)
    bench.approvers = None
    owned, _ = await waiting(separated(b.Bench(), *PEOPLE, owners={"tools": ["hal"]}), asking())
    of_owner = await refused(owned, who=HOST)

    assert (error.metadata["rule"], of_owner.metadata["rule"]) == ("executor", "executor")
    assert "`executor_owners`" in error.remedy and "role approver alone" in error.remedy
    assert "executor_owners" not in of_owner.remedy
