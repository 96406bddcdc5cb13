"""Approvals of the start of a run and of its answer: before somebody approves nothing happens, or is published."""

from __future__ import annotations

from typing import Any

import pytest
from runwright.adapters.memory.journal import MemoryJournal
from runwright.adapters.providers.scripted import ScriptedProvider
from runwright.adapters.sqlite.journal import SqliteJournal
from runwright.core import records as r
from runwright.core.approvals import ApprovalKind, ApprovalState, ApprovalVerdict
from runwright.core.errors import ErrorReason
from runwright.core.ids import DEFAULT_NAMESPACE
from runwright.core.kinds import EventKind
from runwright.core.outcomes import RunStatus, StopReason, WaitKind
from runwright.core.policy_chain import OperatorRules
from runwright.core.policy_rules import PolicySpec
from runwright.runtime import AgentRuntime
from runwright.wire.references import shown_refs

from tests import builders as b
from tests.runtime.approving import ANN, BOB, CALLER, HOST, WRITES, decide, of_the_run, refused, separated, shown
from tests.runtime.speaking import Pieces, Scene
from tests.runtime.watching import abandoned, events, kinds, reached, records_of, stood_still

START, ANSWER = "run-1/a0.1", "run-1/a1.1"
APPROVE, DENY = ApprovalVerdict.APPROVE, ApprovalVerdict.DENY
RESPOND, ABORT = ApprovalVerdict.RESPOND, ApprovalVerdict.ABORT_RUN
BOB_THEN_ANN = {"sets": [{"principals": ["bob"], "for": "10m"}, {"principals": ["ann"]}], "expires": "1h"}
HOUR, MINUTE = 3600 * b.SECOND, 60 * b.SECOND


async def held(bench: b.Bench, *stages: str, principal: str = "cal", **fields: Any) -> AgentRuntime:
    """A runtime with a run that is held at the first of these stages."""
    bench.packages = (of_the_run(*stages, **fields),)
    runtime = bench.runtime()
    await runtime.start_run(b.request(), principal=principal)
    await reached(runtime, EventKind.APPROVAL_REQUESTED)
    return runtime


async def test_a_start_waits_and_says_for_whom(bench: b.Bench) -> None:
    runtime = await held(separated(bench), "run_start")

    snapshot = await runtime.run_snapshot("run-1")

    assert snapshot.status is RunStatus.WAITING
    [wait] = snapshot.waiting_on
    assert (wait.kind, wait.effect_id, wait.subject) == (WaitKind.APPROVAL, "a0.1", "a0.1")
    assert wait.unblocked_by.startswith("a decision on the start of the run by role approver before 20")
    assert EventKind.MODEL_ATTEMPT_STARTED not in await kinds(bench.journal)


async def test_an_approved_start_goes_on_and_its_answer_is_published_once_that_is_approved(bench: b.Bench) -> None:
    runtime = await held(separated(bench), "run_start", "output")
    asked = (await shown(runtime, approval_id=START)).asked
    assert (asked.kind, asked.tool, asked.effect_id, asked.code) == (ApprovalKind.RUN_START, "", "", "board.run_start")

    await decide(runtime, approval_id=START)
    await reached(runtime, EventKind.APPROVAL_REQUESTED, times=2)
    held_back = await runtime.run_snapshot("run-1")
    answer = (await shown(runtime, approval_id=ANSWER)).asked
    standing, _ = await decide(runtime, approval_id=ANSWER, request_id="decision-2")

    assert (held_back.status, held_back.text) == (RunStatus.WAITING, None)
    assert answer.kind is ApprovalKind.OUTPUT
    assert await runtime.approvals.arguments(DEFAULT_NAMESPACE, answer, answer.arguments) == b"42"
    ended = await stood_still(runtime)
    assert (ended.status, ended.text) == (RunStatus.COMPLETED, "42")
    assert standing.state is ApprovalState.APPROVED
    [first, second] = await records_of(bench.journal, r.ApprovalDecided)
    assert (first.approval_id, first.digest) == ("a0.1", asked.digest)
    assert (second.approval_id, second.digest) == ("a1.1", answer.digest)


@pytest.mark.parametrize(("stage", "name"), [("run_start", START), ("output", ANSWER)])
async def test_a_denial_ends_the_run_and_says_who_denied_what(bench: b.Bench, stage: str, name: str) -> None:
    runtime = await held(separated(bench), stage)

    await decide(runtime, DENY, approval_id=name, message="not before the audit")

    ended = await stood_still(runtime)
    assert (ended.status, ended.state.stop, ended.text) == (RunStatus.FAILED, StopReason.APPROVAL_DENIED, None)
    assert ended.state.error is not None
    assert ended.state.error.reason is ErrorReason.APPROVAL_DENIED
    assert dict(ended.state.error.metadata) == {"approval_id": name, "decided_by": "bob"}
    assert ended.state.error.message.endswith("and denied it: not before the audit.")
    assert (EventKind.MODEL_ATTEMPT_STARTED in await kinds(bench.journal)) == (stage == "output")


@pytest.mark.parametrize(("stage", "name"), [("run_start", START), ("output", ANSWER)])
async def test_whoever_is_asked_may_end_the_run(bench: b.Bench, stage: str, name: str) -> None:
    runtime = await held(separated(bench), stage)

    await decide(runtime, ABORT, approval_id=name, note="the vendor is gone")

    ended = await stood_still(runtime)
    assert (ended.status, ended.state.stop, ended.text) == (RunStatus.FAILED, StopReason.APPROVAL_ABORTED, None)
    assert ended.state.error is not None
    assert "and ended the run: the vendor is gone" in ended.state.error.message


@pytest.mark.parametrize(("stage", "name"), [("run_start", START), ("output", ANSWER)])
async def test_nobody_responds_in_place_of_a_start_or_an_answer(bench: b.Bench, stage: str, name: str) -> None:
    runtime = await held(separated(bench), stage)

    error = await refused(runtime, RESPOND, approval_id=name, message="43")

    assert (error.reason, error.metadata["field"]) == (ErrorReason.INVALID_REQUEST, "verdict")
    assert "APPROVAL_VERDICT_ABORT_RUN" in error.metadata["expected"]
    assert "APPROVAL_VERDICT_RESPOND" not in error.metadata["expected"]
    assert error.remedy == "Decide one of APPROVE, DENY, ABORT_RUN."
    assert (await shown(runtime, approval_id=name)).state is ApprovalState.PENDING


@pytest.mark.parametrize("on_expiry", ["deny", "abort_run"])
@pytest.mark.parametrize(("stage", "name"), [("run_start", START), ("output", ANSWER)])
async def test_what_nobody_decides_on_ends_with_its_time(bench: b.Bench, stage: str, name: str, on_expiry: str) -> None:
    runtime = await held(bench, stage, approval={**WRITES, "on_expiry": on_expiry})

    bench.clock.advance(HOUR)

    ended = await stood_still(runtime)
    assert (ended.status, ended.state.stop, ended.text) == (RunStatus.FAILED, StopReason.APPROVAL_EXPIRED, None)
    assert (await shown(runtime, approval_id=name)).state is ApprovalState.EXPIRED
    assert (await refused(runtime, approval_id=name)).reason is ErrorReason.APPROVAL_EXPIRED


@pytest.mark.parametrize(("stage", "name"), [("run_start", START), ("output", ANSWER)])
async def test_after_a_cancel_there_is_nothing_to_decide(bench: b.Bench, stage: str, name: str) -> None:
    runtime = await held(separated(bench), stage)

    await runtime.cancel_run("run-1")

    ended = await stood_still(runtime)
    assert (ended.status, ended.text) == (RunStatus.CANCELLED, None)
    assert (await shown(runtime, approval_id=name)).state is ApprovalState.WITHDRAWN
    assert (await refused(runtime, approval_id=name)).reason is ErrorReason.APPROVAL_WITHDRAWN


async def test_the_next_set_may_decide_on_a_start_when_its_turn_comes(bench: b.Bench) -> None:
    runtime = await held(separated(bench), "run_start", approval=BOB_THEN_ANN)
    early = await refused(runtime, who=ANN, approval_id=START)

    bench.clock.advance(10 * MINUTE)

    await reached(runtime, EventKind.APPROVAL_ESCALATED)
    assert (await refused(runtime, who=BOB, approval_id=START)).metadata["rule"] == "approver_set"
    assert early.metadata["rule"] == "approver_set"
    await decide(runtime, who=ANN, approval_id=START)
    assert (await stood_still(runtime)).text == "42"


async def test_with_four_eyes_whoever_started_the_run_does_not_approve_its_start(bench: b.Bench) -> None:
    runtime = await held(separated(bench), "run_start", approval={**WRITES, "four_eyes": True})

    error = await refused(runtime, who=CALLER, approval_id=START)

    assert (error.reason, error.metadata["rule"]) == (ErrorReason.APPROVER_NOT_ALLOWED, "four_eyes")
    await decide(runtime, who=BOB, approval_id=START)
    assert (await stood_still(runtime)).status is RunStatus.COMPLETED


async def test_whoever_serves_executors_may_approve_what_no_executor_performs(bench: b.Bench) -> None:
    runtime = await held(separated(bench), "run_start")

    standing, _ = await decide(runtime, who=HOST, approval_id=START)

    assert standing.state is ApprovalState.APPROVED


async def test_a_restart_changes_no_deadline_and_asks_nothing_twice(bench: b.Bench) -> None:
    async with abandoned():
        runtime = await held(separated(bench), "run_start", "output")
        before = await shown(runtime, approval_id=START)
    async with abandoned():
        runtime = await _after_restart(bench)
        same = await shown(runtime, approval_id=START)
        await decide(runtime, approval_id=START)
        await reached(runtime, EventKind.APPROVAL_REQUESTED, times=2)
    runtime = await _after_restart(bench)
    waits = await runtime.run_snapshot("run-1")
    await decide(runtime, approval_id=ANSWER, request_id="decision-2")

    assert (same, waits.status) == (before, RunStatus.WAITING)
    assert (await stood_still(runtime)).text == "42"
    found = await kinds(bench.journal)
    assert found.count(EventKind.APPROVAL_REQUESTED) == 2
    assert found.count(EventKind.MODEL_ATTEMPT_STARTED) == 1


async def _after_restart(bench: b.Bench) -> AgentRuntime:
    again = bench.runtime()
    await again.recover()
    return again


async def test_an_approval_of_a_start_that_is_only_listed_costs_one_commit(
    any_journal: MemoryJournal | SqliteJournal,
) -> None:
    bench = b.Bench(journal=any_journal)
    runtime = await held(bench, "run_start")
    assert any_journal.commits == 1

    await decide(runtime, approval_id=START)

    await stood_still(runtime)
    assert any_journal.commits == 3
    found = [kind.name for kind in await kinds(any_journal)]
    assert found[found.index("APPROVAL_DECIDED") + 1] == "MODEL_ATTEMPT_STARTED"


async def test_the_digest_of_another_start_approves_nothing(bench: b.Bench) -> None:
    runtime = await held(separated(bench), "run_start")
    await runtime.start_run(b.request("run-2", "Something else"), principal="cal")
    await reached(runtime, EventKind.APPROVAL_REQUESTED, "run-2")
    other = (await shown(runtime, approval_id="run-2/a0.1")).asked.digest

    error = await refused(runtime, approval_id=START, digest=other)

    assert error.reason is ErrorReason.APPROVAL_DIGEST_MISMATCH
    assert (await shown(runtime, approval_id=START)).state is ApprovalState.PENDING


def operator(*rules: dict[str, Any]) -> OperatorRules:
    """Rules of the operator's."""
    return OperatorRules((PolicySpec.model_validate({"rules": list(rules)}),), f"digest-of-{len(rules)}-{rules}")


async def test_the_operators_rules_may_ask_at_a_start_too(bench: b.Bench) -> None:
    bench.packages = (b.package(b.says("42")),)
    runtime = separated(bench).runtime()
    runtime.ports.policies.replace_operator_rules({DEFAULT_NAMESPACE: operator({"stage": "run_start", "then": "ask"})})
    await runtime.start_run(b.request())
    await reached(runtime, EventKind.APPROVAL_REQUESTED)
    assert (await shown(runtime, approval_id=START)).asked.decider == "operator"

    await decide(runtime, approval_id=START)

    assert (await stood_still(runtime)).text == "42"


async def test_rules_that_deny_meanwhile_win_over_an_approval_of_a_start(bench: b.Bench) -> None:
    runtime = await held(separated(bench), "run_start")
    denies = operator({"stage": "run_start", "then": "deny", "code": "frozen"})
    runtime.ports.policies.replace_operator_rules({DEFAULT_NAMESPACE: denies})

    await decide(runtime, approval_id=START)

    ended = await stood_still(runtime)
    assert (ended.status, ended.state.stop) == (RunStatus.FAILED, StopReason.POLICY_DENIED)
    assert EventKind.MODEL_ATTEMPT_STARTED not in await kinds(bench.journal)


async def test_rules_that_ask_meanwhile_for_the_same_count_as_answered(bench: b.Bench) -> None:
    runtime = await held(separated(bench), "output")
    allows = operator({"stage": "output", "then": "allow"})
    runtime.ports.policies.replace_operator_rules({DEFAULT_NAMESPACE: allows})

    await decide(runtime, approval_id=ANSWER)

    assert (await stood_still(runtime)).text == "42"
    assert (await kinds(bench.journal)).count(EventKind.APPROVAL_REQUESTED) == 1


async def test_a_run_that_would_ask_nobody_at_its_start_is_refused_by_name(bench: b.Bench) -> None:
    bench.packages = (of_the_run("run_start", approval={"sets": [{"principals": ["zoe"]}]}),)
    runtime = separated(bench).runtime()

    with pytest.raises(Exception, match="no key with role approver is theirs") as caught:
        await runtime.start_run(b.request())

    assert caught.value.metadata == {"approval": "board"}  # type: ignore[attr-defined]


async def test_what_is_held_is_in_no_view_and_no_export_of_its_run_until_it_is_published(bench: b.Bench) -> None:
    runtime = await held(separated(bench), "output", answer="the secret plan")
    before = [shown_refs(event.data) for event in await events(bench.journal)]
    of_answer = (await shown(runtime, approval_id=ANSWER)).asked.arguments

    await decide(runtime, approval_id=ANSWER)

    await stood_still(runtime)
    *earlier, last = [shown_refs(event.data) for event in await events(bench.journal)]
    assert all(of_answer not in refs for refs in before)
    assert all(of_answer not in refs for refs in earlier)
    assert last == [of_answer]


@pytest.mark.parametrize("stage", ["output", "run_start"])
async def test_of_a_text_that_somebody_may_be_asked_about_nobody_is_told_while_it_comes(
    bench: b.Bench, stage: str
) -> None:
    pieces = Pieces()
    bench.providers = {"scripted": ScriptedProvider(pieces)}
    bench.packages = (of_the_run("run_start", stage, answer={"chunks": ["the secret ", "plan"]}),)
    runtime = bench.runtime()
    handle, _ = await runtime.start_run(b.request())
    play = Scene(bench, runtime, pieces, handle)
    listener = await play.listen()
    listener.start()
    await decide(runtime, approval_id=START)

    for number in range(2):
        pieces.next()
        await play.delta_text(number + 1)
        await play.turn()
    pieces.next()

    if stage == "output":
        await reached(runtime, EventKind.APPROVAL_REQUESTED, times=2)
        await decide(runtime, approval_id=ANSWER, request_id="decision-2")
    await listener.end()
    assert [delta.text for delta in listener.deltas] == ([] if stage == "output" else ["the secret ", "plan"])


async def test_an_answer_that_was_cut_off_is_not_shown_where_somebody_would_be_asked(bench: b.Bench) -> None:
    bench.packages = (of_the_run("output", answer=b.says("the secret pl", finish="length")),)
    runtime = bench.runtime()
    await runtime.start_run(b.request())

    ended = await stood_still(runtime)

    assert (ended.state.stop, ended.text) == (StopReason.MAX_TOKENS, None)
