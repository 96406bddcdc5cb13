"""Two hundred tangles of pieces, cuts and comings back: what a reader puts together is how the message begins."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path
from random import Random

import pytest
from runwright.adapters.memory.journal import MemoryJournal
from runwright.adapters.providers.scripted import ScriptedProvider
from runwright.adapters.sqlite import SqliteJournal
from runwright.core import records as r
from runwright.core.ids import DEFAULT_NAMESPACE
from runwright.core.kinds import EventKind as K
from runwright.core.selection import EventFilter, Scope, ScopeKind, Selection
from runwright.ports.journal import Journal, StoredEvent
from runwright.ports.provider import ModelRequest
from runwright.runtime import AgentRuntime, StreamItem, TextDelta, TextGap
from runwright.runtime.runs.live_text import PIECE_BYTES, SHOWN_EVERY_US
from runwright.wire.records import decode_event

from tests import builders as b
from tests.runtime.watching import CAP_SECONDS, key, quiet, stood_still

RUNS = 3
KINDS = frozenset({K.TOOL_STARTED, K.RUN_COMPLETED})
STREAMS = [
    Selection.of_run(key("run-0")),
    Selection.of_run(key("run-1"), EventFilter(kinds=KINDS)),
    Selection(Scope(DEFAULT_NAMESPACE, ScopeKind.SESSION, "s0")),
    Selection(Scope(DEFAULT_NAMESPACE, ScopeKind.AGENT, "helper")),
    Selection(Scope(DEFAULT_NAMESPACE, ScopeKind.ALL)),
    Selection(Scope(DEFAULT_NAMESPACE, ScopeKind.ALL), EventFilter(terminal_only=True)),
]
Attempt = tuple[str, int, int]  # run, round, attempt


class Reader:
    """Reads one stream in connections of any length, and puts texts together by the rule of offsets."""

    def __init__(self, stream: Selection, rng: Random) -> None:
        self.stream = stream
        self.seen: list[StoredEvent] = []
        self.texts: dict[Attempt, bytes] = {}
        self.over: set[Attempt] = set()  # their end has been seen
        self.begun: set[Attempt] = set()
        self.gaps = 0
        self.ended = False
        self._cursor = ""
        self._rng = rng
        self._batches: AsyncGenerator[list[StreamItem], None] | None = None

    async def read(self, runtime: AgentRuntime) -> None:
        """A few batches, quickly or slowly, then perhaps a cut in mid-batch."""
        if self._batches is None:
            self._fresh: set[Attempt] = set()
            self._batches = await runtime.subscribe(self.stream, after_cursor=self._cursor, deltas=True)
        for _ in range(self._rng.randrange(1, 6)):
            try:
                async with asyncio.timeout(CAP_SECONDS):
                    batch = await anext(self._batches)
            except StopAsyncIteration:
                self.ended = True
                return
            cut = self._rng.randrange(len(batch)) if self._rng.random() < 0.2 else len(batch)
            for item in batch[:cut]:
                self._take(item)
            if cut < len(batch):
                await self._batches.aclose()
                self._batches = None
                return
            for _ in range(self._rng.choice((0, 0, 1, 30))):
                await asyncio.sleep(0)

    def _take(self, item: StreamItem) -> None:
        self._cursor = item.cursor
        if item.event is not None:
            self.seen.append(item.event)
            self._note(item.event)
        if item.ephemeral is None:
            return
        assert item.position == 0 and item.sub_sequence > 0
        state, effect = item.ephemeral.state, item.ephemeral.effect
        of = (str(state.key.run_id), effect.round, effect.attempt)
        assert of not in self.over, "after the end of its attempt"
        if self.stream.filter.wanted_kinds is None:
            assert of in self.begun, "before the beginning of its attempt"
        if isinstance(item.ephemeral, TextGap):
            self.gaps += 1
            assert item.ephemeral.start == len(self.texts[of])
            del self.texts[of]
            return
        self._append(of, item.ephemeral)

    def _append(self, of: Attempt, delta: TextDelta) -> None:
        if of not in self._fresh:
            assert delta.offset == 0, "the first piece of a connection"
            self._fresh.add(of)
            self.texts[of] = b""
        assert delta.offset == len(self.texts[of])
        self.texts[of] += delta.text.encode()

    def _note(self, event: StoredEvent) -> None:
        match decode_event(event.data):
            case r.ModelAttemptStarted(round=number, attempt=attempt):
                self.begun.add((event.run.run_id, number, attempt))
            case r.ModelMessageCompleted(round=number, attempt=attempt):
                self.over.add((event.run.run_id, number, attempt))
            case r.ModelAttemptFailed(round=number, attempt=attempt):
                self.over.add((event.run.run_id, number, attempt))


class Turns:
    """A gate that lets everybody through whom the tangle has let go."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Event] = []

    async def __call__(self, request: ModelRequest, number: int) -> None:
        """See the provider's gate."""
        self._waiting.append(turn := asyncio.Event())
        await turn.wait()

    def next(self, rng: Random) -> bool:
        """Lets one of those who wait go on; False if there is none."""
        if not self._waiting:
            return False
        self._waiting.pop(rng.randrange(len(self._waiting))).set()
        return True


def _chunks(rng: Random) -> list[str]:
    if rng.random() < 0.05:
        return ["so ", "ĝ" * (PIECE_BYTES - rng.randrange(3)), "."]
    return [rng.choice(("a", "ĝis ", "word ", "x" * 700)) for _ in range(rng.randrange(1, 12))]


def _script(rng: Random) -> list[b.Fields]:
    rounds = [b.asks("look", chunks=_chunks(rng)) for _ in range(rng.randrange(3))]
    return [*rounds, {"chunks": _chunks(rng), "fail": rng.random() < 0.2}]


async def _tangle(seed: int, journal: Journal) -> Counter[str]:
    """One tangle; returns how many texts were put together, and how many gaps there were."""
    rng = Random(seed)
    turns = Turns()
    script = _script(rng)
    bench = b.Bench(journal=journal, providers={"scripted": ScriptedProvider(turns)})
    runtime = bench.runtime(b.package(*script, tools=(b.tool(),)))
    for number in range(RUNS):
        await runtime.start_run(b.request(f"run-{number}", session_id=f"s{number % 2}"))
    readers = [Reader(stream, rng) for stream in STREAMS]
    reading = {reader: asyncio.create_task(reader.read(runtime)) for reader in readers}
    while runtime.registered_run_count():
        turns.next(rng)
        for _ in range(rng.choice((0, 1, 5, 40))):
            await asyncio.sleep(0)
        if rng.random() < 0.4:
            bench.manual_clock.advance(rng.choice((1_000, SHOWN_EVERY_US)))
        for reader, task in reading.items():
            if task.done() and not reader.ended and rng.random() < 0.5:
                task.result()
                reading[reader] = asyncio.create_task(reader.read(runtime))
    for number in range(RUNS):
        await stood_still(runtime, f"run-{number}")
    await _read_to_the_end(runtime, reading)

    for reader in readers:
        page = await runtime.list_selected(reader.stream, limit=1000)
        assert reader.seen == [item.event for item in page.items]
        for (_, number, _), text in reader.texts.items():
            assert "".join(script[number - 1]["chunks"]).encode().startswith(text)
    assert {line.event for line in bench.log.lines} <= {"model request failed"}
    return Counter(
        {"texts": sum(len(reader.texts) for reader in readers), "gaps": sum(reader.gaps for reader in readers)}
    )


async def _read_to_the_end(runtime: AgentRuntime, reading: dict[Reader, asyncio.Task[None]]) -> None:
    wanted = {reader: len((await runtime.list_selected(reader.stream, limit=1000)).items) for reader in reading}
    for reader, first in reading.items():
        last = first
        while not reader.ended and len(reader.seen) < wanted[reader]:
            if last.done():
                last.result()
                last = asyncio.create_task(reader.read(runtime))
            await quiet()
        last.cancel()
        await asyncio.gather(last, return_exceptions=True)


@pytest.mark.parametrize("block", range(10))
async def test_a_reader_puts_together_how_the_message_begins(block: int) -> None:
    found = Counter[str]()
    for seed in range(block * 20, block * 20 + 20):
        found += await _tangle(seed, MemoryJournal())
    assert found["texts"] > 20


async def test_the_same_on_disk(tmp_path: Path) -> None:
    found = Counter[str]()
    for seed in range(1000, 1015):
        journal = SqliteJournal.open(tmp_path / str(seed))
        try:
            found += await _tangle(seed, journal)
        finally:
            await journal.close()
    assert found["texts"] > 15
