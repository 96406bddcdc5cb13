"""Reading a run in the very moment in which it changes: no reader ends early, none is told two truths at once."""

from __future__ import annotations

import asyncio

from runwright.core.ids import RunKey
from runwright.core.outcomes import RunStatus
from runwright.ports.journal import Journal, LoadedRun
from runwright.ports.tools import ToolOutcome, ToolOutcomeKind
from runwright.runtime import AgentRuntime, StreamItem
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.journals import JournalWrapper
from tests.runtime.watching import CAP_SECONDS, events, stood_still, streamed


class Pausing(JournalWrapper):
    """Pauses after it has read a run, once it is told to."""

    def __init__(self, inner: Journal) -> None:
        super().__init__(inner)
        self.armed = False
        self.paused = asyncio.Event()
        self.go_on = asyncio.Event()

    async def load(self, run: RunKey) -> LoadedRun | None:
        """See the class."""
        found = await self.inner.load(run)
        if self.armed:
            self.armed = False
            self.paused.set()
            await self.go_on.wait()
        return found


async def lost(arguments: object) -> ToolOutcome:
    return ToolOutcome(ToolOutcomeKind.LOST)


async def parked(bench: b.Bench, journal: Journal) -> AgentRuntime:
    """A runtime whose run needs repair."""
    bench.tools = FunctionTools({"write": lost})
    bench.packages = (b.package(b.asks("write"), tools=(b.writing_tool(),)),)
    runtime = bench.runtime(journal=journal)
    assert (await runtime.run_text(b.request())).status is RunStatus.REPAIR_NEEDED
    return runtime


async def test_a_stream_that_looks_while_its_run_ends_still_shows_the_end(bench: b.Bench) -> None:
    journal = Pausing(bench.journal)
    runtime = await parked(bench, journal)
    statuses = await runtime.run_snapshot("run-1")
    batches = await runtime.subscribe_run("run-1", after_cursor=statuses.last_cursor)
    opening = await anext(batches)

    journal.armed = True
    going_on = asyncio.create_task(collect(batches))
    await asyncio.wait_for(journal.paused.wait(), CAP_SECONDS)
    await runtime.cancel_run("run-1")
    await stood_still(runtime)
    journal.go_on.set()
    rest = await going_on

    on_record = await events(bench.journal)
    assert opening[0].position == statuses.state.seq
    assert [item.event for item in rest if item.event] == on_record[statuses.state.seq :]


async def test_a_snapshot_taken_while_its_run_ends_leads_on_to_what_it_does_not_show(bench: b.Bench) -> None:
    journal = Pausing(bench.journal)
    runtime = await parked(bench, journal)

    journal.armed = True
    looking = asyncio.create_task(runtime.run_snapshot("run-1"))
    await asyncio.wait_for(journal.paused.wait(), CAP_SECONDS)
    await runtime.cancel_run("run-1")
    await stood_still(runtime)
    journal.go_on.set()
    snapshot = await looking

    rest = [item.event.seq for item in await streamed(runtime, after_cursor=snapshot.last_cursor) if item.event]
    on_record = await events(bench.journal)
    assert {event.seq for event in on_record[snapshot.state.seq :]} <= set(rest)


async def collect(batches: object) -> list[StreamItem]:
    """Everything that is left of a stream."""
    async with asyncio.timeout(CAP_SECONDS):
        return [item async for batch in batches for item in batch]  # type: ignore[attr-defined]
