"""Reading events: of one run in its order, of many in the journal's, and as they are committed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol, TypeAlias

from msgspec import Struct

from runwright.core.ids import RunKey
from runwright.core.kinds import TERMINAL, EventKind
from runwright.core.records import Record
from runwright.core.selection import Scope, Selection
from runwright.core.units import Position, Seq

CHAIN_TAG = b"runwright-chain-v1"


class StoredEvent(Struct, frozen=True):
    """One event as it is on disk.

    `data` is the exact bytes of a `runwright.v1.Event`, which readers get
    unchanged. `position` is dense over the whole journal, `seq` over the run,
    both from 1. `hash` is SHA-256(`previous_hash` || `data`), 32 bytes. `run`,
    `session_id`, `agent_id` and `kind` are what streams select by.
    """

    position: Position
    seq: Seq
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


Listener: TypeAlias = Callable[[Sequence[StoredEvent]], None]


class EventReader(Protocol):
    """Events, checked: what is handed out is what was written, else JOURNAL_CORRUPT naming run and first bad event."""

    async def messages(self, run: RunKey) -> list[Record]:
        """The run's records of the kinds in MESSAGE_BEARING, in order."""

    async def records(self, run: RunKey, kinds: Collection[EventKind]) -> list[Record]:
        """The run's records of these kinds, in order. Reads the whole run."""

    async def read(self, run: RunKey, *, after: Seq, limit: int) -> list[StoredEvent]:
        """At most `limit` events of the run with a position above `after`, in order."""

    async def event(self, run: RunKey, seq: Seq) -> StoredEvent | None:
        """The run's event of that number; None when there is none."""

    async def select(self, selection: Selection, *, after: Position, limit: int) -> EventPage:
        """At most `limit` events of the stream above `after`, by position.

        Looks at a bounded number of events, so a page of a filter that matches
        little may be empty and yet have reached a higher position.
        """

    async def horizon(self, scope: Scope) -> int:
        """The highest position of a removed event of the scope; 0 when none was removed."""

    def listen(self, listener: Listener) -> None:
        """From now on calls `listener` on the loop with the events of every commit, in the order of positions.

        Nothing is left out and nothing comes before a lower position: what is
        durable is announced commit by commit, whatever becomes of the callers.
        """

    def unlisten(self, listener: Listener) -> None:
        """Ends `listen`; harmless when it never began."""
