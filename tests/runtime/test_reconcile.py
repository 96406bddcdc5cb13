"""Reconciling: what became of a lost call is asked of its executor, whose ledger agrees with the journal every time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from runwright.adapters.memory.audit import MemoryAudit
from runwright.core import effects as e
from runwright.core import inputs as i
from runwright.core import records as r
from runwright.core.audit import AuditKind
from runwright.core.content import Content
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import EffectId
from runwright.core.kinds import TERMINAL, EventKind
from runwright.core.outcomes import ExecutorIdentity, ReconcileAnswer, Resolution, RunStatus, WaitKind
from runwright.core.resolution import ResolutionRequest, ResolvedResult
from runwright.ports.tools import Place, PlaceRequest, ReconcileOutcome, ToolInvocation, ToolOutcome, ToolOutcomeKind
from runwright.runtime import AgentRuntime, RunSnapshot
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.watching import eventually, key, kinds, quiet, reached, records_of, stood_still

LOST = ToolOutcome(ToolOutcomeKind.LOST)
CALL = EffectId("c1.1")
SENDING = b.package(
    b.asks("send"), b.says("told {results}"), tools=(b.writing_tool("send", reconcilable=True, reconcile_for="10m"),)
)


class Desk:
    """An executor with a ledger of its own: which attempts really wrote, whatever was answered."""

    def __init__(self, *performs: bool, loses: int = 1) -> None:
        self.written: list[str] = []
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.silent = 0  # asks to which it cannot say anything
        self._performs, self._loses, self._calls = list(performs), loses, 0

    async def send(self, arguments: Mapping[str, Any]) -> Any:
        """One attempt: it may write, and its answer may be lost."""
        self._calls += 1
        if self._performs.pop(0) if self._performs else True:
            self.written.append(f"letter {self._calls}")
        return LOST if self._calls <= self._loses else "sent"

    async def reconcile(self, call: ToolInvocation) -> ReconcileOutcome:
        """Looks into the ledger."""
        self.asked.set()
        await self.may_answer.wait()
        if self.silent:
            self.silent -= 1
            return ReconcileOutcome(ReconcileAnswer.CANNOT_SAY)
        if self.written:
            return ReconcileOutcome(ReconcileAnswer.PERFORMED, f'"found {self.written[-1]}"'.encode())
        return ReconcileOutcome(ReconcileAnswer.NOT_PERFORMED)


def at(desk: Desk, bench: b.Bench) -> FunctionTools:
    """The tools of a desk, as the bench's."""
    bench.packages = (SENDING,)
    bench.tools = tools = FunctionTools({"send": desk.send}, reconcilers={"send": desk.reconcile})
    return tools


async def settled(bench: b.Bench, runtime: AgentRuntime) -> RunSnapshot:
    """The run once it has ended or needs repair, while time goes on."""
    waiting = asyncio.ensure_future(stood_still(runtime))
    while not waiting.done():
        await quiet()
        if not waiting.done() and bench.manual_clock.waiting:
            bench.manual_clock.advance(max(0, bench.manual_clock.waiting[0] - bench.clock.now()))
    return await waiting


async def answers(bench: b.Bench) -> list[tuple[int, str]]:
    """What each ask came to, as it is on record."""
    return [(ended.ask, ended.answer.name) for ended in await records_of(bench.journal, r.ReconcileEnded)]


async def test_a_call_that_was_performed_gives_its_result_and_is_not_made_again(bench: b.Bench) -> None:
    desk = Desk()
    tools = at(desk, bench)
    runtime = bench.runtime()
    await runtime.start_run(b.request())

    ended = await settled(bench, runtime)

    assert (ended.status, ended.text) == (RunStatus.COMPLETED, 'told "found letter 1"')
    assert (len(desk.written), len(tools.ledger)) == (1, 1)
    assert await answers(bench) == [(0, "NOT_ASKED"), (1, "PERFORMED")]
    [asked] = tools.asks
    assert (asked.attempt, asked.idempotency_key, asked.arguments_json) == (1, bench.key("c1.1"), b"{}")
    [intent] = await records_of(bench.journal, r.ReconcileStarted)
    assert (intent.ask, intent.idempotency_key) == (1, bench.key("c1.1"))
    assert EventKind.TOOL_RECOVERY_REQUIRED not in await kinds(bench.journal)


async def test_a_call_that_was_not_performed_is_sent_again_under_a_higher_attempt(bench: b.Bench) -> None:
    desk = Desk(False, True)
    tools = at(desk, bench)
    runtime = bench.runtime()
    await runtime.start_run(b.request())

    ended = await settled(bench, runtime)

    assert (ended.status, ended.text) == (RunStatus.COMPLETED, 'told "sent"')
    assert desk.written == ["letter 2"]
    assert [each.attempt for each in tools.ledger] == [1, 2]
    assert len({each.idempotency_key for each in tools.ledger}) == 1


async def test_a_call_that_is_lost_time_and_again_and_never_performed_is_given_up(bench: b.Bench) -> None:
    desk = Desk(False, False, False, loses=3)
    tools = at(desk, bench)
    runtime = bench.runtime()
    await runtime.start_run(b.request())

    ended = await settled(bench, runtime)

    assert ended.status is RunStatus.COMPLETED
    assert [each.attempt for each in tools.ledger] == [1, 2, 3]
    [failed] = await records_of(bench.journal, r.ToolFailed)
    assert failed.reason is ErrorReason.EXECUTOR_LOST
    assert desk.written == []


async def test_who_cannot_say_is_asked_again_after_longer_and_longer_waits(bench: b.Bench) -> None:
    desk = Desk()
    desk.silent = 3
    at(desk, bench)
    runtime = bench.runtime()
    await runtime.start_run(b.request())

    ended = await settled(bench, runtime)

    assert ended.text == 'told "found letter 1"'
    ends = await records_of(bench.journal, r.ReconcileEnded)
    waits = [end.next_ask_at - end.at for end in ends if end.next_ask_at is not None]
    assert waits == [0, b.SECOND // 5, 2 * b.SECOND // 5, 4 * b.SECOND // 5]
    assert [end.answer.name for end in ends[1:]] == ["CANNOT_SAY"] * 3 + ["PERFORMED"]


async def test_a_person_is_needed_when_nobody_could_say_in_time(bench: b.Bench) -> None:
    desk = Desk()
    desk.silent = 1_000
    at(desk, bench)
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    began = bench.clock.now()

    ended = await settled(bench, runtime)

    assert ended.status is RunStatus.REPAIR_NEEDED
    assert bench.clock.now() - began == 600 * b.SECOND
    assert (await answers(bench))[-1][1] == "CANNOT_SAY"
    resolved = ResolutionRequest(
        effect_id=CALL, attempt=1, request_id="d-1", resolution=Resolution.HAPPENED, result=ResolvedResult(b'"seen"')
    )
    await runtime.repair.resolve("run-1", resolved)
    assert (await stood_still(runtime)).text == 'told "seen"'


async def test_an_executor_that_stays_away_is_waited_for_in_the_open_and_not_for_ever(bench: b.Bench) -> None:
    desk = Desk()
    tools = at(desk, bench)
    runtime = bench.runtime()
    tools.tools = {"send": _then_away(tools, desk)}
    await runtime.start_run(b.request())
    await reached(runtime, EventKind.RECONCILE_ENDED)

    waiting = await runtime.run_snapshot("run-1")
    ended = await settled(bench, runtime)

    assert waiting.status is RunStatus.WAITING
    [wait] = waiting.waiting_on
    assert (wait.kind, wait.effect_id, wait.subject) == (WaitKind.EXECUTOR, CALL, "tools")
    assert "effects resolve run-1 c1.1" in wait.unblocked_by
    assert ended.status is RunStatus.REPAIR_NEEDED
    assert await answers(bench) == [(0, "NOT_ASKED")]
    assert tools.asks == []


def _then_away(tools: FunctionTools, desk: Desk) -> Callable[[Mapping[str, Any]], Any]:
    async def send(arguments: Mapping[str, Any]) -> Any:
        tools.unreachable.add("tools")
        return await desk.send(arguments)

    return send


async def test_a_run_that_waits_to_ask_has_no_driver_and_goes_on_when_its_executor_is_back(bench: b.Bench) -> None:
    desk = Desk()
    tools = at(desk, bench)
    tools.tools = {"send": _then_away(tools, desk)}
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    await reached(runtime, EventKind.RECONCILE_ENDED)
    await quiet()
    bench.manual_clock.advance(3 * b.SECOND)
    await eventually(lambda: key() not in runtime._supervisor._live)

    tools.reach("tools")

    assert (await stood_still(runtime)).text == 'told "found letter 1"'


async def test_a_restart_asks_before_anybody_is_bothered_and_the_time_for_it_goes_on(bench: b.Bench) -> None:
    desk = Desk()
    tools = at(desk, bench)
    tools.tools = {"send": _then_away(tools, desk)}
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    await reached(runtime, EventKind.RECONCILE_ENDED)
    await runtime.drain(0)
    bench.manual_clock.advance(500 * b.SECOND)
    began = bench.clock.now()

    restarted = bench.runtime()
    await restarted.recover()
    ended = await settled(bench, restarted)

    assert ended.status is RunStatus.REPAIR_NEEDED
    assert bench.clock.now() - began == 100 * b.SECOND
    assert await answers(bench) == [(0, "NOT_ASKED")]


async def test_a_server_that_was_away_for_longer_asks_at_least_once(bench: b.Bench) -> None:
    desk = Desk()
    tools = at(desk, bench)
    tools.tools = {"send": _then_away(tools, desk)}
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    await reached(runtime, EventKind.RECONCILE_ENDED)
    await runtime.drain(0)
    bench.manual_clock.advance(5_000 * b.SECOND)

    restarted = bench.runtime()
    await restarted.recover()
    await quiet()
    bench.manual_clock.advance(b.SECOND)
    await quiet()
    tools.reach("tools")

    assert (await stood_still(restarted)).text == 'told "found letter 1"'


async def test_an_ask_that_the_server_lost_is_made_again_by_the_next(bench: b.Bench) -> None:
    desk = Desk()
    desk.may_answer.clear()
    at(desk, bench)
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    await desk.asked.wait()
    await runtime.drain(0)
    desk.may_answer.set()

    restarted = bench.runtime()
    await restarted.recover()

    assert (await settled(bench, restarted)).text == 'told "found letter 1"'
    assert await answers(bench) == [(0, "NOT_ASKED"), (1, "NO_ANSWER"), (2, "PERFORMED")]


async def test_a_result_that_is_too_large_is_no_reason_to_do_it_again(bench: b.Bench) -> None:
    desk = Desk()
    tools = at(desk, bench)
    huge = ReconcileOutcome(ReconcileAnswer.PERFORMED, b"x" * (1024 * 1024 + 1))
    tools.reconcilers = {"send": lambda call: huge}
    runtime = bench.runtime()
    await runtime.start_run(b.request())

    ended = await settled(bench, runtime)

    assert ended.status is RunStatus.COMPLETED
    assert "The call was made; its result of 1048577 bytes" in (ended.text or "")
    [failed] = await records_of(bench.journal, r.ToolFailed)
    assert failed.reason is ErrorReason.TOOL_RESULT_TOO_LARGE
    assert len(tools.ledger) == 1


async def test_an_ask_takes_a_place_of_its_executor_and_gives_it_back(bench: b.Bench) -> None:
    desk = Desk()
    desk.may_answer.clear()
    tools = at(desk, bench)
    tools.most_calls = 1
    runtime = bench.runtime()
    await runtime.start_run(b.request())

    await desk.asked.wait()
    while_asked = tools.held["tools"]
    desk.may_answer.set()
    await settled(bench, runtime)

    assert (while_asked, tools.held["tools"]) == (1, 0)


class SeenPlaces(FunctionTools):
    """Tools that keep what places were wanted for, and say who got a call."""

    def take_place(self, wanted: PlaceRequest) -> Place | None:
        """See the port."""
        PLACES.append((wanted.first, wanted.schema_digest))
        return super().take_place(wanted)


PLACES: list[tuple[str, str]] = []


async def test_whoever_got_the_attempt_is_asked_first_with_whatever_schema_and_then_anybody(bench: b.Bench) -> None:
    PLACES.clear()
    desk = Desk()
    desk.silent = 1
    who = ExecutorIdentity("desk-1", "shop", "10.0.0.1:7")
    bench.packages = (SENDING,)
    lost = ToolOutcome(ToolOutcomeKind.LOST, executor_identity=who)
    bench.tools = SeenPlaces({"send": lambda arguments: lost}, reconcilers={"send": desk.reconcile})
    runtime = bench.runtime()
    await runtime.start_run(b.request())

    await settled(bench, runtime)

    asks = [wanted for wanted in PLACES if not wanted[1]]
    assert asks[:2] == [("desk-1", ""), ("", "")]


async def test_an_answer_that_comes_after_a_decision_is_audited_and_changes_nothing(bench: b.Bench) -> None:
    bench.audit = audit = MemoryAudit(bench.clock)
    desk = Desk()
    desk.may_answer.clear()
    at(desk, bench)
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    await desk.asked.wait()
    driver = runtime._supervisor._live.get(key())
    assert driver is not None
    late = Content.of(b'"found"', "application/json")
    answer = i.Reconciled(
        at=bench.clock.now(), call_id=CALL, attempt=1, ask=9, answer=ReconcileAnswer.PERFORMED, result=late.ref
    )
    before = await kinds(bench.journal)

    made_true = await driver.submit(answer, settles=e.ReconcileTool(CALL, "send", 1, 9, late.ref, "key"))

    assert (made_true, await kinds(bench.journal)) == ([], before)
    [entry] = (await audit.page(("default",), before=None, limit=9)).entries
    assert (entry.kind, entry.subjects) == (AuditKind.ANSWER_IGNORED, ("run-1", CALL))
    await runtime.drain(0)


async def _resolved(runtime: AgentRuntime, resolution: Resolution) -> str:
    result = ResolvedResult(b'"seen"') if resolution is Resolution.HAPPENED else None
    request = ResolutionRequest(effect_id=CALL, attempt=1, request_id="d-1", resolution=resolution, result=result)
    try:
        await runtime.repair.resolve("run-1", request)
    except AgentError as error:
        return error.reason.name
    return "resolved"


async def _raced(turn: int, against: Callable[[AgentRuntime], Any]) -> tuple[b.Bench, Desk, Any, RunSnapshot]:
    """A run whose executor answers an ask while something else happens to it, a few steps earlier or later."""
    bench = b.Bench()
    desk = Desk(turn % 2 == 0)
    desk.may_answer.clear()
    at(desk, bench)
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    await desk.asked.wait()
    other = asyncio.ensure_future(against(runtime)) if turn % 4 < 2 else None
    for _ in range(turn // 4 % 12):
        await asyncio.sleep(0)
    desk.may_answer.set()
    for _ in range(turn // 48):
        await asyncio.sleep(0)
    told = await (other or against(runtime))
    ended = await settled(bench, runtime)
    await runtime.drain(0)
    return bench, desk, told, ended


async def _check_record(bench: b.Bench, desk: Desk) -> list[EventKind]:
    told = await kinds(bench.journal)
    asks = told.count(EventKind.RECONCILE_STARTED)
    assert told.count(EventKind.RECONCILE_ENDED) == asks + 1, "each ask has one result"
    assert len(desk.written) <= 1, "nothing is written twice"
    return told


async def test_of_an_answer_and_a_cancel_at_once_the_record_is_whole_and_nothing_is_done_twice() -> None:
    ends = set[RunStatus]()
    for turn in range(200):
        bench, desk, _, ended = await _raced(turn, lambda runtime: runtime.cancel_run("run-1"))

        told = await _check_record(bench, desk)
        assert sum(kind in TERMINAL for kind in told) == 1
        completed = bool(await records_of(bench.journal, r.ToolCompleted))
        [cancelled] = await records_of(bench.journal, r.RunCancelled) or [None]
        if cancelled is not None and cancelled.unknown_effects == () and turn % 2 == 0:
            assert completed, "what was written is on record, or the call is unknown"
        ends.add(ended.status)
    assert RunStatus.CANCELLED in ends


@pytest.mark.parametrize("resolution", [Resolution.HAPPENED, Resolution.FAILED, Resolution.END_RUN])
async def test_of_an_answer_and_a_decision_at_once_one_stands(resolution: Resolution) -> None:
    outcomes = set[str]()
    for turn in range(200):
        bench, desk, outcome, ended = await _raced(turn, lambda runtime: _resolved(runtime, resolution))

        told = await _check_record(bench, desk)
        assert (outcome == "resolved") == (EventKind.EFFECT_RESOLVED in told)
        assert ended.status in (RunStatus.COMPLETED, RunStatus.FAILED)
        outcomes.add(outcome)
    assert "resolved" in outcomes
    assert outcomes - {"resolved"} <= {"EFFECT_NOT_UNKNOWN", "EFFECT_ATTEMPT_STALE"}
    assert len(outcomes) > 1, "each of them comes first at times"
