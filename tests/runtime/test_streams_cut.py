"""Eight readers in four scopes, cut a hundred times each, over restarts: each has exactly what is listed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
from runwright.adapters.sqlite import SqliteJournal
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import DEFAULT_NAMESPACE
from runwright.core.kinds import EventKind
from runwright.core.selection import EventFilter, Scope, ScopeKind, Selection
from runwright.ports.journal import StoredEvent
from runwright.runtime import AgentRuntime
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.watching import CAP_SECONDS, key, pass_time, quiet

CUTS = 100
LIVES = 4
RUNS_A_LIFE = 5
KINDS = frozenset({EventKind.TOOL_STARTED, EventKind.RUN_COMPLETED, EventKind.RUN_STARTED})
STREAMS = [
    Selection.of_run(key("run-0")),
    Selection.of_run(key("run-0"), EventFilter(kinds=KINDS)),
    Selection(Scope(DEFAULT_NAMESPACE, ScopeKind.SESSION, "s1")),
    Selection(Scope(DEFAULT_NAMESPACE, ScopeKind.SESSION, "s1"), EventFilter(kinds=KINDS)),
    Selection(Scope(DEFAULT_NAMESPACE, ScopeKind.AGENT, "helper")),
    Selection(Scope(DEFAULT_NAMESPACE, ScopeKind.AGENT, "helper"), EventFilter(session_ids=frozenset({"s0"}))),
    Selection(Scope(DEFAULT_NAMESPACE, ScopeKind.ALL)),
    Selection(Scope(DEFAULT_NAMESPACE, ScopeKind.ALL), EventFilter(terminal_only=True)),
]


class Reader:
    """Reads one stream in pieces, over lives of the runtime, and keeps every event it was given."""

    def __init__(self, stream: Selection, rng: Random) -> None:
        self.stream = stream
        self.seen: list[StoredEvent] = []
        self.cursor = ""
        self.cuts = 0
        self._rng = rng

    async def read(self, runtime: AgentRuntime, items: int) -> None:
        """One connection, left after so many items; an ended stream or an ending server ends it too."""
        batches = await runtime.subscribe(self.stream, after_cursor=self.cursor)
        try:
            async for batch in batches:
                for item in batch:
                    self.cursor = item.cursor
                    if item.event is not None:
                        self.seen.append(item.event)
                    items -= 1
                    if items == 0:
                        return
        finally:
            await batches.aclose()  # type: ignore[attr-defined]

    async def read_in_pieces(self, runtime: AgentRuntime, cuts: int) -> None:
        """Is cut so often; a stream on which nothing happens is cut all the same."""
        for _ in range(cuts):
            try:
                async with asyncio.timeout(0.005):
                    await self.read(runtime, self._rng.choice((1, 1, 2, 3, 8, 30)))
            except TimeoutError:
                pass
            except AgentError as error:
                assert error.reason is ErrorReason.RUN_NOT_FOUND
            self.cuts += 1
            await asyncio.sleep(0)


async def slowly(arguments: Mapping[str, Any]) -> str:
    """A tool that lets readers come in between."""
    await quiet()
    return "seen"


async def listed(runtime: AgentRuntime, stream: Selection) -> list[StoredEvent]:
    """The whole stream as ListEvents has it."""
    seen: list[StoredEvent] = []
    token = ""
    while True:
        page = await runtime.list_selected(stream, after_cursor=token, limit=50)
        seen += [item.event for item in page.items if item.event]
        token = page.next_cursor
        if not token:
            return seen


@pytest.mark.parametrize("seed", range(2))
async def test_eight_readers_cut_a_hundred_times_each_have_what_is_listed(tmp_path: Path, seed: int) -> None:
    readers = [Reader(stream, Random(seed * 100 + number)) for number, stream in enumerate(STREAMS)]
    package = b.package(*[b.asks("look", "look")] * 3, b.says("done"), tools=(b.tool(),))
    parts = b.Bench(tools=FunctionTools({"look": slowly}))

    for life in range(LIVES):
        parts.journal = journal = SqliteJournal.open(tmp_path)
        runtime = parts.runtime(package)
        await runtime.recover()
        requests = [
            b.request(f"run-{number}", session_id=f"s{number % 2}")
            for number in range(life * RUNS_A_LIFE, (life + 1) * RUNS_A_LIFE)
        ]
        for request in requests:
            await runtime.start_run(request)
        await asyncio.gather(*(reader.read_in_pieces(runtime, CUTS // LIVES) for reader in readers))
        if life == LIVES - 1:
            # Of every life: a call that drains interrupted more than once is sent again after a delay.
            await pass_time(parts, runtime)
            await asyncio.gather(*(runtime.wait_run(f"run-{number}") for number in range(LIVES * RUNS_A_LIFE)))
            await finish(runtime, readers)
            for reader in readers:
                assert reader.cuts == CUTS
                assert reader.seen == await listed(runtime, reader.stream)
                assert len({event.position for event in reader.seen}) == len(reader.seen) > 0
        await runtime.drain(0)
        await runtime.close()
    assert journal.head > 200


async def finish(runtime: AgentRuntime, readers: list[Reader]) -> None:
    """Each reader reads what is left for it."""
    async with asyncio.timeout(CAP_SECONDS):
        for reader in readers:
            left = len(await listed(runtime, reader.stream)) - len(reader.seen)
            while left > 0:
                await reader.read(runtime, left + 1)  # the opening bookmark, and the rest
                left = len(await listed(runtime, reader.stream)) - len(reader.seen)
