"""Runs that only wait: no driver, no task, nothing of them in memory but an entry; and none of them is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from runwright.adapters.memory.recovery import MemoryRecoveryLog
from runwright.core import records as r
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import Namespace, RunKey
from runwright.core.kinds import EventKind
from runwright.core.outcomes import RunStatus, WaitKind
from runwright.ports.journal import Journal, LoadedRun
from runwright.ports.provider import ModelReply
from runwright.ports.tools import PlaceRequest
from runwright.runtime import AgentRuntime
from runwright.runtime.runs.driver import PARK_AFTER_US, RunDriver
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.journals import GatedJournal, JournalWrapper, journal_busy
from tests.runtime.parts import HeldTool, PlayedProvider
from tests.runtime.test_many_runs import alive
from tests.runtime.watching import abandoned, eventually, kinds, quiet, records_of, stood_still

RUNS = 200
WRITING = b.package(b.asks("write"), b.says("{results}"), tools=(b.writing_tool(unavailable_timeout_ms=600_000),))


class CountingReads(JournalWrapper):
    """Counts what is asked; `refuses` is raised instead of so many loads of a run."""

    def __init__(self, inner: Journal) -> None:
        super().__init__(inner)
        self.requested: Counter[str] = Counter()
        self.refuses: list[AgentError] = []

    async def load(self, run: RunKey) -> LoadedRun | None:
        """See the class."""
        self.requested["load"] += 1
        if self.refuses:
            raise self.refuses.pop()
        return await self.inner.load(run)

    async def messages(self, run: RunKey) -> list[r.Record]:
        """See the class."""
        self.requested["messages"] += 1
        return await self.inner.messages(run)

    async def content(self, namespace: Namespace, digests: Sequence[str], **rest: Any) -> dict[str, bytes]:
        """See the class."""
        self.requested["content"] += 1
        return await self.inner.content(namespace, digests, **rest)


def names(count: int = RUNS) -> list[str]:
    """Of runs, in their order."""
    return [f"run-{number:03}" for number in range(count)]


def away(bench: b.Bench) -> b.Bench:
    """The same, with an executor that is not there."""
    bench.packages = (WRITING,)
    bench.tools = FunctionTools({"write": b.look}, unreachable={"tools"})
    return bench


async def parked(bench: b.Bench, runtime: AgentRuntime, *run_ids: str) -> None:
    """Starts the runs, and waits until they are left to their waits."""
    for run_id in run_ids:
        await runtime.start_run(b.request(run_id))
    await stays_parked(bench)


async def stays_parked(bench: b.Bench) -> None:
    """Lets time pass until drivers that have nothing to do leave."""
    await quiet()
    bench.manual_clock.advance(PARK_AFTER_US)
    await quiet()


def drivers() -> int:
    """How many there are, in all runtimes of this process."""
    return sum(isinstance(thing, RunDriver) for thing in alive())


async def test_runs_that_wait_for_an_executor_have_no_driver_and_no_task_each(bench: b.Bench) -> None:
    drivers_before, tasks_before = drivers(), len(asyncio.all_tasks())
    runtime = away(bench).runtime()

    await parked(bench, runtime, *names())

    assert drivers() == drivers_before
    assert len(asyncio.all_tasks()) - tasks_before == 1, "one keeps the time of all of them"
    assert runtime.registered_run_count() == RUNS
    assert runtime.report().runs["waiting"] == RUNS
    one = await runtime.run_snapshot("run-007")
    assert one.status is RunStatus.WAITING
    assert [wait.kind for wait in one.waiting_on] == [WaitKind.EXECUTOR]
    await runtime.drain(0)


async def test_all_of_them_go_on_in_their_order_when_the_executor_comes(bench: b.Bench) -> None:
    runtime = away(bench).runtime()
    await parked(bench, runtime, *names())
    bench.function_tools.most_calls = 1

    bench.function_tools.reach("tools")
    ended = [await stood_still(runtime, run_id) for run_id in names()]

    assert {snapshot.text for snapshot in ended} == {'"a lamp"'}
    order = [entry.idempotency_key.split("/")[-2] for entry in bench.function_tools.ledger]
    assert order == names()
    assert bench.function_tools.held["tools"] == 0
    assert runtime.registered_run_count() == 0


async def test_a_start_enters_them_from_their_rows_without_a_driver_and_writes_nothing(bench: b.Bench) -> None:
    async with abandoned():
        await parked(bench, away(bench).runtime(), *names())
    before, drivers_before = bench.journal.head, drivers()
    journal = CountingReads(bench.journal)
    runtime = bench.runtime(journal=journal)

    await runtime.recover()
    await quiet()

    assert drivers() == drivers_before
    assert bench.journal.head == before
    assert journal.requested == {"load": RUNS, "content": 1}, "each once, and the package: nothing of what they said"
    assert runtime.report().runs["waiting"] == RUNS
    bench.function_tools.reach("tools")
    ended = [await stood_still(runtime, run_id) for run_id in names()]
    assert {snapshot.status for snapshot in ended} == {RunStatus.COMPLETED}
    assert [entry.attempt for entry in bench.function_tools.ledger] == [1] * RUNS


async def test_a_start_that_is_killed_suspects_none_of_them(bench: b.Bench) -> None:
    async with abandoned():
        await parked(bench, away(bench).runtime(), *names(20))
    bench.recovery = MemoryRecoveryLog(bench.journal)
    async with abandoned():
        await bench.runtime().recover()
        await quiet()
        bench.manual_clock.advance(2 * b.SECOND)  # the count is written down together
        await quiet()

    found = await bench.recovery.begin(bench.clock.now())

    assert len(found) == 20
    assert [each.tries for each in found] == [0] * 20


async def test_what_was_said_is_only_read_again_when_a_model_is_asked(bench: b.Bench) -> None:
    journal = CountingReads(bench.journal)
    runtime = away(bench).runtime(journal=journal)
    await parked(bench, runtime, *names(2))

    await runtime.cancel_run("run-000")
    after_cancel = journal.requested["messages"]
    bench.function_tools.reach("tools")
    ended = await stood_still(runtime, "run-001")

    assert after_cancel == 0
    assert ended.text == '"a lamp"'
    assert journal.requested["messages"] == 1
    assert journal.requested["content"] == 4, "the package, the arguments once, what was said, the answer for us"


async def test_a_wait_that_is_soon_over_finds_the_driver(bench: b.Bench) -> None:
    limited = AgentError(ErrorReason.PROVIDER_FAILED, "Later.", metadata={"adapter": "played"})
    provider = PlayedProvider(limited)
    bench.packages = (b.package(provider={"adapter": "played", "model": "m", "max_attempts": 3}),)
    bench.providers = {"played": provider}
    journal = CountingReads(bench.journal)
    runtime = bench.runtime(journal=journal)
    await runtime.start_run(b.request())
    await quiet()
    journal.requested.clear()

    [planned] = await records_of(bench.journal, r.RetryScheduled)
    assert planned.not_before - planned.at < PARK_AFTER_US
    bench.manual_clock.advance(planned.not_before - planned.at)
    await eventually(lambda: len(provider.requests) == 2)

    assert journal.requested == {}
    await runtime.drain(0)


async def test_a_model_that_asks_for_patience_is_asked_again_at_its_time(bench: b.Bench) -> None:
    metadata = {"adapter": "played", "retry_after": "30s"}
    provider = PlayedProvider(AgentError(ErrorReason.PROVIDER_RATE_LIMITED, "Later.", metadata=metadata))
    bench.packages = (b.package(provider={"adapter": "played", "model": "m"}),)
    bench.providers = {"played": provider}
    drivers_before = drivers()
    runtime = bench.runtime()
    await parked(bench, runtime, "run-1")
    [planned] = await records_of(bench.journal, r.RetryScheduled)
    waits = await runtime.run_snapshot("run-1")
    drivers_meanwhile = drivers()

    bench.providers["played"]._replies = [ModelReply(text="done")]  # type: ignore[attr-defined,index]
    bench.manual_clock.advance(planned.not_before - bench.clock.now() - 1)
    await quiet()
    early = len(provider.requests)
    bench.manual_clock.advance(1)
    ended = await stood_still(runtime)

    assert (waits.status, drivers_meanwhile) == (RunStatus.WAITING, drivers_before)
    assert (early, len(provider.requests)) == (1, 2)
    assert ended.text == "done"


async def test_the_outage_of_an_executor_is_written_down_and_given_up_without_a_driver_between(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.packages, bench.tools = (WRITING,), FunctionTools({"write": tool}, most_calls=1)
    runtime = bench.runtime()
    await parked(bench, runtime, *names(2))  # the second waits for the first one's place
    assert EventKind.RETRY_SCHEDULED not in await kinds(bench.journal, "run-001")

    bench.function_tools.unreachable.add("tools")
    bench.manual_clock.advance(600 * b.SECOND)
    await stays_parked(bench)
    bench.manual_clock.advance(600 * b.SECOND)
    ended = await stood_still(runtime, "run-001")

    [planned] = await records_of(bench.journal, r.RetryScheduled, "run-001")
    assert (planned.attempt, planned.give_up_at - planned.at) == (0, 600 * b.SECOND)
    assert ended.text == "The tool could not be reached; the call was not made."
    tool.let_go.set()
    await stood_still(runtime, "run-000")


async def test_a_parked_run_with_two_calls_keeps_the_turn_of_the_other(bench: b.Bench) -> None:
    twice = b.package(b.asks("write", "write"), b.says("{results}"), tools=(b.writing_tool(),), id="twice")
    away(bench).packages = (twice, WRITING)
    runtime = bench.runtime()
    await runtime.start_run(b.request("run-000", package_id="twice"))
    await runtime.start_run(b.request("run-001", package_id="helper-package"))
    await stays_parked(bench)
    bench.function_tools.most_calls = 1

    bench.function_tools.reach("tools")
    for run_id in names(2):
        await stood_still(runtime, run_id)

    order = [tuple(entry.idempotency_key.split("/")[-2:]) for entry in bench.function_tools.ledger]
    assert order == [("run-000", "c1.1"), ("run-001", "c1.1"), ("run-000", "c1.2")]
    assert bench.function_tools.held["tools"] == 0


async def test_a_run_that_cannot_be_read_as_its_place_comes_is_read_again(bench: b.Bench) -> None:
    journal = CountingReads(bench.journal)
    runtime = away(bench).runtime(journal=journal)
    await parked(bench, runtime, "run-1")
    bench.function_tools.most_calls = 1
    journal.refuses = [journal_busy(), journal_busy()]

    bench.function_tools.reach("tools")
    await quiet()
    held_meanwhile = bench.function_tools.held["tools"]
    bench.manual_clock.advance(b.SECOND)
    ended = await stood_still(runtime)

    assert held_meanwhile == 0, "others may have it"
    assert ended.status is RunStatus.COMPLETED
    assert bench.function_tools.held["tools"] == 0


async def test_a_run_that_is_damaged_meanwhile_is_held_and_its_place_goes_to_the_next(bench: b.Bench) -> None:
    journal = CountingReads(bench.journal)
    runtime = away(bench).runtime(journal=journal)
    await parked(bench, runtime, *names(2))
    metadata = {"run_id": "run-000", "first_bad": "2"}
    journal.refuses = [AgentError(ErrorReason.JOURNAL_CORRUPT, "Bad.", metadata=metadata)]
    bench.function_tools.most_calls = 1

    bench.function_tools.reach("tools")
    await quiet()
    ended = await stood_still(runtime, "run-001")

    assert ended.status is RunStatus.COMPLETED
    assert (await runtime.run_snapshot("run-000")).status is RunStatus.HELD
    assert bench.function_tools.held["tools"] == 0
    assert runtime.report().runs["held"] == 1


class LostContent(JournalWrapper):
    """Has lost one content, once it is said which."""

    lost = ""

    async def content(self, namespace: Namespace, digests: Sequence[str], **rest: Any) -> dict[str, bytes]:
        """See the class."""
        if self.lost in digests:
            metadata = {"run_id": str(rest["run"]), "first_bad": "5"}
            raise AgentError(ErrorReason.JOURNAL_CORRUPT, "Lost.", metadata=metadata)
        return await self.inner.content(namespace, digests, **rest)


async def test_a_run_whose_arguments_are_damaged_is_held_before_an_intent_is_written(bench: b.Bench) -> None:
    journal = LostContent(bench.journal)
    runtime = away(bench).runtime(journal=journal)
    await parked(bench, runtime, "run-1")
    [call] = (await runtime.run_snapshot("run-1")).state.calls
    assert call.arguments is not None
    journal.lost = call.arguments.digest

    bench.function_tools.reach("tools")
    await quiet()

    assert (await runtime.run_snapshot("run-1")).status is RunStatus.HELD
    assert EventKind.TOOL_STARTED not in await kinds(bench.journal)
    assert bench.function_tools.held["tools"] == 0


async def test_a_cancel_that_meets_the_place_leaves_nothing_open(bench: b.Bench) -> None:
    journal = GatedJournal(bench.journal)
    runtime = away(bench).runtime(journal=journal)
    await parked(bench, runtime, *names(2))
    bench.function_tools.most_calls = 1

    journal.gate.clear()
    bench.function_tools.reach("tools")
    cancelling = asyncio.create_task(runtime.cancel_run("run-000"))
    await quiet()
    journal.gate.set()
    await cancelling
    ended = [await stood_still(runtime, run_id) for run_id in names(2)]

    assert ended[0].status is RunStatus.CANCELLED
    assert ended[1].status is RunStatus.COMPLETED
    await eventually(lambda: bench.function_tools.held["tools"] == 0)


@pytest.mark.parametrize("is_parked", [True, False])
async def test_nothing_is_waited_for_once_its_run_has_ended(bench: b.Bench, is_parked: bool) -> None:
    runtime = away(bench).runtime()
    await runtime.start_run(b.request())
    await quiet()
    if is_parked:
        await stays_parked(bench)

    await runtime.cancel_run("run-1")
    await quiet()

    assert bench.manual_clock.waiting == []
    assert runtime.registered_run_count() == 0


async def test_an_executor_that_goes_again_before_the_call_is_sent_is_waited_for(bench: b.Bench) -> None:
    journal = GatedJournal(bench.journal)
    runtime = away(bench).runtime(journal=journal)
    await parked(bench, runtime, "run-1")

    journal.gate.clear()
    bench.function_tools.reach("tools")
    await eventually(lambda: journal.held == 1)
    bench.function_tools.unreachable.add("tools")
    journal.gate.set()
    await stays_parked(bench)
    statuses = await runtime.run_snapshot("run-1")
    bench.function_tools.reach("tools")
    ended = await stood_still(runtime)

    assert statuses.status is RunStatus.WAITING
    assert (ended.status, len(bench.function_tools.ledger)) == (RunStatus.COMPLETED, 1)
    assert bench.function_tools.held["tools"] == 0


async def test_a_stop_finds_nothing_to_wait_for_and_leaves_nothing(bench: b.Bench) -> None:
    tasks_before = asyncio.all_tasks()
    runtime = away(bench).runtime()
    await parked(bench, runtime, *names(3))

    stopped = await runtime.drain(60 * b.SECOND)
    await quiet()
    tasks_left = asyncio.all_tasks() - tasks_before
    bench.function_tools.reach("tools")
    await quiet()

    assert (stopped, tasks_left) == (True, set())
    assert bench.function_tools.held["tools"] == 0
    assert bench.function_tools.ledger == []
    assert bench.manual_clock.waiting == []


async def test_a_stop_while_runs_are_revived_gives_their_places_back(bench: b.Bench) -> None:
    gate = asyncio.Event()
    gate.set()

    class Slow(CountingReads):
        async def load(self, run: RunKey) -> LoadedRun | None:
            await gate.wait()
            return await super().load(run)

    runtime = away(bench).runtime(journal=Slow(bench.journal))
    await parked(bench, runtime, *names(60))

    gate.clear()
    bench.function_tools.reach("tools")
    await quiet()
    held_meanwhile = bench.function_tools.held["tools"]
    await runtime.drain(0)
    await quiet()
    held_after = bench.function_tools.held["tools"]
    gate.set()
    await quiet()

    assert (held_meanwhile, held_after) == (60, 0), "a journal that does not answer holds up nobody"
    assert bench.function_tools.held["tools"] == 0
    assert bench.function_tools.ledger == []


class FaultyTools(FunctionTools):
    """Cannot say whether an executor is there."""

    def is_reachable(self, wanted: PlaceRequest) -> bool:
        """See the class."""
        if wanted.run.run_id == "run-000" and self.most_calls == 0:
            raise ZeroDivisionError
        return super().is_reachable(wanted)


async def test_a_fault_of_an_adapter_in_a_parked_wait_ends_its_run_alone(bench: b.Bench) -> None:
    away(bench).tools = FaultyTools({"write": b.look}, unreachable={"tools"})
    runtime = bench.runtime()
    await parked(bench, runtime, *names(2))

    bench.function_tools.most_calls = 0
    bench.manual_clock.advance(600 * b.SECOND)
    broken = await stood_still(runtime, "run-000")
    other = await stood_still(runtime, "run-001")

    assert (broken.status, broken.state.error and broken.state.error.reason) == (
        RunStatus.FAILED,
        ErrorReason.INTERNAL,
    )
    assert other.status is RunStatus.COMPLETED


@pytest.mark.parametrize("seed", range(40))
async def test_no_run_and_no_place_is_lost_in_any_order_of_places_cancels_and_outages(
    bench: b.Bench, seed: int
) -> None:
    rng = Random(seed)
    journal = CountingReads(bench.journal)
    runtime = away(bench).runtime(journal=journal)
    bench.function_tools.most_calls = 2
    await parked(bench, runtime, *names(12))

    cancels = []
    for _ in range(60):
        match rng.randrange(6):
            case 0:
                bench.function_tools.reach("tools")
            case 1:
                bench.function_tools.unreachable.add("tools")
            case 2:
                cancels.append(asyncio.create_task(runtime.cancel_run(rng.choice(names(12)))))
            case 3:
                bench.manual_clock.advance(rng.choice([0, 1, PARK_AFTER_US, 10 * b.SECOND]))
            case 4 if rng.random() < 0.2:
                journal.refuses.append(journal_busy())
        for _ in range(rng.choice([0, 1, 3, 30])):
            await asyncio.sleep(0)

    bench.function_tools.reach("tools")
    for _ in range(20):
        await quiet()
        bench.manual_clock.advance(10 * b.SECOND)
    await asyncio.gather(*cancels, return_exceptions=True)
    ended = [await stood_still(runtime, run_id) for run_id in names(12)]

    assert {snapshot.status for snapshot in ended} <= {RunStatus.COMPLETED, RunStatus.CANCELLED}
    assert bench.function_tools.held["tools"] == 0
    sent = [entry.idempotency_key for entry in bench.function_tools.ledger]
    assert len(sent) == len(set(sent)), "what must not be repeated is sent once"
    assert runtime.registered_run_count() == 0
    await quiet()
    assert bench.manual_clock.waiting == [], "nobody waits for runs that have ended"


@pytest.mark.parametrize("parks", [False, True], ids=["driven all along", "parked meanwhile"])
async def test_a_call_that_may_not_start_yet_is_not_given_up_whether_its_run_was_parked_or_not(
    bench: b.Bench, parks: bool
) -> None:
    tool, timeout_ms = HeldTool(), 60_000
    first = b.writing_tool(name="one", executor="a", unavailable_timeout_ms=timeout_ms)
    second = b.writing_tool(name="two", executor="z", unavailable_timeout_ms=timeout_ms)
    one_at_once = {"parallel_calls": 1}
    bench.packages = (b.package(b.asks("one", "two"), b.says("{results}"), tools=(first, second), budget=one_at_once),)
    bench.tools = FunctionTools({"one": tool, "two": b.look}, unreachable={"a", "z"})
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    await quiet()
    bench.manual_clock.advance(1_000_000)  # both outages are on record
    await quiet()
    if parks:
        bench.manual_clock.advance(PARK_AFTER_US)
        await quiet()

    bench.function_tools.reach("a")
    await quiet()
    assert tool.running == 1
    for _ in range(timeout_ms // 1000 + 10):
        bench.manual_clock.advance(1_000_000)
        await quiet()
    bench.function_tools.reach("z")
    tool.let_go.set()
    await quiet()

    assert (await stood_still(runtime)).status is RunStatus.COMPLETED
    assert await records_of(bench.journal, r.ToolFailed) == []
