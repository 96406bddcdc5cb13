"""A removal between a question and its answer: nothing of before is kept, and no reader turns in a circle."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from runwright.adapters.memory.journal import MemoryJournal
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import DEFAULT_NAMESPACE, RunKey
from runwright.core.outcomes import RunStatus
from runwright.core.selection import Scope, ScopeKind, Selection
from runwright.ports.journal import EventPage, LoadedRun, StoredEvent
from runwright.runtime.housekeeping.retention import Retention
from runwright.runtime.lru_cache import LruCache
from runwright.runtime.streams.run_pages import RunPages

from tests import builders as b
from tests.runtime.journals import JournalWrapper
from tests.runtime.test_retention import DAY, next_batch, refusal
from tests.runtime.watching import eventually, key, stood_still, streamed

EVERYTHING = Selection(Scope(DEFAULT_NAMESPACE, ScopeKind.ALL))


class SlowAnswers(JournalWrapper):
    """Holds back the answer to the `hold`th next question of a kind, as it was when it was asked."""

    def __init__(self, inner: MemoryJournal) -> None:
        super().__init__(inner)
        self.let_go = asyncio.Event()
        self.waiting = asyncio.Event()
        self.hold: dict[str, int] = {}

    async def _answer(self, kind: str, answer: Any) -> Any:
        if kind in self.hold:
            self.hold[kind] -= 1
            if self.hold[kind] == 0:
                self.waiting.set()
                await self.let_go.wait()
        return answer

    async def load(self, run: RunKey) -> LoadedRun | None:
        loaded: LoadedRun | None = await self._answer("load", await self.inner.load(run))
        return loaded

    async def read(self, run: RunKey, **rest: Any) -> list[StoredEvent]:
        return list(await self._answer("read", await self.inner.read(run, **rest)))

    async def select(self, selection: Selection, **rest: Any) -> EventPage:
        page: EventPage = await self._answer("select", await self.inner.select(selection, **rest))
        return page


class Losing(JournalWrapper):
    """Has lost the last event of a run, though its row still counts it."""

    lost: RunKey | None = None
    reads = 0

    async def read(self, run: RunKey, **rest: Any) -> list[StoredEvent]:
        self.reads += 1
        found = await self.inner.read(run, **rest)
        return [event for event in found if run != self.lost or not event.is_terminal]


class House:
    """A runtime with two ended runs, `old` and `new`, of which the first can be removed."""

    def __init__(self, wrapper: Any = SlowAnswers) -> None:
        self.bench = b.Bench()
        self.journal = wrapper(self.bench.journal)
        self.runtime = self.bench.runtime(journal=self.journal)

    async def begin(self) -> None:
        for name in ("old", "new"):
            await self.runtime.start_run(b.request(name))
            await stood_still(self.runtime, name)

    def restart(self) -> None:
        """Another runtime, which has kept nothing yet."""
        self.runtime = self.bench.runtime(journal=self.journal)

    async def remove(self) -> None:
        self.bench.manual_clock.advance(2 * DAY)
        assert await Retention(self.runtime, DAY).remove() == 1


async def test_an_end_that_is_read_while_its_run_is_removed_is_not_kept() -> None:
    house = House()
    await house.begin()
    house.restart()
    house.journal.hold = {"load": 1}
    requested = asyncio.create_task(house.runtime.run_snapshot("old"))
    await house.journal.waiting.wait()

    await house.remove()
    house.journal.let_go.set()
    await requested
    after = await house.runtime.run_snapshot("old")

    assert after.state.removed_at
    assert (after.status, after.result) == (RunStatus.COMPLETED, None)
    with pytest.raises(AgentError) as removed:
        await house.runtime.subscribe_run("old")
    assert refusal(removed) is ErrorReason.RUN_REMOVED


async def test_a_run_that_is_removed_while_its_driver_leaves_is_not_kept() -> None:
    house = House()
    await house.begin()
    stored = house.runtime._supervisor.stored
    before = await stored.load(key("old"))
    begun_in = stored.ends.generation

    await house.remove()
    stored.ends.put(key("old"), before, begun_in)  # what its driver's task does at the end

    assert (await house.runtime.run_snapshot("old")).state.removed_at


async def test_a_page_that_is_read_while_its_run_is_removed_is_not_kept() -> None:
    house = House()
    await house.begin()
    pages = RunPages(house.journal)
    house.journal.hold = {"read": 1}
    reading = asyncio.create_task(pages.read(key("old"), after=0, limit=3))
    await house.journal.waiting.wait()

    await house.remove()
    pages.forget()
    joined = await pages.read(key("old"), after=0, limit=3)
    house.journal.let_go.set()
    before = await reading
    after = await pages.read(key("old"), after=0, limit=3)

    assert (len(before), joined, after) == (3, [], [])


async def test_a_batch_that_was_read_before_a_removal_is_never_shown_to_others() -> None:
    """The same first and last event, and less between."""
    house = House()
    tool = asyncio.create_task(house.begin())
    await tool
    house.restart()
    subscriptions = house.runtime._subscriptions
    whole = list((await house.journal.inner.select(EVERYTHING, after=0, limit=1000)).events)
    outer, inner = [whole[0], whole[-1]], whole

    subscriptions._shared(EVERYTHING, inner, 0)
    shown = subscriptions._shared(EVERYTHING, outer, 0)

    assert [item.event for item in shown] == outer


async def test_a_reader_under_way_of_a_run_that_is_removed_is_told_and_does_not_turn_in_a_circle() -> None:
    house = House()
    await house.begin()
    house.restart()
    batches = await house.runtime.subscribe_run("old")
    await next_batch(batches)
    house.journal.hold = {"load": 1}  # its end is being read when it is removed
    requested = asyncio.create_task(house.runtime.run_snapshot("old"))
    await eventually(lambda: house.journal.waiting.is_set() or requested.done())

    await house.remove()
    house.journal.let_go.set()
    await requested

    with pytest.raises(AgentError) as removed:
        await next_batch(batches)
    assert refusal(removed) is ErrorReason.RUN_REMOVED


async def test_a_reader_that_makes_no_progress_is_an_error_with_a_line_in_the_log_and_no_loop() -> None:
    house = House(Losing)
    await house.begin()
    house.restart()
    house.journal.lost = key("old")

    with pytest.raises(AgentError) as missing:
        async with asyncio.timeout(60):
            await streamed(house.runtime, "old")

    assert missing.value.reason is ErrorReason.JOURNAL_CORRUPT
    assert missing.value.metadata["run_id"] == "old"
    assert house.journal.reads < 10
    assert [line.event for line in house.bench.log.lines].count("a reader makes no progress") == 1
    assert [item.event for item in await streamed(house.runtime, "new")][-1] is not None


async def test_a_run_that_is_there_for_its_start_and_not_for_readers_is_refused_and_does_not_loop() -> None:
    house = House(JournalWrapper)
    await house.begin()
    house.restart()

    async def nowhere(_: RunKey) -> None:
        return None

    house.journal.load = nowhere

    with pytest.raises(AgentError) as refused:
        async with asyncio.timeout(60):
            await house.runtime.start_run(b.request("old"))

    assert refused.value.reason is ErrorReason.JOURNAL_CONFLICT


def test_what_was_dropped_meanwhile_does_not_come_back() -> None:
    retained: LruCache[str, int] = LruCache(2)
    read_generation = retained.generation
    retained.drop("a")

    retained.put("a", 1, read_generation)
    retained.put("b", 2, retained.generation)
    retained.put("c", 3)

    assert (retained.get("a"), retained.get("b"), retained.get("c")) == (None, 2, 3)
