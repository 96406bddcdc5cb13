"""What readers share of a run's events is never an old end: a page with room left is read anew."""

from __future__ import annotations

import asyncio

from runwright.core.kinds import EventKind
from runwright.ports.journal import Journal
from runwright.runtime.streams.run_pages import RunPages
from runwright.testing import FunctionTools

from tests import builders as b
from tests.ports.journal_builders import key, put, turn
from tests.runtime.journals import JournalWrapper
from tests.runtime.parts import HeldTool
from tests.runtime.watching import CAP_SECONDS, abandoned, eventually, quiet, stood_still, streamed

LARGE = 1_000


class CountingJournal(JournalWrapper):
    """Counts how often it is read."""

    reads = 0

    async def read(self, run: object, **rest: object) -> object:
        """See the port."""
        self.reads += 1
        return await self.inner.read(run, **rest)  # type: ignore[arg-type]


class SlowlyAnswering(CountingJournal):
    """Reads at once, and tells what it has read when it may."""

    def __init__(self, inner: Journal) -> None:
        super().__init__(inner)
        self.answer = asyncio.Event()

    async def read(self, run: object, **rest: object) -> object:
        """See the port."""
        found = await self.inner.read(run, **rest)  # type: ignore[arg-type]
        self.reads += 1
        await self.answer.wait()
        return found


async def test_a_page_with_room_left_is_read_again_and_a_full_one_is_not(any_journal: object) -> None:
    journal = CountingJournal(any_journal)  # type: ignore[arg-type]
    pages, run = RunPages(journal), key("run-1")
    await put(journal, run, turn(), turn(), turn(), after=0)  # type: ignore[arg-type]

    partly = [len(await pages.read(run, after=0, limit=4)) for _ in range(2)]
    await put(journal, run, turn(), turn(), after=3)  # type: ignore[arg-type]
    full = [[event.seq for event in await pages.read(run, after=0, limit=4)] for _ in range(3)]

    assert partly == [3, 3]
    assert full == [[1, 2, 3, 4]] * 3
    assert journal.reads == 3


async def test_who_joins_a_reading_under_way_sees_what_came_since_it_began(any_journal: object) -> None:
    """Else it would sleep over the event that has just woken it."""
    journal = SlowlyAnswering(any_journal)  # type: ignore[arg-type]
    pages, run = RunPages(journal), key("run-1")
    await put(journal, run, turn(), after=0)  # type: ignore[arg-type]
    first = asyncio.create_task(pages.read(run, after=0, limit=4))
    await eventually(lambda: journal.reads == 1)
    await put(journal, run, turn(), after=1)  # type: ignore[arg-type]
    second = asyncio.create_task(pages.read(run, after=0, limit=4))
    await quiet()
    journal.answer.set()

    assert [len(await first), len(await second)] == [1, 2]


async def test_after_a_restart_a_list_that_was_read_early_is_read_to_its_end_later() -> None:
    """Events of before the restart are in the journal alone, so such a list is a page with room left."""
    tool = HeldTool()
    bench = b.Bench(tools=FunctionTools({"look": tool}))
    async with abandoned():
        await bench.runtime().start_run(b.request())
        async with asyncio.timeout(CAP_SECONDS):
            await tool.begun.wait()
    tool.begun.clear()
    runtime = bench.runtime()
    await runtime.recover()
    async with asyncio.timeout(CAP_SECONDS):
        await tool.begun.wait()

    early = await runtime.list_events("run-1", limit=LARGE)
    tool.let_go.set()
    await stood_still(runtime)
    late = await runtime.list_events("run-1", limit=LARGE)
    message = [item for item in await streamed(runtime) if item.event is not None]

    assert late[-1].event is not None
    assert late[-1].event.kind is EventKind.RUN_COMPLETED
    assert len(early) < len(late) == len(message)
    assert [item.cursor for item in late] == [item.cursor for item in message]
