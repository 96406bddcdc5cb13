"""Dispatchers of approvals: who is told what, once; and whose decisions in an answer count."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from runwright.adapters.memory.journal import MemoryJournal
from runwright.adapters.sqlite.journal import SqliteJournal
from runwright.core import records as r
from runwright.core.approval_dispatches import MAX_FAILURES, ApprovalNotice, DispatchResult
from runwright.core.approval_policy import ApprovalPolicy
from runwright.core.approval_rules import ApprovalSpec
from runwright.core.approvals import ApprovalState, ApprovalVerdict
from runwright.core.kinds import EventKind
from runwright.core.outcomes import RunStatus
from runwright.core.principal import Role
from runwright.ports.approval_dispatchers import ApprovalNotification, DispatcherReply
from runwright.ports.function_dispatcher import Dispatched, FunctionDispatcher
from runwright.runtime import AgentRuntime
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.approving import ANN, BOB, CALLER, HAND_OVER, WRITES, Sent, asking, decide, person, separated, shown
from tests.runtime.told import ACKNOWLEDGED, Told, decides, never
from tests.runtime.watching import eventually, quiet, reached, records_of, stood_still

APPROVE, DENY, RESPOND = ApprovalVerdict.APPROVE, ApprovalVerdict.DENY, ApprovalVerdict.RESPOND
DISPATCH, UPDATE, WITHDRAW = ApprovalNotice.DISPATCH, ApprovalNotice.UPDATE, ApprovalNotice.WITHDRAW
TOLD: dict[str, Any] = {**WRITES, "dispatchers": ["chat"]}
BOT = person("bot", Role.DISPATCHER, Role.APPROVER)
MESSENGER = person("bot", Role.DISPATCHER)
KEYS = (ANN, BOB, CALLER, BOT)


async def running(
    bench: b.Bench, told: Told | None, approval: dict[str, Any] | None = None, principal: str = "local"
) -> tuple[AgentRuntime, Sent]:
    """A runtime with a run that has asked, and what was sent."""
    sent = Sent()
    bench.packages = (asking(approval=TOLD if approval is None else approval),)
    bench.tools = FunctionTools({"send": sent, "look": b.look})
    bench.dispatchers = told
    runtime = bench.runtime()
    await runtime.start_run(b.request(), principal=principal)
    await reached(runtime, EventKind.APPROVAL_REQUESTED)
    return runtime, sent


async def results(bench: b.Bench) -> list[r.ApprovalDispatched]:
    """What came of each attempt."""
    return await records_of(bench.journal, r.ApprovalDispatched)


async def parked(bench: b.Bench, runtime: AgentRuntime) -> None:
    """Lets time pass until the run has no driver."""
    await quiet()
    bench.manual_clock.advance(2_000_000)
    await eventually(lambda: not runtime._supervisor._live.keys)


async def test_each_result_and_each_update_is_one_commit_more(any_journal: MemoryJournal | SqliteJournal) -> None:
    answering = asyncio.Event()

    async def answer(notification: ApprovalNotification) -> DispatcherReply:
        if notification.notice is UPDATE:
            await answering.wait()
        return ACKNOWLEDGED

    told = Told(answer)
    bench = b.Bench(journal=any_journal)
    runtime, _ = await running(bench, told)
    await eventually(lambda: len(told.told) == 1 and any_journal.commits == 3)

    await decide(runtime)
    await eventually(lambda: any_journal.commits == 6)
    answering.set()

    await stood_still(runtime)
    assert told.notices == [DISPATCH, UPDATE]
    # Two until it is asked, a result of telling, the decision, the call's result, the answer, a result of telling.
    assert any_journal.commits == 7


async def test_what_a_dispatcher_decides_is_one_append_with_its_result_and_the_intent(bench: b.Bench) -> None:
    runtime, sent = await running(separated(bench, *KEYS), Told(decides(APPROVE, note="by the rota", reference="m1")))

    ended = await stood_still(runtime)

    assert (ended.status, sent.calls) == (RunStatus.COMPLETED, [{"to": "bob"}])
    [decided] = await records_of(bench.journal, r.ApprovalDecided)
    assert (decided.decided_by, decided.note) == ("bot", "by the rota")
    [started] = await records_of(bench.journal, r.ToolStarted)
    assert (started.approved_by, started.at) == ("bot", decided.at)


async def test_a_response_of_a_dispatcher_is_the_result_of_the_call(bench: b.Bench) -> None:
    runtime, sent = await running(separated(bench, *KEYS), Told(decides(RESPOND, message="I sent it myself")))

    ended = await stood_still(runtime)

    assert (ended.text, sent.calls) == ("told I sent it myself", [])


@pytest.mark.parametrize(
    ("keys", "approval", "said", "refusal"),
    [
        ((ANN, MESSENGER), TOLD, {}, "role"),
        ((ANN,), TOLD, {}, "role"),
        (KEYS, {**TOLD, "sets": [{"principals": ["ann"]}]}, {}, "approver_set"),
        (KEYS, {**TOLD, "four_eyes": True}, {}, "dispatcher"),
        (KEYS, TOLD, {"digest": "sha256:runwright-approval-v1:" + "0" * 64}, "digest"),
        (KEYS, TOLD, {"digest": ""}, "digest"),
        (KEYS, TOLD, {"verdict": None}, "invalid"),
        (KEYS, TOLD, {"verdict": DENY, "message": "m" * 1025}, "invalid"),
        (KEYS, TOLD, {"message": "for nobody"}, "invalid"),
        (KEYS, TOLD, {"note": "n" * 1025}, "invalid"),
        (KEYS, TOLD, {"on_behalf_of": "b" * 257}, "invalid"),
        (KEYS, TOLD, {"note": "\ud800"}, "invalid"),
        ((*KEYS[:3], person("bot", Role.APPROVER, Role.EXECUTOR)), TOLD, {}, "executor"),
    ],
)
async def test_what_a_dispatcher_may_not_decide_changes_nothing_and_is_on_record(
    bench: b.Bench, keys: tuple[Any, ...], approval: dict[str, Any], said: dict[str, Any], refusal: str
) -> None:
    told = Told(decides(said.pop("verdict", APPROVE), **said))
    runtime, sent = await running(separated(bench, *keys), told, approval)
    await reached(runtime, EventKind.APPROVAL_DISPATCHED)

    [result] = await results(bench)
    assert (result.result, result.refusal, result.principal) == (DispatchResult.ACKNOWLEDGED, refusal, "bot")
    assert (await shown(runtime, ANN)).state is ApprovalState.PENDING
    assert sent.calls == []


async def test_a_dispatcher_that_speaks_for_somebody_else_never_has_their_authority(bench: b.Bench) -> None:
    approval = {**TOLD, "sets": [{"principals": ["ann"]}]}
    runtime, sent = await running(separated(bench, *KEYS), Told(decides(APPROVE, on_behalf_of="ann")), approval)
    await reached(runtime, EventKind.APPROVAL_DISPATCHED)

    [result] = await results(bench)
    assert result.refusal == "approver_set"
    assert result.decision == r.DispatchedDecision(APPROVE, "ann")
    assert (await shown(runtime, ANN)).state is ApprovalState.PENDING
    assert sent.calls == []

    standing, _ = await decide(runtime, who=ANN)

    assert standing.outcome is not None
    assert (standing.outcome.decided_by, standing.outcome.on_behalf_of) == ("ann", "")


async def test_a_dispatcher_whose_key_was_revoked_decides_nothing(bench: b.Bench) -> None:
    runtime, sent = await running(separated(bench, *KEYS), Told(decides(APPROVE, credential="key:older")))
    await reached(runtime, EventKind.APPROVAL_DISPATCHED)

    assert [result.refusal for result in await results(bench)] == ["role"]
    assert sent.calls == []


async def test_a_decision_of_a_dispatcher_that_comes_late_by_a_moment_is_none(bench: b.Bench) -> None:
    answering = asyncio.Event()

    async def late(told: ApprovalNotification) -> DispatcherReply:
        await answering.wait()
        reply = decides(APPROVE)(told)
        assert isinstance(reply, DispatcherReply)
        return reply

    told = Told(late)
    _, sent = await running(separated(bench, *KEYS), told)
    await eventually(lambda: len(told.told) == 1)
    bench.manual_clock.advance(3_600_000_000)
    answering.set()
    await eventually(lambda: len(told.told) == 2)

    [first] = [each for each in await results(bench) if each.decision]
    assert first.refusal == "closed"
    assert sent.calls == []


async def test_two_dispatchers_that_decide_are_one_decision(bench: b.Bench) -> None:
    told = Told(decides(APPROVE))
    runtime, sent = await running(separated(bench, *KEYS), told, {**TOLD, "dispatchers": ["chat", "tickets"]})

    await stood_still(runtime)

    assert len(await records_of(bench.journal, r.ApprovalDecided)) == 1
    assert sent.calls == [{"to": "bob"}]
    assert sorted(each.refusal for each in await results(bench))[:2] == ["", "closed"]


async def test_one_that_is_away_decides_nothing_and_holds_no_driver_and_is_told_when_it_is_there(
    bench: b.Bench,
) -> None:
    told = Told(is_away=True)
    runtime, _ = await running(bench, told)
    await reached(runtime, EventKind.APPROVAL_DISPATCHED)
    await parked(bench, runtime)
    commits = bench.journal.head
    for _ in range(20):
        bench.manual_clock.advance(60_000_000)
        await quiet()

    assert bench.journal.head == commits, "nothing is written while it is away"
    assert not runtime._supervisor._live.keys
    assert (await shown(runtime)).state is ApprovalState.PENDING

    told.comes_back()
    await eventually(lambda: told.notices == [DISPATCH])

    assert [result.result.name for result in await results(bench)][:1] == ["NOT_SENT"]


async def test_one_that_fails_is_tried_again_later_with_the_same_key_and_not_for_ever(bench: b.Bench) -> None:
    def fails(_: ApprovalNotification) -> DispatcherReply:
        raise RuntimeError("the chat is down")

    told = Told(fails)
    runtime, _ = await running(bench, told, {**TOLD, "expires": "30d"})
    await eventually(lambda: len(told.told) == 1)
    for _ in range(MAX_FAILURES + 5):
        await quiet()
        bench.manual_clock.advance(600_000_000)
        await quiet()

    await eventually(lambda: len(told.told) == MAX_FAILURES)
    assert len({each.key for each in told.told}) == 1
    assert [each.attempt for each in told.told] == [*range(1, MAX_FAILURES + 1)]
    assert (await shown(runtime)).state is ApprovalState.PENDING


async def test_a_restart_tells_again_what_was_not_acknowledged_and_nothing_else(bench: b.Bench) -> None:
    first = Told(never)
    runtime, _ = await running(bench, first)
    await eventually(lambda: len(first.told) == 1)
    await runtime.drain(0)
    bench.dispatchers = second = Told()
    runtime = bench.runtime()
    await runtime.recover()
    await eventually(lambda: len(second.told) == 1)
    await quiet()
    await runtime.drain(0)
    bench.dispatchers = third = Told()
    runtime = bench.runtime()
    await runtime.recover()
    await quiet()

    assert first.told[0].key == second.told[0].key
    assert (first.told[0].attempt, second.told[0].attempt) == (1, 2)
    assert third.told == []


async def test_a_hand_over_is_told_and_a_decision_made_elsewhere_too(bench: b.Bench) -> None:
    told = Told(lambda _: DispatcherReply(result=DispatchResult.ACKNOWLEDGED, reference="message-1"))
    runtime, _ = await running(separated(bench, *KEYS), told, {**HAND_OVER, "dispatchers": ["chat"]})
    await eventually(lambda: len(told.told) == 1)
    bench.manual_clock.advance(600_000_000)
    await eventually(lambda: len(told.told) == 2)

    await decide(runtime, DENY, who=ANN)

    await stood_still(runtime)
    assert told.notices == [DISPATCH, UPDATE, UPDATE]
    assert [each.revision for each in told.told] == [1, 2, 3]
    assert [each.reference for each in told.told] == ["", "message-1", "message-1"]
    assert [each.approval.current_set for each in told.told] == [0, 1, 1]
    [outcome] = [each.approval.outcome for each in told.told if each.approval.outcome]
    assert (outcome.decided_by, outcome.state) == ("ann", ApprovalState.DENIED)
    assert len({each.key for each in told.told}) == 3


async def test_what_expires_or_goes_with_its_run_is_withdrawn(bench: b.Bench) -> None:
    told = Told()
    runtime, _ = await running(bench, told)
    await eventually(lambda: len(told.told) == 1)
    bench.manual_clock.advance(3_600_000_000)
    await stood_still(runtime)
    assert told.notices == [DISPATCH, WITHDRAW]
    assert told.told[-1].approval.state is ApprovalState.EXPIRED

    other = b.Bench()
    told = Told()
    runtime, _ = await running(other, told)
    await eventually(lambda: len(told.told) == 1)
    await runtime.cancel_run("run-1", reason="not needed")
    ended = await stood_still(runtime)

    assert ended.status is RunStatus.CANCELLED
    assert told.notices == [DISPATCH, WITHDRAW]
    assert told.told[-1].approval.state is ApprovalState.WITHDRAWN


async def test_a_reference_that_is_too_long_is_no_acknowledgement(bench: b.Bench) -> None:
    told = Told(lambda _: DispatcherReply(result=DispatchResult.ACKNOWLEDGED, reference="r" * 257))
    runtime, _ = await running(bench, told)
    await reached(runtime, EventKind.APPROVAL_DISPATCHED)

    [result] = await results(bench)
    assert (result.result, result.reference) == (DispatchResult.UNREADABLE, "")


async def test_with_four_eyes_the_key_of_a_dispatcher_decides_nowhere(bench: b.Bench) -> None:
    runtime, _ = await running(separated(bench, *KEYS), Told(), {**TOLD, "four_eyes": True})

    with pytest.raises(Exception, match="people's") as caught:
        await decide(runtime, who=BOT)

    assert caught.value.metadata["rule"] == "dispatcher"  # type: ignore[attr-defined]


async def test_a_run_that_only_a_dispatcher_could_approve_with_four_eyes_is_refused(bench: b.Bench) -> None:
    separated(bench, BOT)

    with pytest.raises(Exception, match="no key with role approver is theirs"):
        await running(bench, Told(), {**TOLD, "four_eyes": True}, principal="cal")


async def test_a_function_of_the_program_approves_a_run(bench: b.Bench) -> None:
    seen: list[tuple[str, bytes | None]] = []

    def decide_here(told: ApprovalNotification) -> Dispatched | None:
        seen.append((told.notice.name, told.arguments))
        return Dispatched(verdict=APPROVE, note="by the program") if told.notice is DISPATCH else None

    sent = Sent()
    bench.packages = (asking(approval=TOLD),)
    bench.tools = FunctionTools({"send": sent, "look": b.look})
    bench.dispatchers = FunctionDispatcher(decide_here)
    runtime = bench.runtime()

    ended = await runtime.run_text(b.request())

    assert (ended.status, sent.calls) == (RunStatus.COMPLETED, [{"to": "bob"}])
    assert seen == [("DISPATCH", b'{"to":"bob"}'), ("UPDATE", b'{"to":"bob"}')]


async def test_an_approval_policy_has_a_function_asked_about_calls_that_packages_allow(bench: b.Bench) -> None:
    sent = Sent()
    script = (b.asks({"tool": "send", "arguments": {"to": "x"}}), b.says("{results}"))
    bench.packages = (b.package(*script, tools=(b.writing_tool("send"),)),)
    bench.tools = FunctionTools({"send": sent})
    bench.dispatchers = FunctionDispatcher(lambda told: DENY if told.notice is DISPATCH else None)
    bench.approval_policy = ApprovalPolicy(
        approval=ApprovalSpec(expires="1h", dispatchers=("here",)), ask_when='tool.effect == "write"'
    )
    runtime = bench.runtime()

    ended = await runtime.run_text(b.request())

    assert sent.calls == []
    assert "approval.denied" in (ended.text or "")


async def test_a_runtime_closes_the_dispatcher_it_owns_and_not_one_that_is_shared(bench: b.Bench) -> None:
    owned, shared = Told(), Told()
    bench.dispatchers = owned
    await bench.runtime().close()
    other = b.Bench()
    other.shared_dispatchers = shared
    await other.runtime().close()

    assert (owned.is_closed, shared.is_closed) == (True, False)


@pytest.mark.parametrize("stage", ["run_start", "output"])
async def test_starts_and_answers_are_told_and_decided_on_like_calls(bench: b.Bench, stage: str) -> None:
    told = Told(decides(APPROVE))
    policies = [{"rules": [{"stage": stage, "then": "ask", "approval": "board"}]}]
    fields = {"policy": "builtin:read-only", "policies": policies, "approvals": {"board": TOLD}}
    bench.packages = (b.package(b.says("the answer"), **fields),)
    bench.dispatchers = told
    runtime = separated(bench, *KEYS).runtime()

    ended = await runtime.run_text(b.request())

    assert (ended.status, ended.text) == (RunStatus.COMPLETED, "the answer")
    assert told.notices == [DISPATCH, UPDATE]
    first = told.told[0]
    assert first.effect_id == ("n0.1.1" if stage == "run_start" else "n1.1.1")
    assert stage == "run_start" or first.arguments == b"the answer"
    [decided] = await records_of(bench.journal, r.ApprovalDecided)
    assert decided.decided_by == "bot"
