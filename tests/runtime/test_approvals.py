"""Approvals: what somebody decided on is what runs, once, and nothing else does."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import pytest
from runwright.adapters.memory.journal import MemoryJournal
from runwright.adapters.sqlite.journal import SqliteJournal
from runwright.core import records as r
from runwright.core.approval_requests import ApprovalFilter
from runwright.core.approvals import ApprovalState, ApprovalVerdict
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import DEFAULT_NAMESPACE
from runwright.core.kinds import EventKind
from runwright.core.outcomes import ResultRelease, RunStatus, StopReason, WaitKind
from runwright.core.package import RuntimePackage
from runwright.core.policy_chain import OperatorRules
from runwright.core.policy_rules import PolicySpec
from runwright.core.principal import Role
from runwright.ports.tools import Granted, Place, PlaceRequest, PlaceWait, ToolOutcome, ToolOutcomeKind
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.approving import (
    ANN,
    BOB,
    CALLER,
    HAND_OVER,
    HOST,
    ID,
    WRITES,
    Sent,
    asking,
    decide,
    person,
    refused,
    separated,
    shown,
    waiting,
)
from tests.runtime.parts import PlayedTools
from tests.runtime.watching import abandoned, eventually, kinds, quiet, reached, records_of, stood_still

PENDING = ApprovalFilter()
HOUR, MINUTE = 3600 * b.SECOND, 60 * b.SECOND
APPROVE, DENY = ApprovalVerdict.APPROVE, ApprovalVerdict.DENY
RESPOND, ABORT = ApprovalVerdict.RESPOND, ApprovalVerdict.ABORT_RUN


async def test_a_run_waits_for_somebody_and_says_for_whom_and_until_when(bench: b.Bench) -> None:
    runtime, sent = await waiting(separated(bench))

    snapshot = await runtime.run_snapshot("run-1")

    assert snapshot.status is RunStatus.WAITING
    [wait] = snapshot.waiting_on
    assert (wait.kind, wait.effect_id, wait.subject) == (WaitKind.APPROVAL, "c1.1", "a1.1.1")
    assert wait.unblocked_by.startswith("a decision by role approver before 20")
    assert sent.calls == []


async def test_what_was_approved_is_what_runs(bench: b.Bench) -> None:
    runtime, sent = await waiting(separated(bench))
    asked = (await shown(runtime)).asked

    standing, is_first = await decide(runtime, note="seen in the ticket", on_behalf_of="the board")

    ended = await stood_still(runtime)
    assert (ended.status, ended.text) == (RunStatus.COMPLETED, 'told "sent"')
    assert sent.calls == [{"to": "bob"}]
    assert (standing.state, is_first) == (ApprovalState.APPROVED, True)
    [started] = await records_of(bench.journal, r.ToolStarted)
    assert (started.approval_id, started.approved_by) == ("a1.1.1", "bob")
    assert (started.approval_digest, started.arguments_digest) == (asked.digest, asked.arguments.digest)
    [decided] = await records_of(bench.journal, r.ApprovalDecided)
    assert (decided.decided_by, decided.note, decided.on_behalf_of) == ("bob", "seen in the ticket", "the board")


async def test_an_approval_that_is_only_listed_costs_one_commit(any_journal: MemoryJournal | SqliteJournal) -> None:
    runtime, _ = await waiting(b.Bench(journal=any_journal))
    assert any_journal.commits == 2

    await decide(runtime)

    await stood_still(runtime)
    assert any_journal.commits == 5
    found = [kind.name for kind in await kinds(any_journal)]
    assert found[found.index("APPROVAL_DECIDED") + 1] == "TOOL_STARTED"


async def test_a_denial_is_told_to_the_model(bench: b.Bench) -> None:
    runtime, sent = await waiting(separated(bench))

    await decide(runtime, DENY, message="not on a Friday")

    ended = await stood_still(runtime)
    assert ended.status is RunStatus.COMPLETED
    assert "Denied by policy approval:writes (approval.denied). not on a Friday" in (ended.text or "")
    assert sent.calls == []


async def test_a_response_is_the_result_of_the_call(bench: b.Bench) -> None:
    runtime, sent = await waiting(separated(bench))

    standing, _ = await decide(runtime, RESPOND, message="I sent it myself")

    ended = await stood_still(runtime)
    assert (ended.status, ended.text) == (RunStatus.COMPLETED, "told I sent it myself")
    assert (sent.calls, standing.state) == ([], ApprovalState.RESPONDED)


SCREENING = {"stage": "post_tool", "when": 'result.text.contains("secret")', "then": "deny", "code": "secret"}


@pytest.mark.parametrize("is_operators", [False, True])
async def test_a_response_goes_through_rules_over_results(bench: b.Bench, is_operators: bool) -> None:
    """As a result does: it is on record, and the model is told that it is withheld."""
    package = asking()
    if not is_operators:
        policies = [*package.model_dump(mode="json", by_alias=True)["policies"], {"rules": [SCREENING]}]
        package = RuntimePackage.model_validate(
            {**package.model_dump(mode="json", by_alias=True), "policies": policies}
        )
    runtime, sent = await waiting(separated(bench), package)
    if is_operators:
        rules = OperatorRules((PolicySpec.model_validate({"rules": [SCREENING]}),), "sha256:rules-3")
        runtime.ports.policies.replace_operator_rules({DEFAULT_NAMESPACE: rules})

    await decide(runtime, RESPOND, message="a secret answer")

    ended = await stood_still(runtime)
    assert ended.status is RunStatus.COMPLETED
    assert "(secret)" in (ended.text or "")
    assert "a secret answer" not in (ended.text or "")
    assert "was made" not in (ended.text or "")
    [released] = await records_of(bench.journal, r.ToolResultReleased)
    [completed] = await records_of(bench.journal, r.ToolCompleted)
    assert (released.release, completed.awaits_release, completed.attempt) == (ResultRelease.WITHHELD, True, 0)
    assert sent.calls == []


async def test_a_response_that_rules_over_results_do_not_object_to_is_released(bench: b.Bench) -> None:
    runtime, _ = await waiting(separated(bench))
    rules = OperatorRules((PolicySpec.model_validate({"rules": [SCREENING]}),), "sha256:rules-3")
    runtime.ports.policies.replace_operator_rules({DEFAULT_NAMESPACE: rules})

    await decide(runtime, RESPOND, message="I sent it myself")

    assert (await stood_still(runtime)).text == "told I sent it myself"


async def test_whoever_is_asked_may_end_the_run(bench: b.Bench) -> None:
    runtime, sent = await waiting(separated(bench))

    await decide(runtime, ABORT, note="the vendor is gone")

    ended = await stood_still(runtime)
    assert (ended.status, ended.state.stop) == (RunStatus.FAILED, StopReason.APPROVAL_ABORTED)
    assert ended.state.error is not None
    assert ended.state.error.reason is ErrorReason.APPROVAL_ABORTED
    assert dict(ended.state.error.metadata) == {"approval_id": ID, "decided_by": "bob"}
    assert sent.calls == []


async def test_an_approval_does_not_cover_arguments_that_were_changed(bench: b.Bench) -> None:
    """Approved-then-changed: a digest is of one set of arguments, and the call keeps them."""
    runtime, sent = await waiting(separated(bench))
    other = asking({"tool": "send", "arguments": {"to": "eve"}})
    bench_of_other = separated(b.Bench())
    elsewhere, _ = await waiting(bench_of_other, other)
    changed = (await shown(elsewhere)).asked.digest

    error = await refused(runtime, digest=changed)

    assert error.reason is ErrorReason.APPROVAL_DIGEST_MISMATCH
    assert error.metadata["digest"] == (await shown(runtime)).asked.digest != changed
    assert (await shown(runtime)).state is ApprovalState.PENDING
    assert sent.calls == []


async def test_an_approval_is_not_used_for_the_next_identical_call(bench: b.Bench) -> None:
    call = {"tool": "send", "arguments": {"to": "bob"}}
    package = asking(call, call)
    runtime, sent = await waiting(separated(bench), package)
    first, second = ID, "run-1/a1.2.1"
    assert (await shown(runtime)).asked.digest == (await shown(runtime, approval_id=second)).asked.digest

    await decide(runtime, approval_id=first)
    await eventually(lambda: len(sent.calls) == 1)
    again = await refused(runtime, approval_id=first, request_id="decision-2")
    await quiet()

    assert sent.calls == [{"to": "bob"}]
    assert (await shown(runtime, approval_id=second)).state is ApprovalState.PENDING
    assert again.reason is ErrorReason.APPROVAL_ALREADY_DECIDED
    assert (await runtime.run_snapshot("run-1")).status is RunStatus.WAITING


async def test_a_decision_that_is_late_by_a_millisecond_becomes_the_expiry(bench: b.Bench) -> None:
    runtime, sent = await waiting(separated(bench))
    expires_at = (await shown(runtime)).asked.expires_at
    clock = bench.manual_clock

    clock.advance(expires_at - clock.now() - 1000)
    in_time = await runtime.approvals.get(BOB, ID)
    deciding = asyncio.create_task(refused(runtime))
    clock.advance(1000)
    late = await deciding

    assert in_time.state is ApprovalState.PENDING
    assert late.reason is ErrorReason.APPROVAL_EXPIRED
    ended = await stood_still(runtime)
    assert "Nobody who may approve the call decided in time" in (ended.text or "")
    assert sent.calls == []
    assert EventKind.APPROVAL_DECIDED not in await kinds(bench.journal)


async def test_a_decision_a_millisecond_before_the_end_counts(bench: b.Bench) -> None:
    runtime, sent = await waiting(separated(bench))
    bench.manual_clock.advance((await shown(runtime)).asked.expires_at - bench.manual_clock.now() - 1000)

    await decide(runtime)

    assert (await stood_still(runtime)).status is RunStatus.COMPLETED
    assert sent.calls == [{"to": "bob"}]


async def test_a_duplicate_of_a_request_is_answered_with_the_decision_also_after_the_end(bench: b.Bench) -> None:
    runtime, sent = await waiting(separated(bench))
    first = await decide(runtime)
    again = await decide(runtime)
    await stood_still(runtime)
    await runtime.drain(0)

    after_restart = bench.runtime()
    await after_restart.recover()
    once_more = await decide(after_restart)

    assert (first[1], again[1], once_more[1]) == (True, False, False)
    assert first[0].outcome == again[0].outcome == once_more[0].outcome
    assert sent.calls == [{"to": "bob"}]


async def test_a_second_other_decision_is_told_who_decided_what_and_when(bench: b.Bench) -> None:
    runtime, _ = await waiting(separated(bench))
    await decide(runtime)

    error = await refused(runtime, DENY, who=ANN, request_id="decision-2")
    stolen = await refused(runtime, who=ANN)
    reused = await refused(runtime, note="and another note")

    assert (error.reason, stolen.reason) == (ErrorReason.APPROVAL_ALREADY_DECIDED,) * 2
    assert (error.metadata["verdict"], error.metadata["decided_by"]) == ("APPROVE", "bob")
    assert error.metadata["decided_at"].startswith("20")
    assert error.metadata["request_id"] == "decision-1"
    assert reused.reason is ErrorReason.REQUEST_ID_CONFLICT


async def test_the_digest_of_another_runs_approval_approves_nothing(bench: b.Bench) -> None:
    """Other run's: an id is of one run; the same call of another run has the same digest and needs its own decision."""
    runtime, sent = await waiting(separated(bench))
    await runtime.start_run(b.request("run-2"))
    await reached(runtime, EventKind.APPROVAL_REQUESTED, "run-2")

    await decide(runtime, approval_id="run-2/a1.1.1")
    await stood_still(runtime, "run-2")
    nowhere = await refused(runtime, approval_id="run-3/a1.1.1")

    assert (await shown(runtime)).state is ApprovalState.PENDING
    assert sent.calls == [{"to": "bob"}]
    assert nowhere.reason is ErrorReason.APPROVAL_NOT_FOUND


async def test_somebody_of_another_namespace_finds_no_approval(bench: b.Bench) -> None:
    runtime, sent = await waiting(separated(bench))
    eve = person("eve", Role.APPROVER, Role.ADMIN, namespace="other")

    digest = (await shown(runtime)).asked.digest
    error = await refused(runtime, who=eve, digest=digest)

    assert error.reason is ErrorReason.APPROVAL_NOT_FOUND
    page = await runtime.approval_list.page(eve, ApprovalFilter(), "", 10)
    assert (page.approvals, sent.calls) == ([], [])


@pytest.mark.parametrize(
    ("who", "approval", "rule"),
    [
        (HOST, WRITES, "executor"),
        (CALLER, {**WRITES, "four_eyes": True}, "four_eyes"),
        (BOB, {"sets": [{"principals": ["ann"], "for": "1h"}, {"roles": ["approver"]}]}, "approver_set"),
        (person("root", Role.ADMIN), WRITES, "executor"),
    ],
    ids=["performs it", "started the run", "in another set", "admin, who may perform everything"],
)
async def test_an_approval_that_is_given_by_whoever_must_not_is_none(
    bench: b.Bench, who: object, approval: dict[str, object], rule: str
) -> None:
    """Self-given, and by whoever is not in the set whose turn it is."""
    runtime, sent = await waiting(separated(bench), asking(approval=approval), principal="cal")

    error = await refused(runtime, who=who)

    assert (error.reason, error.metadata["rule"]) == (ErrorReason.APPROVER_NOT_ALLOWED, rule)
    assert (await shown(runtime, ANN)).state is ApprovalState.PENDING
    assert sent.calls == []


async def test_an_admin_decides_on_what_another_principal_performs(bench: b.Bench) -> None:
    runtime, sent = await waiting(separated(bench, owners={"tools": ["hal"]}))

    await decide(runtime, who=person("root", Role.ADMIN))

    await stood_still(runtime)
    assert sent.calls == [{"to": "bob"}]


async def test_after_a_cancel_there_is_nothing_to_decide(bench: b.Bench) -> None:
    runtime, sent = await waiting(separated(bench))
    await runtime.cancel_run("run-1")
    await stood_still(runtime)

    error = await refused(runtime)

    assert (error.reason, error.metadata["state"]) == (ErrorReason.APPROVAL_WITHDRAWN, "WITHDRAWN")
    assert (await shown(runtime)).state is ApprovalState.WITHDRAWN
    assert sent.calls == []


async def test_of_fifty_contradicting_decisions_at_once_one_stands(bench: b.Bench) -> None:
    runtime, sent = await waiting(separated(bench))
    verdicts = [APPROVE, DENY, ABORT]

    async def outcome(number: int) -> str:
        try:
            await decide(runtime, verdicts[number % 3], who=(ANN, BOB)[number % 2], request_id=f"decision-{number}")
        except AgentError as error:
            assert error.metadata["decided_by"] in ("ann", "bob")
            return error.reason.name
        return "decided"

    said = await asyncio.gather(*(outcome(number) for number in range(50)))

    assert sorted(set(said)) == ["APPROVAL_ALREADY_DECIDED", "decided"]
    assert said.count("decided") == 1
    await stood_still(runtime)
    [decided] = await records_of(bench.journal, r.ApprovalDecided)
    assert len(sent.calls) == (decided.verdict is APPROVE)


async def test_no_place_is_asked_for_at_whoever_approved(bench: b.Bench) -> None:
    class Noted(PlayedTools):
        asked: ClassVar[list[str]] = []

        def take_place(self, wanted: PlaceRequest) -> Place:
            self.asked.append(wanted.not_by)
            return super().take_place(wanted)

    bench = separated(bench)
    bench.packages, bench.tools = (asking(),), Noted(lambda call: ToolOutcome(ToolOutcomeKind.RESULT, b"1"))
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    await reached(runtime, EventKind.APPROVAL_REQUESTED)
    Noted.asked.clear()

    await decide(runtime)
    await stood_still(runtime)

    assert set(Noted.asked) == {"bob"}


async def test_no_place_is_waited_for_at_whoever_approved(bench: b.Bench) -> None:
    class Waited(FunctionTools):
        wanted: ClassVar[list[PlaceRequest]] = []

        def wait_for_place(self, wanted: PlaceRequest, granted: Granted) -> PlaceWait:
            self.wanted.append(wanted)
            return super().wait_for_place(wanted, granted)

    bench, sent = separated(bench), Sent()
    bench.packages, bench.tools = (asking(),), Waited({"send": sent}, unreachable={"tools"})
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    await reached(runtime, EventKind.APPROVAL_REQUESTED)

    await decide(runtime)
    await eventually(lambda: bool(Waited.wanted))
    bench.function_tools.reach("tools")
    await stood_still(runtime)

    assert {(wanted.first, wanted.not_by) for wanted in Waited.wanted} == {("", "bob")}
    assert sent.calls == [{"to": "bob"}]


async def test_a_restart_changes_no_deadline_and_no_question(bench: b.Bench) -> None:
    async with abandoned():
        runtime, _ = await waiting(separated(bench), asking(approval=HAND_OVER))
        before = await shown(runtime)
    bench.manual_clock.advance(9 * MINUTE)

    after_restart = bench.runtime()
    await after_restart.recover()
    same = await shown(after_restart)
    bench.manual_clock.advance(MINUTE)
    await quiet()

    assert same.asked == before.asked
    assert (same.current_set, (await shown(after_restart)).current_set) == (0, 1)
    assert (await refused(after_restart)).metadata["rule"] == "approver_set"
    await decide(after_restart, who=ANN)
    assert (await stood_still(after_restart)).status is RunStatus.COMPLETED
    assert [kind.name for kind in await kinds(bench.journal)].count("APPROVAL_REQUESTED") == 1
    assert [kind.name for kind in await kinds(bench.journal)].count("APPROVAL_ESCALATED") == 1


async def test_no_turn_comes_back_with_a_clock_that_is_set_back(bench: b.Bench) -> None:
    runtime, sent = await waiting(separated(bench), asking(approval=HAND_OVER))
    bench.manual_clock.advance(11 * MINUTE)
    await quiet()
    bench.manual_clock.advance(-5 * MINUTE)

    not_any_more = await refused(runtime)
    await decide(runtime, who=ANN)

    assert (not_any_more.reason, not_any_more.metadata["rule"]) == (ErrorReason.APPROVER_NOT_ALLOWED, "approver_set")
    assert "the turn of ann" in not_any_more.message
    assert (await stood_still(runtime)).status is RunStatus.COMPLETED
    assert sent.calls == [{"to": "bob"}]


async def test_what_waits_for_somebody_has_no_driver(bench: b.Bench) -> None:
    runtime, sent = await waiting(separated(bench))
    await quiet()
    bench.manual_clock.advance(3 * b.SECOND)
    await eventually(lambda: not runtime._supervisor._live.keys)

    await decide(runtime)

    assert (await stood_still(runtime)).status is RunStatus.COMPLETED
    assert sent.calls == [{"to": "bob"}]


async def test_nobody_decides_and_the_run_goes_on_by_itself(bench: b.Bench) -> None:
    runtime, sent = await waiting(separated(bench))

    bench.manual_clock.advance(HOUR)

    ended = await stood_still(runtime)
    assert (ended.status, sent.calls) == (RunStatus.COMPLETED, [])
    assert (await shown(runtime)).state is ApprovalState.EXPIRED


async def test_nobody_decides_and_the_run_ends_where_the_package_says_so(bench: b.Bench) -> None:
    runtime, _ = await waiting(separated(bench), asking(approval={**WRITES, "on_expiry": "abort_run"}))

    bench.manual_clock.advance(HOUR)

    ended = await stood_still(runtime)
    assert (ended.status, ended.state.stop) == (RunStatus.FAILED, StopReason.APPROVAL_EXPIRED)


@pytest.mark.parametrize(
    ("approval", "principals", "said"),
    [
        ({"sets": [{"principals": ["zoe"]}]}, (BOB,), "approvals.writes asks zoe"),
        (WRITES, (person("cal", Role.CALLER),), "approvals.writes asks role approver"),
        ({**WRITES, "four_eyes": True}, (CALLER,), "beside cal, who starts the run"),
    ],
)
async def test_a_run_that_would_ask_nobody_is_refused_at_its_start_by_name(
    bench: b.Bench, approval: dict[str, object], principals: tuple[object, ...], said: str
) -> None:
    runtime = separated(bench, *principals).runtime(asking(approval=approval))  # type: ignore[arg-type]

    with pytest.raises(AgentError) as caught:
        await runtime.start_run(b.request(), principal="cal")

    assert caught.value.reason is ErrorReason.APPROVER_MISSING
    assert said in caught.value.message


async def test_without_keys_everybody_may_decide_and_that_is_on_record(bench: b.Bench) -> None:
    runtime, sent = await waiting(bench, asking(approval={"sets": [{"principals": ["zoe"]}]}))

    standing, _ = await decide(runtime, who=person("local", *Role))

    await stood_still(runtime)
    assert standing.separation.name == "NOT_ENFORCED"
    [decided] = await records_of(bench.journal, r.ApprovalDecided)
    assert decided.separation.name == "NOT_ENFORCED"
    assert sent.calls == [{"to": "bob"}]


async def test_four_eyes_without_keys_are_refused_at_the_start(bench: b.Bench) -> None:
    runtime = bench.runtime(asking(approval={**WRITES, "four_eyes": True}))

    with pytest.raises(AgentError) as caught:
        await runtime.start_run(b.request())

    assert (caught.value.reason, caught.value.metadata["approval"]) == (ErrorReason.APPROVER_MISSING, "writes")


async def test_an_operators_ask_is_answered_by_an_approver(bench: b.Bench) -> None:
    package = b.package(b.asks("send"), b.says("told {results}"), tools=(b.writing_tool("send"),))
    separated(bench)
    runtime = None

    async def started() -> None:
        nonlocal runtime
        runtime, _ = await waiting(bench, package)

    asks = PolicySpec.model_validate({"rules": [{"when": 'tool.effect == "write"', "then": "ask"}]})
    original = bench.runtime

    def with_rules(*args: object, **kwargs: object) -> object:
        made = original(*args, **kwargs)  # type: ignore[arg-type]
        made.ports.policies.replace_operator_rules({DEFAULT_NAMESPACE: OperatorRules((asks,), "sha256:rules-1")})
        return made

    bench.runtime = with_rules  # type: ignore[method-assign, assignment]
    await started()
    assert runtime is not None
    asked = (await shown(runtime)).asked

    await decide(runtime)

    assert (asked.approval, asked.decider, asked.sets[0].roles) == ("", "operator", ("approver",))
    assert (await stood_still(runtime)).status is RunStatus.COMPLETED


async def test_rules_that_deny_meanwhile_win_over_an_approval(bench: b.Bench) -> None:
    runtime, sent = await waiting(separated(bench))
    denies = PolicySpec.model_validate({"rules": [{"then": "deny", "code": "not_any_more"}]})
    runtime.ports.policies.replace_operator_rules({DEFAULT_NAMESPACE: OperatorRules((denies,), "sha256:rules-2")})

    standing, _ = await decide(runtime)

    ended = await stood_still(runtime)
    assert standing.state is ApprovalState.APPROVED
    assert ("not_any_more" in (ended.text or ""), sent.calls) == (True, [])


async def test_lists_show_what_somebody_may_see_in_pages(bench: b.Bench) -> None:
    runtime, _ = await waiting(separated(bench), asking(approval=HAND_OVER))
    for number in range(2, 6):
        bench.manual_clock.advance(b.SECOND)
        await runtime.start_run(b.request(f"run-{number}"))
        await reached(runtime, EventKind.APPROVAL_REQUESTED, f"run-{number}")
    await decide(runtime, approval_id="run-3/a1.1.1")
    await stood_still(runtime, "run-3")

    async def names(who: object, wanted: ApprovalFilter = PENDING, limit: int = 2) -> list[str]:
        found, token = list[str](), ""
        while True:
            page = await runtime.approval_list.page(who, wanted, token, limit)  # type: ignore[arg-type]
            found += [standing.asked.run_id for standing in page.approvals]
            token = page.next_token
            if not token:
                return found

    pending = ["run-1", "run-2", "run-4", "run-5"]
    assert await names(BOB) == pending
    assert await names(person("olga", Role.OBSERVER)) == pending
    assert await names(person("xenia", Role.CALLER)) == []
    assert await names(BOB, ApprovalFilter(mine=True)) == pending
    assert await names(person("ann", Role.CALLER), ApprovalFilter(mine=True)) == []
    assert await names(BOB, ApprovalFilter(states=frozenset({ApprovalState.APPROVED}))) == ["run-3"]
    assert await names(BOB, ApprovalFilter(run_id="run-4")) == ["run-4"]
    assert await names(BOB, ApprovalFilter(tool="look")) == []
    before = (await shown(runtime, approval_id="run-4/a1.1.1")).asked.requested_at
    assert await names(BOB, ApprovalFilter(requested_before=before)) == ["run-1", "run-2"]


async def test_a_decision_that_breaks_a_rule_is_refused_by_field(bench: b.Bench) -> None:
    runtime, _ = await waiting(separated(bench))

    errors = {
        "approval_id": await refused(runtime, approval_id="run-1"),
        "digest": await refused(runtime, digest="another"),
        "request_id": await refused(runtime, request_id=""),
        "message": await refused(runtime, APPROVE, message="good"),
        "note": await refused(runtime, note="x" * 1025),
        "on_behalf_of": await refused(runtime, on_behalf_of="x" * 257),
    }

    for field, error in errors.items():
        assert (error.reason, error.metadata["field"]) == (ErrorReason.INVALID_REQUEST, field)
    empty = await refused(runtime, RESPOND)
    assert (empty.reason, empty.metadata["field"]) == (ErrorReason.INVALID_REQUEST, "message")
