"""A run that ends the server is found and held; runs that were only there when it ended are not, however often it does.

A life is a runtime that is abandoned: as when the process is killed, nothing is tidied up.
"""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Awaitable, Callable

import pytest
from runwright.adapters.memory.recovery import MemoryRecoveryLog
from runwright.adapters.providers.scripted import ScriptedProvider
from runwright.adapters.sqlite.journal import SqliteJournal
from runwright.core.condition import HoldCause
from runwright.core.outcomes import RunStatus
from runwright.core.selection import RunFilter
from runwright.ports.provider import EmitText, ModelReply, ModelRequest
from runwright.runtime import AgentRuntime
from runwright.runtime.runs.recovery import STABLE_US
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.parts import HeldTool
from tests.runtime.watching import abandoned, quiet, stood_still

HELD = RunFilter(statuses=frozenset({RunStatus.HELD}))
STEP_US = 50_000


class Fatal:
    """A provider that ends the process `after_us` after a guilty run has asked it, and answers innocents when let go.

    A dead process answers nobody any more.
    """

    def __init__(self, clock_of: b.Bench, *guilty: str, after_us: int = 0) -> None:
        self.guilty = set(guilty)
        self.is_dead = False
        self.answers = asyncio.Event()
        self.answers.set()
        self.requested: list[str] = []
        self._clock = clock_of.manual_clock
        self._after_us = after_us

    async def complete(self, request: ModelRequest, emit: EmitText) -> ModelReply:
        """See the class."""
        self.requested.append(request.run_id)
        if request.run_id in self.guilty:
            await self._clock.sleep_until(self._clock.now() + self._after_us)
            self.is_dead = True
        if self.is_dead:
            await asyncio.Event().wait()
        await self.answers.wait()
        return await ScriptedProvider().complete(request, emit)


class Lives:
    """One server, life after life."""

    def __init__(self, bench: b.Bench, *guilty: str, after_us: int = 0) -> None:
        self.bench = bench
        self.provider = Fatal(bench, *guilty, after_us=after_us)
        bench.recovery = MemoryRecoveryLog(bench.journal)
        bench.providers = {"scripted": self.provider}
        bench.packages = (b.package(b.says("done")),)

    async def first(self, *run_ids: str) -> None:
        """A life in which the runs are started, and which is killed before any of them is answered."""
        self.provider.answers.clear()

        async def start(runtime: AgentRuntime) -> None:
            for run_id in run_ids:
                await runtime.start_run(b.request(run_id))

        await self.next(0, start)
        self.provider.answers.set()

    async def next(self, most_us: int, do: Callable[[AgentRuntime], Awaitable[None]] | None = None) -> bool:
        """One life, killed by a guilty run or from outside after so much time. True when it was not a run."""
        self.provider.is_dead = False
        async with abandoned():
            runtime = self.bench.runtime()
            await runtime.recover()
            if do is not None:
                await do(runtime)
            await quiet()
            left = most_us
            while left > 0 and not self.provider.is_dead:
                self.bench.manual_clock.advance(STEP_US)
                left -= STEP_US
                await quiet()
            return not self.provider.is_dead

    async def until_alive(self, most: int, us: int = 60_000_000) -> int:
        """Lives until one is not ended by a run: how many were."""
        for ended in range(most):
            if await self.next(us):
                return ended
        raise AssertionError(f"{most} lives were ended by runs")

    async def last(self) -> AgentRuntime:
        """A life that goes on."""
        self.provider.is_dead = False
        runtime = self.bench.runtime()
        await runtime.recover()
        settled = 0  # times in a row: runs that are just being taken up are not counted
        for _ in range(1000):
            await quiet()
            settled = settled + 1 if runtime.registered_run_count() == runtime.report().runs["held"] else 0
            if settled > 2:
                break
            self.bench.manual_clock.advance(STEP_US)
        return runtime


async def held(runtime: AgentRuntime) -> set[str]:
    """The held runs, all for the same cause."""
    listed = (await runtime.list_runs(HELD, limit=1000)).runs
    assert {run.condition.hold.cause for run in listed if run.condition.hold} <= {HoldCause.QUARANTINED}
    return {run.state.key.run_id for run in listed}


async def completed(runtime: AgentRuntime) -> set[str]:
    """The runs that have their answer."""
    listed = await runtime.list_runs(RunFilter(statuses=frozenset({RunStatus.COMPLETED})), limit=1000)
    return {run.state.key.run_id for run in listed.runs}


def names(count: int) -> list[str]:
    return [f"run-{number}" for number in range(count)]


async def test_a_run_that_ends_every_start_is_quarantined_after_three(bench: b.Bench) -> None:
    lives = Lives(bench, "run-0")
    await lives.first("run-0")

    ended = await lives.until_alive(9)
    runtime = await lives.last()

    assert ended == 3
    assert await held(runtime) == {"run-0"}
    snapshot = await runtime.run_snapshot("run-0")
    assert "3 times" in snapshot.condition.hold.failure.message  # type: ignore[union-attr]
    assert runtime.write_blockage() is None


@pytest.mark.parametrize("position", [0, 7, 19])
async def test_it_is_found_among_others_wherever_it_stands_and_they_complete(bench: b.Bench, position: int) -> None:
    runs = names(20)
    lives = Lives(bench, runs[position])
    await lives.first(*runs)

    ended = await lives.until_alive(9)
    runtime = await lives.last()

    assert ended <= 4
    assert await held(runtime) == {runs[position]}
    assert await completed(runtime) == {*runs} - {runs[position]}


async def test_several_of_them_are_found(bench: b.Bench) -> None:
    runs = names(12)
    guilty = {"run-2", "run-3", "run-11"}
    lives = Lives(bench, *guilty)
    await lives.first(*runs)

    await lives.until_alive(20)
    runtime = await lives.last()

    assert await held(runtime) == guilty
    assert await completed(runtime) == {*runs} - guilty


async def test_one_that_ends_the_server_late_is_found_once_the_others_have_got_on(bench: b.Bench) -> None:
    runs = names(6)
    lives = Lives(bench, "run-1", after_us=5_000_000)
    await lives.first(*runs)

    ended = await lives.until_alive(9)
    runtime = await lives.last()

    assert ended <= 4
    assert await held(runtime) == {"run-1"}
    assert await completed(runtime) == {*runs} - {"run-1"}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("count", [5, 97])
async def test_a_storm_of_kills_from_outside_holds_nobody(bench: b.Bench, count: int, seed: int) -> None:
    """Nobody is answered meanwhile, so nothing but the rules says that they are innocent.

    A storm that always comes with the same run just taken up looks like the work of that run: the fewer runs are open
    and the longer none gets on, the likelier.
    """
    runs = names(count)
    moment = random.Random(seed)
    lives = Lives(bench)
    await lives.first(*runs)
    lives.provider.answers.clear()

    for _ in range(15):
        await lives.next(moment.randrange(0, 60) * STEP_US)
    lives.provider.answers.set()
    runtime = await lives.last()

    assert await held(runtime) == set()
    assert await completed(runtime) == {*runs}


async def test_the_server_serves_while_suspects_are_tried(bench: b.Bench) -> None:
    lives = Lives(bench)
    await lives.first(*names(5))
    lives.provider.answers.clear()
    for _ in range(2):
        await lives.next(0)
    lives.provider.answers.set()

    runtime = bench.runtime()
    assert await runtime.recover() == 5
    await runtime.start_run(b.request("another"))

    assert (await stood_still(runtime, "another")).status is RunStatus.COMPLETED
    assert runtime.registered_run_count() <= 5


async def test_a_clean_end_takes_suspicion_away(bench: b.Bench) -> None:
    lives = Lives(bench, "run-0")
    await lives.first("run-0")
    for _ in range(2):
        assert not await lives.next(0)
    lives.provider.guilty.clear()
    lives.provider.answers.clear()
    lives.provider.is_dead = False
    runtime = bench.runtime()
    await runtime.recover()
    await quiet()
    await runtime.drain(0)
    await bench.recovery.end()  # type: ignore[union-attr] - `close` would close the journal, too

    lives.provider.guilty.add("run-0")
    assert not await lives.next(0)
    assert not await lives.next(0)
    assert bench.recovery.known[next(iter(bench.recovery.known))].quarantined_at == 0  # type: ignore[union-attr]


async def test_a_start_that_came_to_no_run_acquits_nobody(bench: b.Bench) -> None:
    lives = Lives(bench, "run-0")
    await lives.first("run-0")
    for _ in range(2):
        assert not await lives.next(0)
    assert isinstance(bench.recovery, MemoryRecoveryLog)
    before = dict(bench.recovery.known)

    await bench.runtime()._supervisor.close()  # its address was taken, say

    assert bench.recovery.known == before
    assert not await lives.next(0)
    assert await lives.next(0), "the third end it brought about was the last"


async def test_a_start_that_lived_for_a_while_was_ended_by_no_run(bench: b.Bench) -> None:
    lives = Lives(bench)
    await lives.first(*names(3))
    lives.provider.answers.clear()

    for _ in range(9):
        assert await lives.next(STABLE_US + 8 * b.SECOND)

    assert {each.tries for each in (await bench.recovery.begin(0))} <= {0, 1}  # type: ignore[union-attr]


async def test_a_quarantine_outlives_starts_until_it_is_released(bench: b.Bench) -> None:
    lives = Lives(bench, "run-0")
    await lives.first("run-0", "run-1")
    await lives.until_alive(9)
    again = await lives.last()
    assert await held(again) == {"run-0"}

    lives.provider.guilty.clear()
    released, was_held = await again.release_run("run-0")

    assert was_held
    assert released.status is not RunStatus.HELD
    assert (await stood_still(again, "run-0")).status is RunStatus.COMPLETED


async def test_a_quarantined_run_can_be_cancelled_without_being_driven(bench: b.Bench) -> None:
    lives = Lives(bench, "run-0")
    await lives.first("run-0")
    await lives.until_alive(9)
    runtime = await lives.last()
    requested = len(lives.provider.requested)

    cancelled = await runtime.cancel_run("run-0")

    assert cancelled.snapshot.status is RunStatus.CANCELLED
    assert len(lives.provider.requested) == requested
    assert await bench.journal.open_runs() == []


async def test_what_waits_and_what_is_parked_is_no_suspect(bench: b.Bench) -> None:
    """A run in need of repair has nothing in hand that could end anybody."""
    bench.recovery = MemoryRecoveryLog(bench.journal)
    bench.packages = (b.package(b.asks("write"), b.says("{results}"), tools=(b.writing_tool(),)),)
    never: asyncio.Event = asyncio.Event()

    async def write(arguments: object) -> str:
        await never.wait()
        return ""

    bench.function_tools.tools = {"write": write}
    async with abandoned():
        runtime = bench.runtime()
        await runtime.start_run(b.request())
        await quiet()
    for _ in range(6):
        async with abandoned():
            runtime = bench.runtime()
            await runtime.recover()
            await quiet()
            bench.manual_clock.advance(2 * b.SECOND)
            await quiet()

    assert await held(runtime) == set()
    assert (await runtime.run_snapshot("run-1")).status is RunStatus.REPAIR_NEEDED


async def test_the_count_is_on_disk_before_anything_is_taken_up(sqlite: SqliteJournal) -> None:
    parts = b.Bench(journal=sqlite)
    lives = Lives(parts, "run-0")
    parts.recovery = sqlite.recovery()
    await lives.first("run-0", "run-1")

    await lives.until_alive(9)
    runtime = await lives.last()

    assert await held(runtime) == {"run-0"}
    assert await completed(runtime) == {"run-1"}
    await runtime.drain(0)


async def test_what_recovery_never_came_to_is_closed_when_it_stops() -> None:
    async def work() -> None:
        raise AssertionError("nobody comes to it")

    runtime = b.Bench().runtime(b.package(b.says("hello")))
    begun = work()
    recovery = runtime._supervisor._recovery

    recovery.beside(begun)
    await recovery.stop()

    assert inspect.getcoroutinestate(begun) == inspect.CORO_CLOSED
    await runtime.close()


async def test_a_suspect_that_a_caller_ends_before_its_turn_is_counted_no_more() -> None:
    bench, tool = b.Bench(), HeldTool()
    bench.recovery = MemoryRecoveryLog(bench.journal)
    bench.packages = (b.package(b.asks("look"), b.says("x"), tools=(b.tool(max_attempts=50),)),)
    bench.tools = FunctionTools({"look": tool})
    async with abandoned():
        runtime = bench.runtime()
        for number in range(4):
            await runtime.start_run(b.request(f"run-{number}"))
        await quiet()
    for _ in range(3):
        async with abandoned():
            await bench.runtime().recover()
            await quiet()
    runtime = bench.runtime()
    await runtime.recover()
    await quiet()
    suspects = list(runtime._supervisor._recovery.later)
    assert suspects

    for run in suspects:
        await runtime.cancel_run(run.run_id)
    await quiet()

    left = 4 - len(suspects)
    assert (runtime.registered_run_count(), sum(runtime.report().runs.values())) == (left, left)
