"""MemoryJournal: nothing survives the process, everything else is as on disk."""

from __future__ import annotations

import secrets
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from runwright.adapters import journal_rules as rules
from runwright.adapters.memory.session_turns import turn_of
from runwright.adapters.side_row_rules import SideRowState
from runwright.core.content import Content
from runwright.core.context import SessionRun
from runwright.core.epochs import MARK_BYTES, Epoch, Epochs
from runwright.core.errors import AgentError
from runwright.core.ids import Namespace, RunId, RunKey
from runwright.core.kinds import MESSAGE_BEARING, EventKind
from runwright.core.machine import status
from runwright.core.outcomes import RunPhase, RunStatus, StopReason
from runwright.core.records import Record
from runwright.core.selection import RunFilter, Scope, ScopeKind, Selection
from runwright.core.side_rows import FailedCondition, SideRow
from runwright.core.state import RunState
from runwright.ports.journal import (
    NOTHING,
    Appended,
    Appending,
    AppendOutcome,
    Entry,
    EventPage,
    ListedRun,
    Listener,
    LoadedRun,
    Removed,
    RunPage,
    SessionPage,
    StoredEvent,
)
from runwright.wire import tombstone
from runwright.wire.records import decode_event, event_time


class _Run(Struct):
    number: int
    snapshot: RunState
    last_hash: bytes
    open: bool = True
    removed: bool = False
    seq: int = 0
    last_position: int = 0
    scopes: tuple[Scope, ...] = ()
    events: list[StoredEvent] = field(default_factory=list)


class MemoryJournal:
    """A journal for tests and for runs whose history nobody needs after the process.

    `commits` counts appends, each being a commit of its own.
    """

    def __init__(self) -> None:
        self.incarnation = secrets.token_hex(16)
        self.cursor_key = secrets.token_bytes(32)
        self.epochs = Epochs([Epoch(0, secrets.token_bytes(MARK_BYTES))])
        self.head = 0
        self.commits = 0
        self._runs: dict[RunKey, _Run] = {}
        self._numbered: list[_Run] = []
        self._sessions: dict[tuple[Namespace, str], list[_Run]] = {}
        self._scopes: dict[Scope, list[StoredEvent]] = {}
        self._listeners: list[Listener] = []
        self._uses: Counter[tuple[Namespace, str]] = Counter()
        self._horizons: dict[Scope, int] = {}
        self._removing: _Run | None = None
        self._contents: dict[tuple[Namespace, str], bytes] = {}
        self._side_rows: SideRowState[RunKey] = SideRowState(lambda _: None, lambda _: None)
        self._closed = False

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
        """See the port. It is done at once."""
        self._refuse_when_closed()
        encoded = rules.encode(run, records, after=after, snapshot=snapshot)
        known = self._runs.get(run) or _Run(len(self._runs) + 1, snapshot, rules.first_link(run))
        if after != known.seq or known.removed:
            raise rules.conflict(run)
        if side_rows and (failed := self._side_rows.take(run.namespace, run, side_rows)):
            return _done(failed)
        self._side_rows.settle(run.namespace, side_rows)
        stored = rules.link(encoded, after=after, position=self.head, previous_hash=known.last_hash)
        for content in contents:
            self._contents.setdefault((run.namespace, content.ref.digest), content.data)
        self._uses.update({(run.namespace, digest): count for digest, count in encoded.uses.items()})
        known.events += stored
        known.snapshot, known.last_hash, known.open = snapshot, stored[-1].hash, rules.ends_open(stored)
        known.seq, known.last_position, known.scopes = stored[-1].seq, stored[-1].position, tuple(_scopes_of(encoded))
        if run not in self._runs:
            self._runs[run] = known
            self._numbered.append(known)
            if snapshot.session_id:
                self._sessions.setdefault((run.namespace, snapshot.session_id), []).append(known)
        for scope in _scopes_of(encoded):
            self._scopes.setdefault(scope, []).extend(stored)
        self.head = stored[-1].position
        self.commits += 1
        for listener in self._listeners:
            listener(stored)
        return _done(Appended(stored))

    async def load(self, run: RunKey) -> LoadedRun | None:
        """See the port."""
        self._refuse_when_closed()
        known = self._runs.get(run)
        return LoadedRun(known.snapshot, min(known.last_position, self.head)) if known else None

    async def load_many(self, runs: Sequence[RunKey]) -> list[LoadedRun | AgentError | None]:
        """See the port. Nothing is ever damaged here."""
        return [await self.load(run) for run in runs]

    async def messages(self, run: RunKey) -> list[Record]:
        """See the port."""
        return await self.records(run, MESSAGE_BEARING)

    async def records(self, run: RunKey, kinds: Collection[EventKind]) -> list[Record]:
        """See the port."""
        return [decode_event(event.data) for event in self._events(run) if event.kind in kinds]

    async def read(self, run: RunKey, *, after: int, limit: int) -> list[StoredEvent]:
        """See the port."""
        events = self._events(run)
        start = bisect_right(events, after, key=lambda event: event.position)
        return events[start : start + limit]

    async def event(self, run: RunKey, seq: int) -> StoredEvent | None:
        """See the port."""
        return next((event for event in self._events(run) if event.seq == seq), None)

    async def select(self, selection: Selection, *, after: int, limit: int) -> EventPage:
        """See the port."""
        self._refuse_when_closed()
        known = self._runs.get(selection.run) if selection.run else None
        events = [] if known and known.removed else self._scopes.get(selection.scope, [])
        horizon = self._horizons.get(selection.scope, 0)
        start = bisect_right(events, after, key=lambda event: event.position)
        looked_at = events[start : start + rules.SCANNED_EVENTS]
        found = [event for event in looked_at if event.is_in(selection) and not self._runs[event.run].removed]
        if len(found) > limit:
            return EventPage(found[:limit], found[limit - 1].position, True, horizon)
        if start + len(looked_at) < len(events):
            return EventPage(found, looked_at[-1].position, True, horizon)
        return EventPage(found, max(after, self.head), False, horizon)

    async def intact(self, run: RunKey) -> tuple[RunState, int] | None:
        """See the port. Nothing is ever damaged here."""
        self._refuse_when_closed()
        known = self._runs.get(run)
        return (known.snapshot, known.last_position) if known else None

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
        number = len(self._numbered) + 1 if before is None else before
        found: list[ListedRun] = []
        looked_at = 0
        while number > 1 and len(found) < limit and looked_at < rules.SCANNED_RUNS:
            number -= 1
            known = self._numbered[number - 1]
            state = known.snapshot
            looked_at += 1
            own = state.key.namespace == namespace and not known.removed
            stood = statuses.get(state.key.run_id) or status(state)
            if own and wanted.passes(stood, state.agent_id, state.session_id, state.labels):
                found.append(ListedRun(number, state, known.last_position))
        return RunPage(found, number, number > 1)

    async def session(self, namespace: Namespace, session_id: str, agent_id: str, *, turns: int) -> SessionPage:
        """See the port."""
        self._refuse_when_closed()
        known = self._sessions.get((namespace, session_id), [])
        runs: list[SessionRun] = []
        read = 0
        for one in known[: -rules.SESSION_RUNS - 1 : -1]:
            state, turn, taint = one.snapshot, None, None
            own = state.agent_id == agent_id and status(state) is RunStatus.COMPLETED
            if own and read < turns:
                turn, taint = turn_of(one.snapshot, one.events)
                read += turn is not None
            runs.append(SessionRun(state.key.run_id, state.agent_id, status(state), turn, taint))
        still_open = (
            one.snapshot.key.run_id for one in reversed(known) if one.open and one.snapshot.agent_id == agent_id
        )
        return SessionPage(runs, len(known) > rules.SESSION_RUNS, next(still_open, None))

    def listen(self, listener: Listener) -> None:
        """See the port."""
        self._listeners.append(listener)

    def unlisten(self, listener: Listener) -> None:
        """See the port."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    async def open_runs(self) -> list[RunKey]:
        """See the port."""
        self._refuse_when_closed()
        return [run for run, known in self._runs.items() if known.open]

    async def content(
        self, namespace: Namespace, digests: Sequence[str], *, run: RunId | None = None, required: bool = False
    ) -> dict[str, bytes]:
        """See the port."""
        self._refuse_when_closed()
        known = ((digest, self._contents.get((namespace, digest))) for digest in digests)
        found = {digest: data for digest, data in known if data is not None}
        bad = rules.damaged(found)
        if bad is not None:
            raise rules.damaged_content(run, bad, self._first_referring(namespace, run, bad))
        missing = next((digest for digest in digests if digest not in found), None) if required else None
        if missing is not None:
            raise rules.missing_content(run, missing, self._first_referring(namespace, run, missing))
        return found

    def _first_referring(self, namespace: Namespace, run: RunId | None, digest: str) -> int:
        events = self._events(RunKey(namespace, run)) if run else []
        return next((event.seq for event in events if digest in rules.digests_of(event.data)), 0)

    async def named(self, namespace: Namespace, *names: tuple[str, str]) -> tuple[Entry | None, ...]:
        """See the port."""
        self._refuse_when_closed()
        return tuple(self._entry(namespace, *name) for name in names)

    async def entries(
        self, namespace: Namespace, index: str, *, prefix: str = "", after: str = "", limit: int
    ) -> list[Entry | AgentError]:
        """See the port. Nothing is ever damaged here."""
        self._refuse_when_closed()
        keys = [
            key
            for (of, name, key), row in self._side_rows.changes.entries.items()
            if row and (of, name) == (namespace, index) and key.startswith(prefix) and key > after
        ]
        found = [self._entry(namespace, index, key) for key in sorted(keys)[:limit]]
        return [each for each in found if each]

    def _entry(self, namespace: Namespace, index: str, key: str) -> Entry | None:
        known = self._side_rows.changes.entries.get((namespace, index, key))
        return Entry(index, key, known.owner, known.value, known.expires_at) if known else None

    async def counter(self, namespace: Namespace, counter: str) -> int | None:
        """See the port."""
        self._refuse_when_closed()
        known = self._side_rows.changes.counters.get((namespace, counter))
        return known.left if known else None

    async def change_beside(self, run: RunKey, side_rows: Sequence[SideRow]) -> FailedCondition | None:
        """See the port."""
        self._refuse_when_closed()
        known = self._runs.get(run)
        if known is None or known.removed:
            raise rules.unknown(run)
        failed = self._side_rows.take(run.namespace, run, side_rows)
        if failed is None:
            self._side_rows.settle(run.namespace, side_rows)
            self.commits += 1
        return failed

    async def remove_ended(self, *, before: int, now: int, limit: int) -> Removed:
        """See the port."""
        self._refuse_when_closed()
        begun: list[RunKey] = []
        events, room, horizon = 0, rules.REMOVED_BYTES, 0
        while events < limit and room > 0:
            if self._removing is None:
                self._removing = self._begin(before, now)
                if self._removing is None:
                    return Removed(begun, events, False, horizon)
                begun.append(self._removing.snapshot.key)
                horizon = self._removing.last_position
            event = self._removing.events.pop(0)
            for scope in self._removing.scopes:
                self._scopes[scope].remove(event)
            room -= self._release(event)
            events += 1
            if not self._removing.events:
                self._removing = None
        return Removed(begun, events, True, horizon)

    async def remove(self, run: RunKey, *, now: int) -> int:
        """See the port."""
        self._refuse_when_closed()
        known = self._runs.get(run)
        if known is None or known.removed:
            raise rules.unknown(run)
        if known.open:
            ended = replace(known.snapshot, phase=RunPhase.CANCELLED, stop=StopReason.CANCELLED, ended_at=now)
            known.snapshot, known.open = ended, False
        self._outline(known, now)
        while known.events:
            event = known.events.pop(0)
            for scope in known.scopes:
                self._scopes[scope].remove(event)
            self._release(event)
        return known.last_position

    def _begin(self, before: int, now: int) -> _Run | None:
        ended = (run for run in self._runs.values() if not run.open and not run.removed)
        first = min(ended, key=lambda run: run.last_position, default=None)
        if first is None or first.last_position == self.head or event_time(first.events[-1].data) >= before:
            return None
        self._outline(first, now)
        return first

    def _outline(self, run: _Run, now: int) -> None:
        run.removed, run.snapshot = True, tombstone.outline(run.snapshot, now)
        self._side_rows.forget(run.snapshot.key)
        before = self._horizons.get(Scope(run.snapshot.key.namespace, ScopeKind.ALL), 0)
        run.last_position = max(run.last_position, before + 1)  # each removal raises the horizon
        for scope in run.scopes:
            if scope.kind is not ScopeKind.RUN:
                self._horizons[scope] = run.last_position

    def _release(self, event: StoredEvent) -> int:
        """Takes the references of an event back. Returns the bytes of the contents that went with it."""
        freed = 0
        for digest in rules.digests_of(event.data):
            of = (event.run.namespace, digest)
            self._uses[of] -= 1
            if self._uses[of] <= 0:
                del self._uses[of]
                freed += len(self._contents.pop(of, b""))
        return freed

    async def probe(self) -> None:
        """See the port."""
        self._refuse_when_closed()

    async def horizon(self, scope: Scope) -> int:
        """See the port."""
        self._refuse_when_closed()
        return self._horizons.get(scope, 0)

    async def close(self) -> None:
        """See the port."""
        self._closed = True

    def _events(self, run: RunKey) -> list[StoredEvent]:
        self._refuse_when_closed()
        known = self._runs.get(run)
        return known.events if known and not known.removed else []

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise rules.closed()


def _done(outcome: AppendOutcome) -> Appending:
    appending = Appending()
    appending.set_result(outcome)
    return appending


def _scopes_of(encoded: rules.Encoded) -> list[Scope]:
    namespace = encoded.run.namespace
    scopes = [Scope(namespace, ScopeKind.RUN, encoded.run.run_id), Scope(namespace, ScopeKind.ALL)]
    if encoded.session_id:
        scopes.append(Scope(namespace, ScopeKind.SESSION, encoded.session_id))
    scopes.append(Scope(namespace, ScopeKind.AGENT, encoded.agent_id))
    return scopes
