"""SqliteJournal: the journal of one server, in one file of its data directory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

import apsw

from runwright.adapters import journal_rules as rules
from runwright.adapters.sqlite import side_rows as beside
from runwright.adapters.sqlite.audit import SqliteAudit
from runwright.adapters.sqlite.callbacks import SqliteCallbacks
from runwright.adapters.sqlite.inspecting import inspection
from runwright.adapters.sqlite.opening.directory import BUSY_TIMEOUT_MS, Opened, open_directory
from runwright.adapters.sqlite.opening.transactions import PROBE
from runwright.adapters.sqlite.opening.wal import LARGE_BYTES
from runwright.adapters.sqlite.packages import SqlitePackages
from runwright.adapters.sqlite.reading import queries, run_rows, selecting, sessions
from runwright.adapters.sqlite.reading.open_runs import open_runs, put_in_order
from runwright.adapters.sqlite.reading.run_rows import Rewrite, rewrite
from runwright.adapters.sqlite.recovery import SqliteRecoveryLog
from runwright.adapters.sqlite.retention import held, removing
from runwright.adapters.sqlite.writing.batch import Batch
from runwright.adapters.sqlite.writing.ticker import Ticker
from runwright.adapters.sqlite.writing.writer import Writer
from runwright.core.content import Content
from runwright.core.errors import AgentError
from runwright.core.ids import Namespace, RunId, RunKey
from runwright.core.kinds import MESSAGE_BEARING, EventKind
from runwright.core.outcomes import RunStatus
from runwright.core.records import Record
from runwright.core.selection import RunFilter, Scope, Selection
from runwright.core.side_rows import FailedCondition, SideRow
from runwright.core.space import Space
from runwright.core.state import RunState
from runwright.ports.clock import Clock
from runwright.ports.journal import (
    NOTHING,
    Appending,
    Entry,
    EventPage,
    Listener,
    LoadedRun,
    Removed,
    RunPage,
    SessionPage,
    StoredEvent,
)
from runwright.ports.log import OperatorLog


class SqliteJournal:
    """Appends that wait at the same time share one commit; reads go on beside it.

    Made by `open`. Each file stands on its own: `journal.db` (with `-wal` and
    `-shm` while in use) is the journal, `journal.head` says how far it had come
    a moment ago, `LOCK` says who has it open.
    """

    def __init__(self, opened: Opened) -> None:
        identity = opened.identity
        self.incarnation = identity.incarnation
        self.cursor_key = identity.cursor_key
        self.epochs = opened.epochs
        self._directory = opened.directory
        self._max_bytes = opened.max_bytes
        self._lock = opened.lock
        self._keeper = opened.keeper
        self._reader = opened.reader
        self._log = opened.log
        self._wal = opened.wal
        self._writer = Writer(opened.transactions, identity, self._moved)
        try:
            self._ticker = Ticker(opened.keeper.catch_up, lambda _: self._wal.tend(self._writer.hand_over))
        except BaseException:
            self._writer.abandon()
            raise
        self._seen = 0
        self._closing: asyncio.Task[None] | None = None

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        busy_timeout_ms: int = BUSY_TIMEOUT_MS,
        max_bytes: int | None = None,
        log: OperatorLog | None = None,
    ) -> SqliteJournal:
        """Opens the journal of a data directory, both made if they are missing. Blocks; needs no event loop.

        Raises JOURNAL_BUSY when another process has it open, JOURNAL_FULL when
        there is no room for what SQLite needs beside it, JOURNAL_CORRUPT
        when the file is no journal this version can read or ends before its
        anchor, and OSError when the directory cannot be used. `max_bytes`: see
        `set_max_bytes`.
        """
        opened = open_directory(directory, busy_timeout_ms=busy_timeout_ms, max_bytes=max_bytes, log=log)
        try:
            return cls(opened)
        except BaseException:  # a thread that the system does not give
            opened.undo.close()
            raise

    @property
    def head(self) -> int:
        """See the port.

        A reader may see a commit before the thread that made it has said so; what
        was seen is durable, and a cursor made of it must not be ahead.
        """
        return max(self._writer.group.head, self._seen)

    @property
    def commits(self) -> int:
        """Transactions that have written something since the journal was opened."""
        return self._writer.group.commits

    def append(
        self,
        run: RunKey,
        records: Sequence[Record],
        *,
        after: int,
        contents: Sequence[Content],
        snapshot: RunState,
        side_rows: Sequence[SideRow] = (),
    ) -> Appending:
        """See the port. JOURNAL_FULL and JOURNAL_BUSY fail every append of the same commit; none is half written."""
        self._refuse_when_closed()
        encoded = rules.encode(run, records, after=after, snapshot=snapshot)
        answer = Appending()
        batch = Batch(run, encoded, after, tuple(contents), encoded.row(snapshot), answer, tuple(side_rows))
        self._writer.submit(batch)
        return answer

    async def load(self, run: RunKey) -> LoadedRun | None:
        """See the port."""
        (found,) = await self.load_many([run])
        if isinstance(found, AgentError):
            raise found
        return found

    async def load_many(self, runs: Sequence[RunKey]) -> list[LoadedRun | AgentError | None]:
        """See the port. Some hundreds share a reading transaction; between two of these others are answered."""
        self._refuse_when_closed()
        found: list[LoadedRun | AgentError | None] = []
        for first in range(0, len(runs), run_rows.LOADED_AT_ONCE):
            loaded, rewrites = await self._reader.ask(run_rows.load_many, runs[first : first + run_rows.LOADED_AT_ONCE])
            self._rewrite(rewrites)
            found += loaded
        self._see(max((each.last_position for each in found if isinstance(each, LoadedRun)), default=0))
        return found

    async def messages(self, run: RunKey) -> list[Record]:
        """See the port."""
        return await self.records(run, MESSAGE_BEARING)

    async def records(self, run: RunKey, kinds: Collection[EventKind]) -> list[Record]:
        """See the port."""
        self._refuse_when_closed()
        return await self._reader.ask_of(run.run_id, queries.records, run, kinds)

    async def read(self, run: RunKey, *, after: int, limit: int) -> list[StoredEvent]:
        """See the port."""
        self._refuse_when_closed()
        events = await self._reader.ask_of(run.run_id, queries.read, run, after, limit)
        self._see(events[-1].position if events else 0)
        return events

    async def event(self, run: RunKey, seq: int) -> StoredEvent | None:
        """See the port."""
        self._refuse_when_closed()
        return await self._reader.ask_of(run.run_id, queries.event, run, seq)

    async def select(self, selection: Selection, *, after: int, limit: int) -> EventPage:
        """See the port."""
        self._refuse_when_closed()
        page = await self._reader.ask(selecting.select, selection, after, limit)
        self._see(page.reached)
        return page

    async def intact(self, run: RunKey) -> tuple[RunState, int] | None:
        """See the port."""
        self._refuse_when_closed()
        return await self._reader.ask_of(run.run_id, held.intact, run)

    async def list_runs(
        self,
        namespace: Namespace,
        wanted: RunFilter,
        *,
        before: int | None,
        limit: int,
        statuses: Mapping[str, RunStatus] = NOTHING,
    ) -> RunPage:
        """See the port."""
        self._refuse_when_closed()
        requested = partial(selecting.list_runs, before=before, limit=limit, statuses=statuses)
        page, rewrites = await self._reader.ask(requested, namespace, wanted)
        self._rewrite(rewrites)
        return page

    async def session(self, namespace: Namespace, session_id: str, agent_id: str, *, turns: int) -> SessionPage:
        """See the port."""
        self._refuse_when_closed()
        return await self._reader.ask(sessions.session, namespace, session_id, agent_id, turns)

    def listen(self, listener: Listener) -> None:
        """See the port."""
        self._writer.listeners.append(listener)

    def unlisten(self, listener: Listener) -> None:
        """See the port."""
        if listener in self._writer.listeners:
            self._writer.listeners.remove(listener)

    def _rewrite(self, rewrites: Sequence[Rewrite]) -> None:
        """Has rows made anew that were thrown away: else their events would be folded at every question."""
        if not rewrites:
            return
        for row in rewrites:
            if row.was_damaged and self._log:
                message = "the row of a run was damaged and is made anew from its events"
                self._log.warning(message, namespace=row.run.namespace, run_id=row.run.run_id)
        again = partial(rewrite, rows=rewrites, reindex=True)
        # What fails twice is tried again by the next question.
        self._writer.post(partial(rewrite, rows=rewrites), lambda: self._writer.post(again, lambda: None))

    def _see(self, position: int) -> None:
        self._seen = max(self._seen, position)

    async def open_runs(self) -> list[RunKey]:
        """See the port."""
        return [*(await self._open_runs()).values()]

    async def _open_runs(self) -> Mapping[int, RunKey]:
        """By number. What an index says otherwise than the rows is put in order."""
        self._refuse_when_closed()
        await self._writer.perform(lambda _: None)  # what was handed over before is in the file by then
        found = await self._reader.ask(open_runs)
        if found.misplaced:
            if self._log:
                self._log.error("an index of the journal was damaged and is made anew", runs=len(found.misplaced))
            with contextlib.suppress(AgentError):  # tried again at the next start
                await self._writer.transact(partial(put_in_order, misplaced=found.misplaced))
        return found.runs

    async def content(
        self, namespace: Namespace, digests: Sequence[str], *, run: RunId | None = None, required: bool = False
    ) -> dict[str, bytes]:
        """See the port."""
        self._refuse_when_closed()
        return await self._reader.ask_of(run, queries.content, namespace, digests, run, required=required)

    async def named(self, namespace: Namespace, *names: tuple[str, str]) -> tuple[Entry | None, ...]:
        """See the port."""
        self._refuse_when_closed()
        return await self._reader.ask(beside.named, namespace, names)

    async def entries(
        self, namespace: Namespace, index: str, *, prefix: str = "", after: str = "", limit: int
    ) -> list[Entry | AgentError]:
        """See the port."""
        self._refuse_when_closed()
        return await self._reader.ask(beside.entries, namespace, index, prefix, after, limit)

    async def counter(self, namespace: Namespace, counter: str) -> int | None:
        """See the port."""
        self._refuse_when_closed()
        return await self._reader.ask(beside.counter, namespace, counter)

    async def change_beside(self, run: RunKey, side_rows: Sequence[SideRow]) -> FailedCondition | None:
        """See the port."""
        self._refuse_when_closed()
        return await self._writer.transact(partial(beside.change, run=run, side_rows=side_rows))

    async def set_max_bytes(self, max_bytes: int | None) -> None:
        """Bounds `journal.db` and `-wal` together, or lifts the bound: an append that does not fit is JOURNAL_FULL.

        A bound below the present size forbids growth; it never removes anything.
        """
        self._refuse_when_closed()
        await self._writer.perform(lambda _: self._wal.bound(max_bytes))
        self._max_bytes = max_bytes

    async def remove_ended(self, *, before: int, now: int, limit: int) -> Removed:
        """See the port. What the anchor stands at is held as well: it must be found there at the next start.

        Nothing is removed while the anchor cannot be written, nor while a reader keeps `-wal` from becoming small.
        """
        self._refuse_when_closed()

        def act(db: apsw.Connection) -> Removed:
            if self._wal.size() > 2 * LARGE_BYTES or self._keeper.catch_up():
                return Removed((), 0, False)
            self._remove_more(db)
            retained = self._keeper.held | {self.head}
            step = removing.step(db, removing.Wanted(before, now, retained), limit)
            self._writer.group.removed(step.runs)
            return step

        removed = await self._writer.transact(act)
        if removed.events:
            self._forget_wal()
        return removed

    async def remove(self, run: RunKey, *, now: int) -> int:
        """See the port. The newest event, and what the anchor stands at, are only hidden.

        Once the outline stands the run is removed: events that cannot be deleted now go with the next removal.
        """
        self._refuse_when_closed()

        def act(db: apsw.Connection) -> int:
            self._writer.group.removed([run])
            return held.begin_removal(db, run=run, now=now)

        horizon = await self._writer.transact(act)
        if not horizon:
            raise rules.unknown(run)
        try:
            while await self._writer.transact(self._remove_more):
                pass
        except AgentError as error:
            if self._log:
                message = "events of a removed run are deleted later"
                self._log.warning(message, namespace=run.namespace, run_id=run.run_id, reason=error.reason.name)
        self._forget_wal()
        return horizon

    async def probe(self) -> None:
        """See the port."""
        self._refuse_when_closed()
        for statement in PROBE:
            await self._writer.transact(lambda db, statement=statement: db.execute(statement))  # type: ignore[misc]

    def _remove_more(self, db: apsw.Connection) -> bool:
        if self._keeper.catch_up():
            return False  # it may stand at any event that was noted since it was on disk; the next removal goes on
        return held.go_on(db, self._keeper.held | {self.head})

    async def horizon(self, scope: Scope) -> int:
        """See the port."""
        self._refuse_when_closed()
        return await self._reader.ask(selecting.horizon, scope)

    def audit(self, clock: Clock) -> SqliteAudit:
        """The audit in the same file; ask once."""
        return SqliteAudit(self._writer, self._reader, self._ticker, clock)

    async def space(self) -> Space:
        """How much room the journal takes and has; measured beside the writer."""
        self._refuse_when_closed()
        return await self._reader.ask(inspection.space, self._directory, self._max_bytes)

    def recovery(self) -> SqliteRecoveryLog:
        """The count of starts that did not end cleanly, in this file."""
        return SqliteRecoveryLog(self._writer, self._open_runs)

    def callbacks(self) -> SqliteCallbacks:
        """The registrations that are kept in this file."""
        return SqliteCallbacks(self._writer, self._reader, self._refuse_when_closed, self._forget_wal, self._log)

    def packages(self) -> SqlitePackages:
        """The packages that are kept in this file."""
        return SqlitePackages(self._writer, self._reader, self._refuse_when_closed)

    async def close(self) -> None:
        """See the port. Closing again waits for the first close."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="close journal")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        try:
            await self._reader.close()
            self._ticker.close()
            await self._writer.close()
            self._keeper.close()  # with what was committed at the very end
        finally:
            self._lock.release()

    def _moved(self) -> None:
        """Called by the writing thread after a commit."""
        self._keeper.note(self._writer.group.head, self._writer.group.head_hash)
        self._ticker.wake()

    def _forget_wal(self) -> None:
        """What was removed leaves `-wal` as well, within a second or two."""
        self._wal.want_gone()
        self._ticker.wake()

    def _refuse_when_closed(self) -> None:
        if self._closing is not None:
            raise rules.closed()
