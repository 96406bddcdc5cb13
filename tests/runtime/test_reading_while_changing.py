"""Reading a run in the very moment in which it changes: no reader ends early, none is told two truths at once."""

from __future__ import annotations

import asyncio

import pytest
from runwright.core.ids import RunKey
from runwright.core.outcomes import RunStatus
from runwright.ports.journal import Journal
from runwright.ports.tools import ToolOutcome, ToolOutcomeKind
from runwright.runtime import AgentRuntime, StreamItem
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.journals import JournalWrapper
from tests.runtime.watching import CAP_SECONDS, events, stood_still, streamed


class Pausing(JournalWrapper):
    """Pauses after one of the questions that make up a run as it stands, once it is told to."""

    def __init__(self, inner: Journal, after: str) -> None:
        super().__init__(inner)
        self.armed = False
        self._after = after
        self.paused = asyncio.Event()
        self.go_on = asyncio.Event()

    async def last_position(self, run: RunKey) -> int:
        """See the class."""
        position: int = await self.inner.last_position(run)
        await self._pause("last_position")
        return position

    async def tail(self, run: RunKey) -> object:
        """See the class."""
        found = await self.inner.tail(run)
        await self._pause("tail")
        return found

    async def _pause(self, requested: str) -> None:
        if self.armed and requested == self._after:
            self.armed = False
            self.paused.set()
            await self.go_on.wait()


async def lost(arguments: object) -> ToolOutcome:
    return ToolOutcome(ToolOutcomeKind.LOST)


async def parked(bench: b.Bench, journal: Journal) -> AgentRuntime:
    """A runtime whose run needs repair."""
    bench.tools = FunctionTools({"write": lost})
    bench.packages = (b.package(b.asks("write"), tools=(b.writing_tool(),)),)
    runtime = bench.runtime(journal=journal)
    assert (await runtime.run_text(b.request())).status is RunStatus.REPAIR_NEEDED
    return runtime


@pytest.mark.parametrize("after", ["last_position", "tail"])
async def test_a_stream_that_looks_while_its_run_ends_still_shows_the_end(bench: b.Bench, after: str) -> None:
    journal = Pausing(bench.journal, after)
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


@pytest.mark.parametrize("after", ["last_position", "tail"])
async def test_a_snapshot_taken_while_its_run_ends_leads_on_to_what_it_does_not_show(
    bench: b.Bench, after: str
) -> None:
    journal = Pausing(bench.journal, after)
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
