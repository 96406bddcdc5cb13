"""Subscriptions: replay from the journal, then follow the tail, without a gap between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from runwright.core.cursor import CursorMaker, run_scope
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import RunKey
from runwright.ports.journal import StoredEvent
from runwright.runtime.driver import draining
from runwright.runtime.supervisor import Supervisor, not_found
from runwright.runtime.tail import Tails
from runwright.runtime.waiting import comes_before, first_of
from runwright.runtime.world import World

BATCH_EVENTS = 64
IDLE_BOOKMARK_US = 15_000_000


@dataclass(frozen=True, slots=True)
class StreamItem:
    """One element of a stream. Without an event it is a bookmark; its `position` is then the newest event's."""

    cursor: str
    position: int
    event: StoredEvent | None = None


class Subscriptions:
    """Opens streams of events. Runs never wait for readers: each reads at its own pace."""

    def __init__(self, world: World, supervisor: Supervisor, tails: Tails, cursors: CursorMaker) -> None:
        self._world = world
        self._supervisor = supervisor
        self._tails = tails
        self._cursors = cursors
        self.stopping = asyncio.Event()  # the server stops: whoever waits is sent away

    def stop(self) -> None:
        """Ends every stream with DRAINING; readers come back with their last cursor."""
        self.stopping.set()

    def cursor(self, run: RunKey, position: int) -> str:
        """The cursor after a position of the run's stream."""
        return self._cursors.make(run_scope(run), position)

    async def start_position(self, run: RunKey, after_cursor: str, *, live_only: bool) -> int:
        """Where a stream begins. Raises RUN_NOT_FOUND, INVALID_REQUEST and the errors of cursors."""
        found = await self._supervisor.state(run)
        if found is None:
            raise not_found(run)
        if live_only and after_cursor:
            expected = "false beside a cursor"
            raise AgentError(
                ErrorReason.INVALID_REQUEST,
                f"live_only must be {expected}.",
                metadata={"field": "live_only", "expected": expected},
            )
        if live_only:
            return found[1]
        if not after_cursor:
            return 0
        return self._cursors.read(run_scope(run), after_cursor, self._world.journal.head)

    async def stream(self, run: RunKey, position: int) -> AsyncIterator[list[StreamItem]]:
        """Batches of at most 64 items after `position`, the first an opening bookmark.

        Ends after the run's terminal event. Raises DRAINING when the server stops.
        """
        tail = self._tails.of(run)
        yield [await self._bookmark(run, position)]
        while True:
            if self.stopping.is_set():
                raise draining()
            more = tail.signal()  # before reading, so that what is appended meanwhile is not slept over
            events = await self.page(run, position, BATCH_EVENTS)
            if events:
                position = events[-1].position
                yield [StreamItem(self.cursor(run, event.position), event.position, event) for event in events]
                if events[-1].is_terminal:
                    return
                continue
            found = await self._supervisor.state(run)
            if found and found[0].is_terminal:
                if position >= found[1]:
                    return
                continue
            if not await self._either(more):
                yield [await self._bookmark(run, position)]

    async def page(self, run: RunKey, position: int, limit: int) -> list[StoredEvent]:
        """At most `limit` events after `position`, from the tail where it reaches back that far."""
        live = self._tails.of(run).after(position)
        if live is not None:
            return live[:limit]
        return await self._world.journal.read(run, after=position, limit=limit)

    async def _bookmark(self, run: RunKey, position: int) -> StreamItem:
        found = await self._supervisor.state(run)
        return StreamItem(self.cursor(run, position), found[1] if found else position)

    async def _either(self, more: asyncio.Event) -> bool:
        """True once there is more or the server stops; False when the stream was idle for long."""
        clock = self._world.clock
        return await comes_before(first_of(more, self.stopping), clock, clock.now() + IDLE_BOOKMARK_US)
