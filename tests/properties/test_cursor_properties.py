"""Random histories of a journal: no reader, whatever its cursor has been through, misses a stored event unsaid."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

from msgspec import Struct, field
from runwright.adapters.sqlite import SqliteJournal
from runwright.core.content import Content
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import DEFAULT_NAMESPACE, Namespace, RunKey
from runwright.core.kinds import EventKind
from runwright.core.selection import EventFilter, Scope, ScopeKind, Selection
from runwright.runtime import AgentRuntime

from tests import builders as b
from tests.ports.journal_builders import key, put, turn
from tests.ports.test_journal_removing import LATER, begin, finish

OTHERS = Namespace("others")
ALL = Scope(DEFAULT_NAMESPACE, ScopeKind.ALL)
SELECTIONS = (
    Selection(ALL),
    Selection(ALL, EventFilter(terminal_only=True)),
    Selection(ALL, EventFilter(kinds=frozenset({EventKind.TURN_STARTED}))),
    Selection(Scope(DEFAULT_NAMESPACE, ScopeKind.AGENT, "agent-1")),
    Selection(Scope(DEFAULT_NAMESPACE, ScopeKind.SESSION, "session-1")),
    Selection(Scope(OTHERS, ScopeKind.ALL)),
    Selection(Scope(DEFAULT_NAMESPACE, ScopeKind.SESSION, "nobody's")),
)
SENT_AWAY = (ErrorReason.JOURNAL_RESTORED, ErrorReason.CURSOR_AHEAD)
STEPS = 120
SEEDS = range(10)


class Reader(Struct):
    """Somebody with a cursor, the hashes of all that was shown on the way to it, and what was removed before it was."""

    selection: Selection
    cursor: str = ""
    seen: set[bytes] = field(default_factory=set)
    missed: set[bytes] = field(default_factory=set)


class Ports:
    """A directory that is written to, copied, put back and opened again."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.directory = directory
        self.number = 0
        self.runs: dict[RunKey, int] = {}  # open ones, and their last seq
        self.copies: list[tuple[Path, dict[RunKey, int]]] = []
        self.readers = [Reader(selection) for selection in SELECTIONS for _ in range(2)]
        self.said: list[ErrorReason] = []
        # What the retention took once may come back with an older copy: of that a reader was told at the time.
        self.removed: set[bytes] = set()
        self._open()

    def _open(self) -> None:
        self.journal = SqliteJournal.open(self.directory / "data")
        self.runtime: AgentRuntime = b.Bench(journal=self.journal).runtime()

    async def write(self) -> None:
        """An event of a new run or of an open one, or an end."""
        choice = self.random.random()
        if choice < 0.4 or not self.runs:
            self.number += 1
            run = key(f"run-{self.number}", self.random.choice(("default", "default", "others")))
            # Content of its own: so what two histories write at one position differs.
            await begin(self.journal, run, Content.of(self.random.randbytes(8), "text/plain"))
            self.runs[run] = 1
            return
        run = self.random.choice(list(self.runs))
        if choice < 0.7:
            await put(self.journal, run, turn(), after=self.runs[run])
            self.runs[run] += 1
        else:
            await finish(self.journal, run, after=self.runs.pop(run))

    async def remove(self) -> None:
        """A few steps of the retention, or one run on an operator's word, which may be in the middle."""
        before = {reader.selection: await self.stored(reader.selection) for reader in self.readers}
        if self.runs and self.random.random() < 0.5:
            run = self.random.choice(list(self.runs))
            del self.runs[run]
            self.runtime.forget([run], await self.journal.remove(run, now=LATER))
        for _ in range(self.random.randint(0, 2)):
            limit = self.random.choice((1, 3))
            step = await self.journal.remove_ended(before=LATER, now=LATER, limit=limit)
            self.runtime.forget(step.runs, step.horizon)
        for reader in self.readers:
            gone = before[reader.selection] - await self.stored(reader.selection)
            self.removed |= gone
            if reader.cursor:
                reader.missed |= gone - reader.seen

    async def restart(self) -> None:
        await self.journal.close()
        self._open()

    async def copy(self) -> None:
        """As a file system's snapshot does it, beside the server or not."""
        closed = self.random.random() < 0.5
        if closed:
            await self.journal.close()
        aside = self.directory / f"copy-{len(self.copies)}"
        shutil.copytree(self.directory / "data", aside, ignore=shutil.ignore_patterns("*-shm", "LOCK"))
        self.copies.append((aside, dict(self.runs)))
        if closed:
            self._open()

    async def put_back(self) -> None:
        if not self.copies:
            return
        await self.journal.close()
        shutil.rmtree(self.directory / "data")
        aside, runs = self.random.choice(self.copies)
        shutil.copytree(aside, self.directory / "data")
        self.runs = dict(runs)
        self._open()

    async def read(self, reader: Reader, *, to_the_end: bool) -> None:
        """Some pages, or all; after each of them the cursor may stay where it is for long."""
        while True:
            try:
                limit = self.random.choice((1, 3, 100))
                page = await self.runtime.list_selected(reader.selection, after_cursor=reader.cursor, limit=limit)
            except AgentError as error:
                self.said.append(error.reason)
                reader.missed = set()
                if error.reason is ErrorReason.CURSOR_EXPIRED:
                    reader.cursor = error.metadata["oldest"]
                    continue
                assert error.reason in SENT_AWAY
                reader.cursor, reader.seen = "", set()
                continue
            for item in page.items:
                assert item.event is not None
                assert item.event.hash not in reader.seen, "shown twice"
                reader.seen.add(item.event.hash)
            if not page.next_cursor:
                if page.items:
                    reader.cursor = page.items[-1].cursor
                return
            reader.cursor = page.next_cursor
            if not to_the_end and self.random.random() < 0.5:
                return

    async def stored(self, selection: Selection) -> set[bytes]:
        """The hashes of all that a stream has."""
        found: set[bytes] = set()
        after = 0
        while True:
            page = await self.journal.select(selection, after=after, limit=1000)
            found |= {event.hash for event in page.events}
            if not page.more:
                return found
            after = page.reached


async def test_no_stored_event_is_skipped_without_an_error(tmp_path: Path) -> None:
    said: Counter[ErrorReason] = Counter()
    for seed in SEEDS:
        await play(Ports(tmp_path / str(seed), seed), said)

    assert said[ErrorReason.JOURNAL_RESTORED] > len(SEEDS)
    assert said[ErrorReason.CURSOR_EXPIRED] > len(SEEDS)


async def test_no_removed_event_is_passed_over_in_silence(tmp_path: Path) -> None:
    for seed in SEEDS:
        ports = Ports(tmp_path / str(seed), seed)
        for _ in range(STEPS):
            choice = ports.random.random()
            if choice < 0.6:
                await ports.write()
            elif choice < 0.75:
                await ports.remove()
            elif choice < 0.77:
                await ports.restart()
            else:
                await ports.read(ports.random.choice(ports.readers), to_the_end=False)
        for reader in ports.readers:
            await ports.read(reader, to_the_end=True)
            assert not reader.missed
        await ports.journal.close()


async def play(ports: Ports, said: Counter[ErrorReason]) -> None:
    """One history; counts what readers were told on the way."""
    for _ in range(STEPS):
        choice = ports.random.random()
        if choice < 0.6:
            await ports.write()
        elif choice < 0.7:
            await ports.remove()
        elif choice < 0.75:
            await ports.copy()
        elif choice < 0.8:
            await ports.put_back()
            for _ in range(ports.random.randint(0, 12)):  # sometimes it grows past what was there
                await ports.write()
        elif choice < 0.82:
            await ports.restart()
        else:
            await ports.read(ports.random.choice(ports.readers), to_the_end=False)

    for reader in ports.readers:
        await ports.read(reader, to_the_end=True)
        assert await ports.stored(reader.selection) - reader.seen <= ports.removed
    said.update(ports.said)
    await ports.journal.close()
