"""Pages of a run's events, read from the journal once for all who follow the run at about the same place."""

from __future__ import annotations

import asyncio
from typing import TypeAlias

from runwright.core.ids import RunKey
from runwright.ports.journal import EventReader, StoredEvent
from runwright.runtime.lru_cache import LruCache

CACHED_PAGES = 64
Place: TypeAlias = tuple[RunKey, int, int]


class RunPages:
    """Only full pages are shared: what they hold never changes. A page with room left may have grown since."""

    def __init__(self, journal: EventReader) -> None:
        self._journal = journal
        self._retained: LruCache[Place, list[StoredEvent]] = LruCache(CACHED_PAGES)
        self._reading: dict[Place, asyncio.Task[list[StoredEvent]]] = {}

    async def read(self, run: RunKey, *, after: int, limit: int) -> list[StoredEvent]:
        """As the journal's `read`."""
        place = (run, after, limit)
        retained = self._retained.get(place)
        if retained is not None:
            return retained
        under_way = self._reading.get(place)
        if under_way is not None:
            page = await asyncio.shield(under_way)
            if len(page) == limit:
                return page
            return await self._journal.read(run, after=after, limit=limit)
        reading = asyncio.create_task(self._journal.read(run, after=after, limit=limit))
        self._reading[place] = reading
        read_generation = self._retained.generation
        reading.add_done_callback(lambda done: self._finished(place, done, read_generation))
        return await asyncio.shield(reading)

    def forget(self) -> None:
        """Lets go of everything, also of what is being read: some of it was removed from the journal."""
        self._retained.clear()
        self._reading.clear()

    def _finished(self, place: Place, reading: asyncio.Task[list[StoredEvent]], read_generation: int) -> None:
        if self._reading.get(place) is reading:
            del self._reading[place]
        if not reading.cancelled() and reading.exception() is None and len(reading.result()) == place[2]:
            self._retained.put(place, reading.result(), read_generation)
