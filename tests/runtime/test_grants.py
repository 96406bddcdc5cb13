"""Grants: what somebody permitted for later answers in their place, as often and as long as they said, and no more."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest
from msgspec import field
from runwright.adapters.key_approvers import KeyApprovers
from runwright.adapters.memory.journal import MemoryJournal
from runwright.adapters.sqlite.journal import SqliteJournal
from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.approvals import ApprovalVerdict
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.executor_names import ExecutorNames
from runwright.core.grant_requests import GrantFilter
from runwright.core.grant_rows import Revocation, rows_of_revocation
from runwright.core.grants import Grant, GrantState
from runwright.core.ids import EffectId, Namespace, RunKey
from runwright.core.kinds import EventKind
from runwright.core.outcomes import RunStatus
from runwright.core.policy_chain import OperatorRules
from runwright.core.policy_rules import PolicySpec
from runwright.core.principal import Principal, Role
from runwright.ports.journal import StoredEvent
from runwright.ports.tools import Granted, Place, PlaceRequest, PlaceWait
from runwright.runtime import AgentRuntime
from runwright.runtime.runs.places import CallPlaces
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.approving import ANN, BOB, CALLER, EVERYBODY, Known, Sent, decide, person, refused, separated
from tests.runtime.granting import (
    ALL,
    ANY,
    CONSTRAINTS,
    EXACT,
    ID,
    NAMESPACE,
    SESSION,
    TO_BOB,
    TO_EVE,
    WHOSE,
    asked,
    asks_again,
    begun,
    given,
    grant,
    granting,
    grants_of,
)
from tests.runtime.parts import FreePlace
from tests.runtime.test_callbacks import ListAudit
from tests.runtime.watching import events, key, kinds, records_of, stood_still

OPEN = GrantFilter()


async def started(runtime: AgentRuntime, run_id: str = "run-1", principal: str = "cal", **fields: Any) -> None:
    """Starts a run on behalf of somebody."""
    await runtime.start_run(b.request(run_id, **fields), principal=principal)


async def granted(
    bench: b.Bench, package: Any = None, *, principal: str = "cal", who: Principal = BOB, **wanted: Any
) -> tuple[AgentRuntime, Sent]:
    """A run whose first call was approved with a grant."""
    runtime, sent = begun(bench, package or granting(TO_BOB, TO_BOB))
    await started(runtime, principal=principal)
    await given(runtime, grant(**wanted), who=who)
    return runtime, sent


async def test_the_next_call_runs_without_asking_under_a_grant_for_these_arguments(bench: b.Bench) -> None:
    runtime, sent = begun(separated(bench), granting(TO_BOB, TO_BOB))
    await runtime.start_run(b.request(), principal="cal")

    await given(runtime, grant())

    ended = await stood_still(runtime)
    assert ended.status is RunStatus.COMPLETED
    assert sent.calls == [{"to": "bob"}, {"to": "bob"}]
    assert (await kinds(bench.journal)).count(EventKind.APPROVAL_REQUESTED) == 1
    [issued] = await records_of(bench.journal, r.GrantIssued)
    [used] = await records_of(bench.journal, r.GrantUsed)
    assert (used.grant, used.call_id) == (issued.grant, "c2.1")
    assert (issued.grant.grant_id, issued.grant.issuer, issued.grant.uses) == (ID, "bob", 5)
    on_record = [event for event in await events(bench.journal) if event.kind is EventKind.GRANT_ISSUED]
    assert used.issued_hash == on_record[0].hash
    assert on_record[0].seq == issued.grant.issued_seq
    first, second = await records_of(bench.journal, r.ToolStarted)
    assert (first.approval_id, first.grant_id) == ("a1.1.1", "")
    assert (second.approval_id, second.grant_id, second.approved_by) == ("", ID, "bob")
    assert second.approval_digest == used.digest == first.approval_digest


@pytest.mark.parametrize(("second", "is_asked"), [(TO_EVE, False), (TO_BOB, True)], ids=["edited", "asked for"])
async def test_a_grant_that_comes_with_an_edit_is_for_what_was_approved(
    bench: b.Bench, second: Any, is_asked: bool
) -> None:
    runtime, sent = begun(separated(bench), granting(TO_BOB, second))
    await started(runtime)

    await given(runtime, grant(), verdict=ApprovalVerdict.APPROVE_WITH_EDITS, arguments_json=b'{"to": "eve"}')

    assert await asks_again(bench, runtime) is is_asked
    assert sent.calls == [{"to": "eve"}] * (1 if is_asked else 2)
    [decided] = await records_of(bench.journal, r.ApprovalDecided)
    [issued] = await records_of(bench.journal, r.GrantIssued)
    assert decided.edited_arguments is not None
    assert issued.grant.arguments_digest == decided.edited_arguments.digest
    assert decided.grant_id == issued.grant.grant_id == ID


@pytest.mark.parametrize(
    ("wanted", "second", "is_asked"),
    [
        ({"matcher": EXACT}, TO_EVE, True),
        ({"matcher": CONSTRAINTS, "condition": 'args.to in ["bob", "eve"]'}, TO_EVE, False),
        ({"matcher": CONSTRAINTS, "condition": 'args.to.startsWith("b")'}, TO_EVE, True),
        ({"matcher": CONSTRAINTS, "condition": "args.amount < 5"}, TO_EVE, True),
        ({"matcher": ANY}, TO_EVE, False),
    ],
    ids=["other arguments", "condition holds", "condition does not hold", "condition fails", "any"],
)
async def test_a_grant_answers_for_the_calls_that_it_is_for(
    bench: b.Bench, wanted: dict[str, Any], second: b.Fields, is_asked: bool
) -> None:
    runtime, sent = await granted(separated(bench), granting(TO_BOB, second), **wanted)

    assert await asks_again(bench, runtime) is is_asked
    assert len(sent.calls) == (1 if is_asked else 2)


@pytest.mark.parametrize(
    ("scope", "other", "is_asked"),
    [
        (NAMESPACE, {"principal": "dan"}, False),
        (WHOSE, {"principal": "cal"}, False),
        (WHOSE, {"principal": "dan"}, True),
        (SESSION, {"principal": "cal", "session_id": "s-1"}, False),
        (SESSION, {"principal": "cal", "session_id": "s-2"}, True),
        (SESSION, {"principal": "cal"}, True),
    ],
)
async def test_a_grant_answers_in_the_runs_of_its_scope(
    bench: b.Bench, scope: Any, other: dict[str, Any], is_asked: bool
) -> None:
    runtime, _ = begun(separated(bench), granting(TO_BOB))
    await started(runtime, session_id="s-1")
    await given(runtime, grant(scope))
    await stood_still(runtime)

    await started(runtime, "run-2", **other)

    assert await asks_again(bench, runtime, "run-2", "a1.1.1") is is_asked


async def test_a_grant_of_one_run_is_none_for_another(bench: b.Bench) -> None:
    runtime, _ = await granted(separated(bench), granting(TO_BOB))
    await stood_still(runtime)

    await started(runtime, "run-2")

    assert await asks_again(bench, runtime, "run-2", "a1.1.1")


async def test_a_grant_never_crosses_namespaces(bench: b.Bench) -> None:
    runtime, _ = await granted(separated(bench), granting(TO_BOB), scope=NAMESPACE)
    await stood_still(runtime)
    elsewhere = Namespace("other")
    eve = person("eve", namespace="other")

    await runtime.start_run(b.request("run-1"), principal="cal", namespace=elsewhere)

    found = None
    while found is None:
        await asyncio.sleep(0)
        found = await runtime.approvals.look_up(elsewhere, "run-1/a1.1.1")
    assert (await grants_of(runtime).page(eve, OPEN, "", 10)).grants == []
    with pytest.raises(AgentError) as unseen:
        await grants_of(runtime).revoke(eve, ID, "")
    assert unseen.value.reason is ErrorReason.GRANT_NOT_FOUND


async def test_after_the_package_changed_a_grant_does_not_answer(bench: b.Bench) -> None:
    """Even a word in the description: what somebody gave was given under another package."""
    runtime, _ = await granted(separated(bench), granting(TO_BOB), scope=NAMESPACE)
    await stood_still(runtime)
    await runtime.drain(0)

    changed, _ = begun(bench, granting(TO_BOB, tool={"description": "Sends, quickly."}))
    await started(changed, "run-2")

    assert await asks_again(bench, changed, "run-2", "a1.1.1")


async def test_uses_are_counted_and_the_next_call_asks(bench: b.Bench) -> None:
    runtime, sent = await granted(separated(bench), granting(TO_BOB, TO_BOB, TO_BOB, TO_BOB), uses=2)

    assert await asks_again(bench, runtime, effect="a4.1.1")
    assert len(sent.calls) == 3
    standing = await grants_of(runtime).get(BOB, ID)
    assert (standing.state, standing.left) == (GrantState.USED_UP, 0)
    assert (await grants_of(runtime).page(BOB, OPEN, "", 10)).grants == []


async def test_an_expired_grant_does_not_answer_by_a_microsecond(bench: b.Bench) -> None:
    runtime, _ = await granted(separated(bench), granting(TO_BOB), scope=NAMESPACE)
    await stood_still(runtime)
    until, clock = (await grants_of(runtime).get(BOB, ID)).grant.until, bench.manual_clock

    clock.advance(until - clock.now() - 1)
    await started(runtime, "run-2")
    in_time = await asks_again(bench, runtime, "run-2", "a1.1.1")
    clock.advance(1)
    await started(runtime, "run-3")
    late = await asks_again(bench, runtime, "run-3", "a1.1.1")

    assert (in_time, late) == (False, True)
    assert (await grants_of(runtime).get(BOB, ID)).state is GrantState.EXPIRED
    assert (await grants_of(runtime).page(BOB, OPEN, "", 10)).grants == []


async def test_a_restart_changes_nothing_of_a_grant(any_journal: MemoryJournal | SqliteJournal) -> None:
    bench = separated(b.Bench(journal=any_journal))
    runtime, _ = await granted(bench, granting(TO_BOB, TO_BOB), scope=NAMESPACE, uses=2)
    await stood_still(runtime)
    before = await grants_of(runtime).get(BOB, ID)
    await runtime.drain(0)

    after_restart = bench.runtime()
    await after_restart.recover()
    assert (await grants_of(after_restart).get(BOB, ID)).grant == before.grant
    await started(after_restart, "run-2")

    assert await asks_again(bench, after_restart, "run-2", "a2.1.1"), "one use was left, and answered the first call"
    assert (await kinds(any_journal, "run-2")).count(EventKind.GRANT_USED) == 1


class MeetingJournal(MemoryJournal):
    """Has those who have looked up a grant wait for one another, so that they spend it at once."""

    def __init__(self) -> None:
        super().__init__()
        self.meeting = asyncio.Barrier(2)

    async def event(self, run: RunKey, seq: int) -> StoredEvent | None:
        """The last of what is looked up."""
        await self.meeting.wait()
        return await super().event(run, seq)


async def test_of_two_runs_that_race_for_the_last_use_one_uses_it_and_the_other_asks(bench: b.Bench) -> None:
    bench.journal = journal = MeetingJournal()
    runtime, sent = await granted(separated(bench), granting(TO_BOB), scope=NAMESPACE, uses=1)
    await stood_still(runtime)

    await started(runtime, "run-2")
    await started(runtime, "run-3")
    asking = [await asks_again(bench, runtime, run_id, "a1.1.1") for run_id in ("run-2", "run-3")]

    assert sorted(asking) == [False, True]
    used = [len(await records_of(journal, r.GrantUsed, run_id)) for run_id in ("run-2", "run-3")]
    assert sorted(used) == [0, 1]
    assert len(sent.calls) == 2


class RevokingJournal(MemoryJournal):
    """Has a grant taken back as soon as it was looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.grant: Grant | None = None

    async def event(self, run: RunKey, seq: int) -> StoredEvent | None:
        """The last of what is looked up."""
        found = await super().event(run, seq)
        if self.grant is not None:
            taken, self.grant = self.grant, None
            at = taken.issued_at + 1
            assert await self.change_beside(run, rows_of_revocation(taken, Revocation("bob", at))) is None
        return found


async def test_a_grant_that_is_taken_back_between_look_up_and_append_is_not_used(bench: b.Bench) -> None:
    bench.journal = journal = RevokingJournal()
    runtime, sent = await granted(separated(bench), granting(TO_BOB), scope=NAMESPACE)
    await stood_still(runtime)
    journal.grant = (await grants_of(runtime).get(BOB, ID)).grant

    await started(runtime, "run-2")

    assert await asks_again(bench, runtime, "run-2", "a1.1.1")
    assert journal.grant is None, "it was looked up"
    assert len(sent.calls) == 1
    assert (await grants_of(runtime).get(BOB, ID)).left == 5


async def test_a_grant_that_was_taken_back_answers_no_more(bench: b.Bench) -> None:
    bench.audit = audit = ListAudit()
    runtime, _ = await granted(separated(bench), granting(TO_BOB), scope=NAMESPACE)
    await stood_still(runtime)

    standing, is_first = await grants_of(runtime).revoke(BOB, ID, "not on a Friday")
    _, again = await grants_of(runtime).revoke(BOB, ID, "")
    await started(runtime, "run-2")

    assert await asks_again(bench, runtime, "run-2", "a1.1.1")
    assert (standing.state, is_first, again) == (GrantState.REVOKED, True, False)
    assert standing.revocation is not None
    assert (standing.revocation.revoked_by, standing.revocation.note) == ("bob", "not on a Friday")
    [entry] = [each for each in audit.entries if each.kind.name == "GRANT_REVOKED"]
    assert (entry.principal, entry.subjects) == ("bob", (ID, "send"))


ADMIN, OBSERVER = person("root", Role.ADMIN), person("olga", Role.OBSERVER)
STRANGER = person("zoe", Role.APPROVER)


async def test_whoever_issued_a_grant_takes_it_back_and_admins_and_nobody_else(bench: b.Bench) -> None:
    separated(bench, *EVERYBODY, ADMIN, OBSERVER)
    runtime, _ = await granted(bench, granting(TO_BOB, sets=[{"principals": ["bob", "ann"]}]), scope=NAMESPACE)
    grants = grants_of(runtime)

    assert [len((await grants.page(who, OPEN, "", 10)).grants) for who in (BOB, ANN, ADMIN, OBSERVER)] == [1] * 4
    assert (await grants.page(STRANGER, OPEN, "", 10)).grants == []
    for who, reason in (
        (STRANGER, ErrorReason.GRANT_NOT_FOUND),
        (ANN, ErrorReason.GRANT_NOT_YOURS),
        (OBSERVER, ErrorReason.GRANT_NOT_YOURS),
    ):
        with pytest.raises(AgentError) as caught:
            await grants.revoke(who, ID, "")
        assert caught.value.reason is reason
    assert (await grants.revoke(ADMIN, ID, ""))[1]


async def test_a_grant_of_somebody_whose_key_was_revoked_does_not_answer(bench: b.Bench) -> None:
    known = Known(EVERYBODY)
    bench.approvers = KeyApprovers(known, ExecutorNames({}))
    runtime, _ = await granted(bench, granting(TO_BOB), scope=NAMESPACE)
    await stood_still(runtime)

    known.everybody.remove(BOB)
    await started(runtime, "run-2")

    assert await asks_again(bench, runtime, "run-2", "a1.1.1")


async def test_with_four_eyes_a_grant_does_not_answer_in_runs_of_whoever_issued_it(bench: b.Bench) -> None:
    runtime, _ = await granted(separated(bench), granting(TO_BOB, four_eyes=True), scope=NAMESPACE)
    await stood_still(runtime)

    await started(runtime, "run-2", principal="bob")
    await started(runtime, "run-3", principal="ann")

    assert await asks_again(bench, runtime, "run-2", "a1.1.1")
    assert not await asks_again(bench, runtime, "run-3", "a1.1.1")


async def test_whoever_may_serve_the_executor_gives_no_grant(bench: b.Bench) -> None:
    runtime, _ = begun(separated(bench), granting(TO_BOB))
    await started(runtime)
    await asked(runtime)

    error = await refused(runtime, who=person("hal", Role.EXECUTOR, Role.APPROVER), grant=grant())

    assert (error.reason, error.metadata["rule"]) == (ErrorReason.APPROVER_NOT_ALLOWED, "executor")
    assert EventKind.GRANT_ISSUED not in await kinds(bench.journal)


async def test_a_tainted_call_is_asked_about_unless_the_grant_says_so(bench: b.Bench) -> None:
    for tainted in (False, True):
        own = separated(b.Bench())
        package = granting(TO_BOB, {"tool": "look", "arguments": {}}, TO_BOB)
        runtime, _ = await granted(own, package, tainted=tainted)
        assert await asks_again(own, runtime, effect="a3.1.1") is not tainted


async def test_a_grant_does_not_answer_what_the_operator_asks(bench: b.Bench) -> None:
    runtime, _ = await granted(separated(bench), granting(TO_BOB), scope=NAMESPACE)
    await stood_still(runtime)
    rules = PolicySpec.model_validate({"rules": [{"when": 'tool.effect == "write"', "then": "ask"}]})
    runtime.ports.policies.replace_operator_rules({Namespace("*"): OperatorRules((rules,), "operator-1")})

    await started(runtime, "run-2")

    assert await asks_again(bench, runtime, "run-2", "a1.1.1")


async def test_a_grant_goes_with_the_run_that_it_was_issued_in(bench: b.Bench) -> None:
    runtime, _ = await granted(separated(bench), granting(TO_BOB), scope=NAMESPACE)
    await stood_still(runtime)

    await bench.journal.remove(key(), now=bench.manual_clock.now())
    await started(runtime, "run-2")

    assert await asks_again(bench, runtime, "run-2", "a1.1.1")
    with pytest.raises(AgentError) as gone:
        await grants_of(runtime).get(BOB, ID)
    assert gone.value.reason is ErrorReason.GRANT_NOT_FOUND


@pytest.mark.parametrize(
    ("offers", "wanted", "rule"),
    [
        (None, {}, "scope"),
        ({"scopes": ["run"]}, {"scope": NAMESPACE}, "scope"),
        ({}, {"scope": SESSION}, "scope"),
        ({"matchers": ["exact_arguments"]}, {"matcher": ANY}, "matcher"),
        ({}, {"uses": 11}, "uses"),
        ({}, {"valid_for": "121m"}, "valid_for"),
        ({"tainted": False}, {"tainted": True}, "tainted"),
    ],
)
async def test_a_grant_that_is_not_offered_is_refused_and_the_approval_is_as_it_was(
    bench: b.Bench, offers: dict[str, Any] | None, wanted: dict[str, Any], rule: str
) -> None:
    package = granting(TO_BOB, offers=None if offers is None else {**ALL, **offers})
    runtime, sent = begun(separated(bench), package)
    await started(runtime)
    await asked(runtime)

    error = await refused(runtime, grant=grant(**wanted))

    assert (error.reason, error.metadata["rule"]) == (ErrorReason.GRANT_NOT_OFFERED, rule)
    assert sent.calls == []
    await decide(runtime)
    assert (await stood_still(runtime)).status is RunStatus.COMPLETED


async def test_any_call_is_not_permitted_of_a_tool_that_is_not_grantable(bench: b.Bench) -> None:
    runtime, _ = begun(separated(bench), granting(TO_BOB, tool={"grantable": False}))
    await started(runtime)
    await asked(runtime)

    error = await refused(runtime, grant=grant(matcher=ANY))

    assert (error.reason, error.metadata["rule"]) == (ErrorReason.GRANT_NOT_OFFERED, "matcher")


@pytest.mark.parametrize(
    "condition", ["args.to ==", "tool.name == 'send'", "x" * 1025, "args.a.all(x, x.all(y, y.all(z, z)))"]
)
async def test_a_condition_that_cannot_be_used_is_refused(bench: b.Bench, condition: str) -> None:
    runtime, _ = begun(separated(bench), granting(TO_BOB))
    await started(runtime)
    await asked(runtime)

    error = await refused(runtime, grant=grant(matcher=CONSTRAINTS, condition=condition))

    assert (error.reason, error.metadata["field"]) == (ErrorReason.INVALID_REQUEST, "grant.condition")


async def test_no_more_grants_are_given_for_the_same_than_are_looked_at(bench: b.Bench) -> None:
    calls = tuple({"tool": "send", "arguments": {"to": f"person-{n}"}} for n in range(17))
    runtime, _ = begun(separated(bench), granting(calls))
    await started(runtime)
    for number in range(1, 18):
        await asked(runtime, effect=f"a1.{number}.1")
    wanted = grant(NAMESPACE, CONSTRAINTS, condition='args.to == "nobody"')
    for number in range(1, 17):
        await decide(runtime, approval_id=f"run-1/a1.{number}.1", grant=wanted)

    error = await refused(runtime, approval_id="run-1/a1.17.1", grant=wanted)

    assert (error.reason, error.metadata["rule"]) == (ErrorReason.GRANT_NOT_OFFERED, "room")
    await grants_of(runtime).revoke(BOB, ID, "")
    await decide(runtime, approval_id="run-1/a1.17.1", grant=wanted)
    listed = await grants_of(runtime).page(BOB, OPEN, "", 10)
    more = await grants_of(runtime).page(BOB, OPEN, listed.next_token, 10)
    ids = [each.grant.grant_id for each in (*listed.grants, *more.grants)]
    assert len(ids) == len(set(ids)) == 16


async def test_the_same_decision_with_its_grant_is_answered_and_another_grant_is_a_conflict(bench: b.Bench) -> None:
    runtime, _ = await granted(separated(bench), granting(TO_BOB))

    _, is_first = await decide(runtime, grant=grant())
    conflict = await refused(runtime, grant=grant(uses=6))

    assert not is_first
    assert conflict.reason is ErrorReason.REQUEST_ID_CONFLICT
    assert len(await records_of(bench.journal, r.GrantIssued)) == 1


async def test_a_grant_costs_no_commit_of_its_own(any_journal: MemoryJournal | SqliteJournal) -> None:
    runtime, _ = await granted(separated(b.Bench(journal=any_journal)), granting(TO_BOB, TO_BOB))
    await stood_still(runtime)

    # Start; message and ask; decision, grant and intent; result and request; message, use and intent; and so on.
    assert any_journal.commits == 7
    found = [kind.name for kind in await kinds(any_journal)]
    assert found[found.index("GRANT_USED") + 1] == "TOOL_STARTED"


async def test_a_caller_who_approves_does_not_grant_for_a_start_of_their_own_with_four_eyes(bench: b.Bench) -> None:
    runtime, _ = begun(separated(bench), granting(TO_BOB, four_eyes=True))
    await started(runtime, principal="cal")
    await asked(runtime)

    error = await refused(runtime, who=CALLER, grant=grant())

    assert error.metadata["rule"] == "four_eyes"


class NotedTools(FunctionTools):
    """Notes at whom no place is asked for, and for which call; there may be several who perform."""

    asked: list[tuple[str, str]] = field(default_factory=list)

    def take_place(self, wanted: PlaceRequest) -> Place | None:
        """As always."""
        self.asked.append((wanted.call_id, wanted.not_by))
        return super().take_place(wanted)

    def wait_for_place(self, wanted: PlaceRequest, granted: Granted) -> PlaceWait:
        """As always."""
        self.asked.append((wanted.call_id, wanted.not_by))
        return super().wait_for_place(wanted, granted)


async def test_no_place_is_asked_for_at_whoever_issued_the_grant(bench: b.Bench) -> None:
    runtime, sent = begun(separated(bench), granting(TO_BOB, TO_BOB))
    bench.tools = tools = NotedTools({"send": sent, "look": b.look})
    runtime = bench.runtime()
    await started(runtime)
    await given(runtime, grant())

    await stood_still(runtime)

    assert {not_by for call, not_by in tools.asked if call == "c2.1"} == {"bob"}


async def test_of_grants_of_several_issuers_a_place_is_asked_for_once_one_has_answered(bench: b.Bench) -> None:
    runtime, sent = begun(separated(bench), granting((TO_BOB, TO_EVE), TO_BOB))
    bench.tools = tools = NotedTools({"send": sent, "look": b.look})
    runtime = bench.runtime()
    await started(runtime)
    await given(runtime, grant(matcher=ANY), who=BOB, approval_id="run-1/a1.1.1")
    await given(runtime, grant(matcher=ANY), who=ANN, approval_id="run-1/a1.2.1")

    await stood_still(runtime)

    [used] = await records_of(bench.journal, r.GrantUsed)
    assert {not_by for call, not_by in tools.asked if call == "c2.1"} == {used.grant.issuer}
    assert len(sent.calls) == 3


async def test_no_place_is_taken_at_whoever_issued_the_grant_that_answers(bench: b.Bench) -> None:
    class Noted(FunctionTools):
        asked: ClassVar[list[tuple[str, str]]] = []

        def take_place(self, wanted: PlaceRequest) -> Place | None:
            self.asked.append((wanted.call_id, wanted.not_by))
            return super().take_place(wanted)

    bench, sent = separated(bench), Sent()
    bench.packages, bench.tools = (granting(),), Noted({"send": sent})
    runtime = bench.runtime()
    await runtime.start_run(b.request())

    await given(runtime, grant())
    await stood_still(runtime)

    assert Noted.asked == [("c1.1", ""), ("c1.1", "bob"), ("c2.1", "bob")]
    assert len(sent.calls) == 2


async def test_a_place_that_may_be_at_whoever_must_not_perform_the_call_is_not_used() -> None:
    """Who that is may be decided after the place was taken."""
    released: list[str] = []

    class Noted(FreePlace):
        def __init__(self, name: str) -> None:
            self.name = name

        def release(self) -> None:
            released.append(self.name)

    places, names = CallPlaces(), [EffectId(f"c1.{number}") for number in range(1, 4)]
    for name, not_by in zip(names, ("", "ann", "bob"), strict=True):
        places.offer(name, Noted(name), not_by)
        places.decided(i.ExecutorAwaited(at=0, call_id=name, attempt=0, has_place=True))

    begun = [places.begin(name, "bob") for name in names]

    assert [isinstance(place, Noted) for place in begun] == [False, False, True]
    assert released == ["c1.1", "c1.2"]
