"""Readers whose connection is cut again and again put the run together without a gap or a double."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from runwright.ports.journal import Journal, StoredEvent
from runwright.runtime import AgentRuntime
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.test_subscriptions import long_package
from tests.runtime.watching import events, quiet, stood_still

CUTS = 50


class Reader:
    """Reads a run's stream, comes back with its last cursor, keeps every event it was given."""

    def __init__(self, runtime: AgentRuntime) -> None:
        self.seen: list[StoredEvent] = []
        self.cursor = ""
        self._runtime = runtime

    async def read(self, items: int) -> None:
        """Reads so many items on a new connection, fewer when the stream ends before."""
        batches = await self._runtime.subscribe_run("run-1", after_cursor=self.cursor)
        async for batch in batches:
            for item in batch:
                self.cursor = item.cursor
                if item.event is not None:
                    self.seen.append(item.event)
                items -= 1
                if items == 0:
                    return

    async def read_in_pieces(self, rng: Random) -> None:
        """Is cut as often as the test says, now and then right after the opening bookmark; then reads to the end."""
        for _ in range(CUTS):
            await self.read(rng.choice((1, 1, 2, 3, 8)))
            await asyncio.sleep(0)
        await self.read(1_000_000)


async def slowly(arguments: object) -> str:
    """A tool that lets readers come in between."""
    await quiet()
    return "seen"


@pytest.mark.parametrize("seed", range(3))
async def test_two_readers_cut_fifty_times_each_see_what_is_on_record(any_journal: Journal, seed: int) -> None:
    parts = b.Bench(journal=any_journal, tools=FunctionTools({"look": slowly}))
    runtime = parts.runtime(long_package())
    await runtime.start_run(b.request())
    readers = [Reader(runtime), Reader(runtime)]

    await asyncio.gather(*(reader.read_in_pieces(Random(seed * 2 + index)) for index, reader in enumerate(readers)))

    await stood_still(runtime)
    listed = [item.event for item in await runtime.list_events("run-1", limit=1000)]
    assert listed == await events(any_journal)
    assert [reader.seen for reader in readers] == [listed, listed]


async def test_a_reader_survives_a_restart_between_its_cuts(bench: b.Bench) -> None:
    bench.tools = FunctionTools({"look": slowly})
    first = bench.runtime(long_package(2))
    await first.start_run(b.request())
    reader = Reader(first)
    await reader.read(20)
    await first.drain(0)
    assert first.registered_run_count() == 1

    second = bench.runtime(long_package(2))
    await second.recover()
    after = Reader(second)
    after.cursor, after.seen = reader.cursor, reader.seen
    await after.read_in_pieces(Random(7))

    assert after.seen == await events(bench.journal)
