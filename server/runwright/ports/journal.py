"""The journal: where runs are written down before anything happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol, TypeAlias

from msgspec import Struct

from runwright.core.content import Content
from runwright.core.context import SessionRun
from runwright.core.epochs import Epochs
from runwright.core.errors import AgentError
from runwright.core.events import TERMINAL, EventKind
from runwright.core.ids import Namespace, RunId, RunKey
from runwright.core.outcomes import RunStatus
from runwright.core.records import Record
from runwright.core.selection import RunFilter, Scope, Selection
from runwright.core.state import RunState

CHAIN_TAG = b"runwright-chain-v1"
NOTHING: Mapping[str, RunStatus] = MappingProxyType({})


class StoredEvent(Struct, frozen=True):
    """One event as it is on disk.

    `data` is the exact bytes of a `runwright.v1.Event`, which readers get
    unchanged. `position` is dense over the whole journal, `seq` over the run,
    both from 1. `hash` is SHA-256(`previous_hash` || `data`), 32 bytes. `run`,
    `session_id`, `agent_id` and `kind` are what streams select by.
    """

    position: int
    seq: int
    kind: EventKind
    data: bytes
    previous_hash: bytes
    hash: bytes
    run: RunKey
    session_id: str
    agent_id: str

    @property
    def is_terminal(self) -> bool:
        """True for the last event of a run."""
        return self.kind in TERMINAL

    def is_in(self, selection: Selection) -> bool:
        """True when the event belongs to the stream."""
        return selection.covers(self.run, self.session_id, self.agent_id, self.kind)


class EventPage(Struct, frozen=True):
    """Every selected event above the position that was asked for, up to `reached`, in order.

    `more` is False when there was nothing selected above `reached` at that time.
    Events of the scope that have been removed lay at `horizon` or below.
    """

    events: Sequence[StoredEvent]
    reached: int
    more: bool
    horizon: int = 0


class LoadedRun(Struct, frozen=True):
    """A run as it is on disk at one moment: its state after all of its events, and the position of the last of them.

    Of a removed run the outline, with `removed_at` set.
    """

    state: RunState
    last_position: int


class ListedRun(Struct, frozen=True):
    """A run as it stands. `number` counts the journal's runs in the order in which they began, from 1."""

    number: int
    state: RunState
    last_position: int


class RunPage(Struct, frozen=True):
    """Wanted runs, newest first. All wanted ones with a number of `reached` or more have been listed."""

    runs: Sequence[ListedRun]
    reached: int
    more: bool


class SessionPage(Struct, frozen=True):
    """The newest runs of a session, newest first; whether there are older ones; the agent's newest run that is open."""

    runs: Sequence[SessionRun]
    has_older: bool
    open_run: RunId | None


class Removed(Struct, frozen=True):
    """What one step of a removal did.

    `runs` are those whose removal began, `horizon` is the position of the last
    event of the last of them; `more` is False when nothing was left to do.
    """

    runs: Sequence[RunKey]
    events: int
    more: bool
    horizon: int = 0


Listener: TypeAlias = Callable[[Sequence[StoredEvent]], None]


class Appended(Struct, frozen=True):
    """The append stands. `events` are its records as they were stored, at least one."""

    events: Sequence[StoredEvent]


class Appending(asyncio.Future[Appended]):
    """An append on its way. What is being written cannot be taken back, so it cannot be cancelled.

    A task that waits for it and is cancelled meanwhile hears of that once the
    append has come to its end: `done()` is true then, and the outcome known.
    """

    def cancel(self, msg: object = None) -> bool:
        """Changes nothing."""
        return False


class Journal(Protocol):
    """An append-only store of runs. Every method may be called from the event loop's thread only.

    Failures are AgentError: JOURNAL_FULL, JOURNAL_BUSY, JOURNAL_CORRUPT.
    """

    @property
    def incarnation(self) -> str:
        """Identity of this journal, made with it: another journal has another."""

    @property
    def cursor_key(self) -> bytes:
        """32 secret bytes that live as long as the journal: the key of cursors."""

    @property
    def epochs(self) -> Epochs:
        """Which process gave which positions, the present one included. They never change while it is open."""

    @property
    def head(self) -> int:
        """Position of the last durable event of the whole journal; 0 when empty."""

    def append(
        self, run: RunKey, records: Sequence[Record], *, after: int, contents: Sequence[Content], snapshot: RunState
    ) -> Appending:
        """Appends the records, stores the contents and replaces the run's snapshot row, atomically.

        `after` is the run's last sequence number (0 for a new run), else
        JOURNAL_CONFLICT and nothing is written. `snapshot` is the state after
        the records. Content that the records refer to is handed over also when it
        is stored already: what else referred to it may be removed meanwhile.
        Once the answer is there all of it is durable. A cancelled caller does
        not undo an append that has been handed over.
        """

    async def load(self, run: RunKey) -> LoadedRun | None:
        """The run at one moment; None for an unknown run. Raises JOURNAL_CORRUPT naming the run's first bad event."""

    async def load_many(self, runs: Sequence[RunKey]) -> list[LoadedRun | AgentError | None]:
        """What `load` says of each of these, in their order; of one that cannot be read its error, as a value.

        For a start with many open runs: each is of one moment, all of them together are not.
        """

    async def messages(self, run: RunKey) -> list[Record]:
        """The run's records of the kinds in MESSAGE_BEARING, in order."""

    async def read(self, run: RunKey, *, after: int, limit: int) -> list[StoredEvent]:
        """At most `limit` events of the run with a position above `after`, in order."""

    async def select(self, selection: Selection, *, after: int, limit: int) -> EventPage:
        """At most `limit` events of the stream above `after`, by position.

        Looks at a bounded number of events, so a page of a filter that matches
        little may be empty and yet have reached a higher position.
        """

    async def intact(self, run: RunKey) -> tuple[RunState, int] | None:
        """What a run's events say up to the first that cannot be read, and the position of the last of these.

        Where not even the first can be read, what else the store knows of the run,
        with 0 as position. None for an unknown run.
        """

    async def list_runs(
        self,
        namespace: Namespace,
        wanted: RunFilter,
        *,
        before: int | None,
        limit: int,
        statuses: Mapping[str, RunStatus] = NOTHING,
    ) -> RunPage:
        """At most `limit` wanted runs with a number below `before`, newest first.

        `stands` are runs, by id, whose status is another one than their events say.
        Looks at a bounded number of runs, as `select` does at events.
        """

    async def session(self, namespace: Namespace, session_id: str, agent_id: str, *, turns: int) -> SessionPage:
        """The newest runs of a session, with what was said in the newest `turns` that the agent completed.

        Looks at a bounded number of runs, however long the session is. `open_run`
        is exact: it is found among all of them.
        """

    def listen(self, listener: Listener) -> None:
        """From now on calls `listener` on the loop with the events of every commit, in the order of positions.

        Nothing is left out and nothing comes before a lower position: what is
        durable is announced commit by commit, whatever becomes of the callers.
        """

    def unlisten(self, listener: Listener) -> None:
        """Ends `listen`; harmless when it never began."""

    async def open_runs(self) -> list[RunKey]:
        """Every run without a terminal event, oldest first."""

    async def content(self, run: RunKey, digests: Sequence[str], *, required: bool = False) -> dict[str, bytes]:
        """The stored bytes of these digests in the run's namespace, each checked against its digest.

        Raises JOURNAL_CORRUPT for one that is damaged, naming the run and its first
        event that refers to it. Missing ones are left out, unless they are
        `required`: then they are JOURNAL_CORRUPT as well.
        """

    async def remove_ended(self, *, before: int, now: int, limit: int) -> Removed:
        """One step in removing runs that ended before a time: at most `limit` events, in one commit.

        Runs go in the order of their last events, each as a whole for whoever
        reads: from the commit that begins its removal only the outline is left.
        Contents go with the last event that refers to them. A run that has not
        ended is never removed, nor is the one with the journal's newest event;
        one whose end cannot be read stays as well. Call again while there is
        more; a step that was never finished is taken up by the next call.
        """

    async def remove(self, run: RunKey, *, now: int) -> int:
        """Removes one run, ended or not, whatever of it can be read: its position in the journal's horizon.

        As `remove_ended` leaves it: an outline, which has ended as cancelled if the run
        had not ended. An event that the store needs to find its own end again is
        hidden and goes with a later removal. Raises RUN_NOT_FOUND.
        """

    async def probe(self) -> None:
        """Writes as much as a start may hold, and takes it back. Raises what an append would be refused with."""

    async def horizon(self, scope: Scope) -> int:
        """The highest position of a removed event of the scope; 0 when none was removed."""

    async def close(self) -> None:
        """Finishes what was handed over and releases the store."""
