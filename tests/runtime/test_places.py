"""Places at executors: no intent without one, so many calls at once and no more, and none that is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest
from runwright.core import records as r
from runwright.core.ids import RunKey
from runwright.core.kinds import EventKind
from runwright.core.outcomes import RunStatus, WaitKind
from runwright.ports.journal import Appended, Journal
from runwright.ports.tools import Place, ToolInvocation, ToolOutcome, ToolOutcomeKind
from runwright.runtime import AgentRuntime
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.journals import GatedJournal, JournalWrapper
from tests.runtime.parts import HeldTool
from tests.runtime.watching import abandoned, eventually, kinds, quiet, records_of, stood_still

WRITING = b.package(b.asks("write"), b.says("{results}"), tools=(b.writing_tool(unavailable_timeout_ms=60_000),))
GRACE = 20 * b.SECOND


def run_ids(count: int) -> list[str]:
    """Names of runs, in their order."""
    return [f"run-{number:02}" for number in range(count)]


async def started(runtime: AgentRuntime, count: int) -> list[str]:
    """So many runs, one after the other."""
    for run_id in run_ids(count):
        await runtime.start_run(b.request(run_id))
    return run_ids(count)


async def test_an_executor_gets_no_more_calls_at_once_than_it_has_places(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.packages, bench.tools = (WRITING,), FunctionTools({"write": tool}, most_calls=3)
    runtime = bench.runtime()
    ids = await started(runtime, 10)
    await eventually(lambda: tool.running == 3)
    await quiet()

    begun = [run_id for run_id in ids if EventKind.TOOL_STARTED in await kinds(bench.journal, run_id)]
    waits = await runtime.run_snapshot(ids[3])
    tool.let_go.set()
    ended = [await stood_still(runtime, run_id) for run_id in ids]

    assert begun == ids[:3]
    assert waits.status is RunStatus.WAITING
    [wait] = waits.waiting_on
    assert (wait.kind, wait.effect_id, wait.subject) == (WaitKind.EXECUTOR, "c1.1", "tools")
    assert {snapshot.status for snapshot in ended} == {RunStatus.COMPLETED}
    assert tool.most_at_once == 3
    order = [entry.idempotency_key.split("/")[-2] for entry in bench.function_tools.ledger]
    assert order == ids, "first come, first served"
    assert bench.function_tools.held["tools"] == 0


async def test_a_run_with_many_calls_holds_up_no_other(bench: b.Bench) -> None:
    tool = HeldTool()
    crowded = b.package(b.asks(*["write"] * 6), b.says("done"), tools=(b.writing_tool(),))
    single = b.package(b.asks("write"), b.says("done"), tools=(b.writing_tool(),), id="single")
    bench.packages, bench.tools = (crowded, single), FunctionTools({"write": tool}, most_calls=1)
    runtime = bench.runtime()
    await runtime.start_run(b.request("run-1"))
    await tool.begun.wait()
    await runtime.start_run(b.request("run-2", package_id="single"))
    await quiet()

    tool.let_go.set()
    for run_id in ("run-1", "run-2"):
        await stood_still(runtime, run_id)

    order = [entry.idempotency_key.split("/")[-2] for entry in bench.function_tools.ledger]
    assert order.index("run-2") <= 2
    assert len(order) == 7


async def test_a_kill_makes_no_more_calls_unknown_than_there_are_places(bench: b.Bench) -> None:
    bench.packages, bench.tools = (WRITING,), FunctionTools({"write": HeldTool()}, most_calls=3)
    async with abandoned():
        await started(bench.runtime(), 20)
        await eventually(lambda: len(bench.function_tools.ledger) == 3)
        await quiet()

    async def write(arguments: object) -> str:
        return "done"

    bench.tools = FunctionTools({"write": write}, most_calls=3)
    second = bench.runtime()
    await second.recover()
    ended = [await stood_still(second, run_id) for run_id in run_ids(20)]

    unknown = [snapshot.status for snapshot in ended].count(RunStatus.REPAIR_NEEDED)
    completed = [snapshot.status for snapshot in ended].count(RunStatus.COMPLETED)
    assert (unknown, completed) == (3, 17)


async def test_calls_that_are_made_again_after_a_restart_wait_for_places(bench: b.Bench) -> None:
    bench.packages = (b.package(b.asks("look"), b.says("{results}"), tools=(b.tool(),)),)
    bench.tools = FunctionTools({"look": HeldTool()}, most_calls=50)
    async with abandoned():
        await started(bench.runtime(), 30)
        await eventually(lambda: len(bench.function_tools.ledger) == 30)

    tool = HeldTool("seen")
    bench.tools = FunctionTools({"look": tool}, most_calls=4)
    second = bench.runtime()
    await second.recover()
    await eventually(lambda: tool.running == 4)
    await quiet()
    tool.let_go.set()
    ended = [await stood_still(second, run_id) for run_id in run_ids(30)]

    assert {snapshot.text for snapshot in ended} == {'"seen"'}
    assert tool.most_at_once == 4
    assert [entry.attempt for entry in bench.function_tools.ledger] == [2] * 30


async def test_an_executor_that_is_there_and_busy_is_not_given_up(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.packages, bench.tools = (WRITING,), FunctionTools({"write": tool}, most_calls=1)
    runtime = bench.runtime()
    await started(runtime, 2)
    await tool.begun.wait()

    for _ in range(100):
        await quiet()
        bench.manual_clock.advance(20 * b.SECOND)
    waits = await runtime.run_snapshot("run-01")
    tool.let_go.set()
    ended = [await stood_still(runtime, run_id) for run_id in run_ids(2)]

    assert waits.status is RunStatus.WAITING
    assert [snapshot.text for snapshot in ended] == ['"done"', '"done"']
    assert EventKind.RETRY_SCHEDULED not in await kinds(bench.journal, "run-01")


async def test_an_executor_that_goes_while_a_call_waits_is_given_up_in_view_of_everybody(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.packages, bench.tools = (WRITING,), FunctionTools({"write": tool}, most_calls=1)
    runtime = bench.runtime()
    await started(runtime, 2)
    await tool.begun.wait()

    bench.function_tools.unreachable.add("tools")
    for _ in range(8):
        await quiet()
        bench.manual_clock.advance(20 * b.SECOND)
    ended = await stood_still(runtime, "run-01")
    tool.let_go.set()

    [planned] = await records_of(bench.journal, r.RetryScheduled, "run-01")
    assert (planned.attempt, planned.give_up_at - planned.at) == (0, 60 * b.SECOND)
    assert ended.text == "The tool could not be reached; the call was not made."
    await stood_still(runtime, "run-00")


async def test_a_tool_has_its_whole_time_from_when_it_is_asked(bench: b.Bench) -> None:
    seen: list[ToolInvocation] = []

    class Tools(FunctionTools):
        async def execute(self, place: Place, call: ToolInvocation) -> ToolOutcome:
            seen.append(call)
            return await super().execute(place, call)

    journal = GatedJournal(bench.journal)
    bench.packages = (b.package(b.asks("look"), b.says("done"), tools=(b.writing_tool("look", timeout_ms=5_000),)),)
    bench.tools = Tools({"look": b.look})
    runtime = bench.runtime(journal=journal)
    await runtime.start_run(b.request())
    journal.gate.clear()
    await eventually(lambda: journal.held == 1)  # the intent is on its way to a slow disk

    bench.manual_clock.advance(60 * b.SECOND)
    journal.gate.set()
    ended = await stood_still(runtime)

    assert ended.status is RunStatus.COMPLETED
    assert [call.deadline for call in seen] == [bench.clock.now() + 5 * b.SECOND]


async def refused(arguments: object) -> ToolOutcome:
    return ToolOutcome(ToolOutcomeKind.NOT_SENT)


async def failed(arguments: object) -> ToolOutcome:
    return ToolOutcome(ToolOutcomeKind.ERROR, b"no")


async def lost(arguments: object) -> ToolOutcome:
    return ToolOutcome(ToolOutcomeKind.LOST)


async def timed_out(arguments: object) -> ToolOutcome:
    return ToolOutcome(ToolOutcomeKind.TIMED_OUT)


async def broken(arguments: object) -> ToolOutcome:
    raise ZeroDivisionError


@pytest.mark.parametrize("effect", ["read", "write"])
@pytest.mark.parametrize("tool", [b.look, refused, failed, lost, timed_out, broken])
async def test_a_place_goes_back_however_an_attempt_ends(bench: b.Bench, tool: Any, effect: str) -> None:
    spec = b.tool("look", effect=effect, unavailable_timeout_ms=2_000)
    bench.packages = (b.package(b.asks("look", "look"), b.says("done"), tools=(spec,)),)
    bench.tools = FunctionTools({"look": tool}, most_calls=1)
    runtime = bench.runtime()
    ids = await started(runtime, 3)

    for _ in range(40):
        await quiet()
        bench.manual_clock.advance(b.SECOND)

    assert bench.function_tools.held["tools"] == 0
    assert {(await stood_still(runtime, run_id)).status.name for run_id in ids} <= {
        "COMPLETED",
        "FAILED",
        "REPAIR_NEEDED",
    }


@pytest.mark.parametrize("limits", [{"policy": "builtin:read-only"}, {"budget": {"tool_calls": 0}}])
async def test_a_place_that_the_decision_does_not_use_goes_back_at_once(bench: b.Bench, limits: dict[str, Any]) -> None:
    bench.packages = (b.package(b.asks("write"), b.says("done"), tools=(b.writing_tool(),), **limits),)
    bench.tools = FunctionTools({"write": HeldTool()}, most_calls=1)
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    await stood_still(runtime)

    assert bench.function_tools.held["tools"] == 0
    assert bench.function_tools.ledger == []


async def cancel(runtime: AgentRuntime, run_id: str) -> None:
    await runtime.cancel_run(run_id)


async def drain(runtime: AgentRuntime, run_id: str) -> None:
    await runtime.drain(0)


@pytest.mark.parametrize("effect", ["read", "write"])
@pytest.mark.parametrize("ending", [cancel, drain])
async def test_a_place_goes_back_when_its_run_is_ended(
    bench: b.Bench, ending: Callable[[AgentRuntime, str], Awaitable[None]], effect: str
) -> None:
    tool = HeldTool()
    bench.packages = (b.package(b.asks("look"), b.says("done"), tools=(b.tool("look", effect=effect),)),)
    bench.tools = FunctionTools({"look": tool}, most_calls=1)
    runtime = bench.runtime()
    await started(runtime, 2)  # one in its call, one that waits for the place
    await tool.begun.wait()
    await quiet()

    for run_id in reversed(run_ids(2)):
        ended = asyncio.create_task(ending(runtime, run_id))
        await quiet()
        bench.manual_clock.advance(60 * b.SECOND)
        await ended
    await quiet()

    assert bench.function_tools.held["tools"] == 0
    assert len(bench.function_tools.ledger) == 1


async def test_a_run_that_is_cancelled_as_its_place_comes_gives_it_to_the_next(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.packages, bench.tools = (WRITING,), FunctionTools({"write": tool}, most_calls=1)
    journal = GatedJournal(bench.journal)
    runtime = bench.runtime(journal=journal)
    await started(runtime, 3)
    await tool.begun.wait()
    await quiet()

    tool.let_go.set()
    journal.gate.clear()  # the place is free, and the input that carries it is on its way
    await eventually(lambda: journal.held >= 1)
    cancelling = asyncio.create_task(runtime.cancel_run("run-01"))
    await quiet()
    journal.gate.set()
    await cancelling
    ended = [await stood_still(runtime, run_id) for run_id in run_ids(3)]
    await quiet()

    assert [snapshot.status for snapshot in ended][::2] == [RunStatus.COMPLETED] * 2
    assert bench.function_tools.held["tools"] == 0


@pytest.mark.parametrize("seed", range(60))
async def test_no_place_is_lost_in_any_order_of_answers_cancels_and_stops(bench: b.Bench, seed: int) -> None:
    rng = Random(seed)
    lets_go: list[asyncio.Event] = []
    running = most = 0

    async def work(arguments: object) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        lets_go.append(event := asyncio.Event())
        try:
            await event.wait()
        finally:
            running -= 1
        kind = rng.choice([None, None, *ToolOutcomeKind])
        return "done" if kind in (None, ToolOutcomeKind.RESULT) else ToolOutcome(kind, b"no")

    specs = [
        b.tool(name, effect=effect, unavailable_timeout_ms=rng.choice([1, 3_000]))
        for name, effect in (("look", "read"), ("write", "write"))
    ]
    script = [b.asks(*rng.choices(["look", "write"], k=rng.randint(1, 4))) for _ in range(2)]
    bench.packages = (b.package(*script, b.says("done"), tools=tuple(specs), budget={"parallel_calls": 2}),)
    bench.tools = FunctionTools({"look": work, "write": work}, most_calls=2)
    runtime = bench.runtime()
    ids = await started(runtime, 8)

    for _ in range(80):
        match rng.randrange(8):
            case 0:
                cancelling = asyncio.create_task(
                    runtime.cancel_run(rng.choice(ids), grace_us=rng.choice([0, b.SECOND]))
                )
                cancelling.add_done_callback(lambda done: done.exception())
            case 1:
                bench.manual_clock.advance(rng.choice([1, b.SECOND]))
            case 2:
                bench.function_tools.unreachable.add("tools")
            case 3:
                bench.function_tools.reach("tools")
            case _ if lets_go:
                lets_go.pop(rng.randrange(len(lets_go))).set()
        for _ in range(rng.randint(0, 20)):
            await asyncio.sleep(0)
    draining = asyncio.create_task(runtime.drain(b.SECOND))
    for _ in range(10):
        await quiet()
        bench.manual_clock.advance(b.SECOND)
    await draining
    await quiet()

    assert most <= 2
    assert bench.function_tools.held["tools"] == 0
    assert len(bench.function_tools._waiting) == 0


class CountingJournal(JournalWrapper):
    """Counts the appends of each run."""

    def __init__(self, inner: Journal) -> None:
        super().__init__(inner)
        self.appends: Counter[str] = Counter()

    async def written(self, run: RunKey, records: Any, **rest: Any) -> Appended:
        """See the class."""
        self.appends[run.run_id] += 1
        return await self.inner.append(run, records, **rest)


async def test_a_round_of_one_call_is_four_commits_with_a_place_and_five_without(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.packages, bench.tools = (WRITING,), FunctionTools({"write": tool}, most_calls=1)
    journal = CountingJournal(bench.journal)
    runtime = bench.runtime(journal=journal)
    await started(runtime, 2)
    await tool.begun.wait()
    tool.let_go.set()
    for run_id in run_ids(2):
        await stood_still(runtime, run_id)

    assert journal.appends == {"run-00": 4, "run-01": 5}
