"""Subscriptions: replay from the journal, then follow the tail, without a gap between."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from runwright.core.cursor import CursorMaker, CursorPosition
from runwright.core.errors import AgentError, ErrorReason, invalid_request
from runwright.core.ids import RunKey
from runwright.core.selection import EVERYTHING, Selection
from runwright.ports.journal import EventPage, StoredEvent
from runwright.runtime.lru_cache import LruCache
from runwright.runtime.ports import Ports
from runwright.runtime.runs.live_text import LiveTexts
from runwright.runtime.runs.refusals import draining
from runwright.runtime.runs.stored_runs import not_found, removed
from runwright.runtime.runs.supervisor import Supervisor
from runwright.runtime.runs.tail import Tails
from runwright.runtime.streams.delta_reader import DeltaReader, Ephemeral
from runwright.runtime.streams.journal_tail import JournalTail
from runwright.runtime.streams.run_pages import RunPages
from runwright.runtime.waiting import DeadlineWait

BATCH_EVENTS = 64
IDLE_BOOKMARK_US = 15_000_000
# After so many positions that a filter hid, a bookmark saves a reader that is cut from passing them again.
HIDDEN_BOOKMARK = 4096
BUFFERED_BATCHES = 64
LOOKS = 3  # for more of a run that has more, in vain


class StreamItem(Struct, frozen=True):
    """One element of a stream: an event, something ephemeral, or else a bookmark, with the newest event's `position`.

    What is ephemeral has no position; `sub_sequence` counts it from 1 among what came with the same cursor.
    `opening` marks the bookmark that a stream begins with.
    """

    cursor: str
    position: int
    event: StoredEvent | None = None
    ephemeral: Ephemeral | None = None
    sub_sequence: int = 0
    opening: bool = False


class StreamPage(Struct, frozen=True):
    """A stretch of a stream without bookmarks. `next_cursor` is empty when there was nothing more at that time."""

    items: Sequence[StreamItem]
    next_cursor: str


class Subscriptions:
    """Opens streams of events. Runs never wait for readers: each reads at its own pace."""

    def __init__(
        self, ports: Ports, supervisor: Supervisor, tails: Tails, texts: LiveTexts, cursors: CursorMaker
    ) -> None:
        self._ports = ports
        self._supervisor = supervisor
        self._tails = tails
        self._texts = texts
        self._cursors = cursors
        self._pages = RunPages(ports.journal)
        self._made: LruCache[tuple[str, int, int, int, int], list[StreamItem]] = LruCache(BUFFERED_BATCHES)
        self._everyone = JournalTail()
        ports.journal.listen(self._everyone.publish)
        self.stopping = asyncio.Event()  # the server stops: whoever waits is sent away

    def stop(self) -> None:
        """Ends every stream with DRAINING; readers come back with their last cursor."""
        self.stopping.set()
        self._tails.wake_all()
        self._everyone.wake()

    def close(self) -> None:
        """Lets go of the journal."""
        self._ports.journal.unlisten(self._everyone.publish)

    def forget(self, runs: Sequence[RunKey], horizon: int) -> None:
        """Lets go of what was removed; whoever has not read it yet is told so."""
        self._everyone.forget(horizon)
        self._pages.forget()
        self._made.clear()
        for run in runs:
            self._supervisor.forget(run)
            self._tails.of(run).forget()

    def cursor(self, selection: Selection, position: int, floor: int = 0) -> str:
        """The cursor after a position of the stream."""
        return self._cursors.make(selection.cursor_scope(), position, floor)

    async def start(self, selection: Selection, after_cursor: str, *, live_only: bool) -> CursorPosition:
        """Where a stream begins. Raises RUN_NOT_FOUND, RUN_REMOVED, INVALID_REQUEST and the errors of cursors.

        Whoever begins at the beginning does not miss what was removed before.
        """
        newest = await self._newest(selection)
        if live_only and after_cursor:
            raise invalid_request("live_only", "false beside a cursor", "Leave the cursor out to begin at the end.")
        if live_only:
            return CursorPosition(newest)
        # A run's stream is there as a whole or not at all.
        horizon = await self._ports.journal.horizon(selection.scope) if selection.run is None else 0
        if not after_cursor:
            return CursorPosition(0, horizon)
        place = self._cursors.read(selection.cursor_scope(), after_cursor, self._ports.journal.head)
        if place.misses(horizon):
            raise self._expired(selection, place, horizon)
        return place

    async def stream(
        self, selection: Selection, place: CursorPosition, *, deltas: bool = False
    ) -> AsyncGenerator[list[StreamItem], None]:
        """Batches of about 64 items after `place`, the first an opening bookmark.

        With `deltas` the text of models that are answering comes between the events.
        The stream of a run ends after its terminal event, shown or hidden.
        Raises DRAINING when the server stops, CURSOR_EXPIRED and RUN_REMOVED
        when events that are still to come were removed.
        """
        with (
            DeltaReader(self._texts, selection) if deltas else contextlib.nullcontext() as reader,
            DeadlineWait(self._ports.clock) as deadline,
        ):
            async with contextlib.aclosing(self._batches(selection, place, reader, deadline)) as batches:
                async for batch in batches:
                    yield batch

    async def _batches(
        self, selection: Selection, place: CursorPosition, reader: DeltaReader | None, deadline: DeadlineWait
    ) -> AsyncGenerator[list[StreamItem], None]:
        position, floor = place.position, place.floor
        run = selection.run
        tail = self._everyone if run is None else self._tails.of(run)
        yield [replace(await self._bookmark(selection, place), opening=True)]
        announced, due, idle = position, self._bookmark_due(), 0
        while True:
            if self.stopping.is_set():
                raise draining()
            # Before reading, so that what comes meanwhile is not slept over.
            more = [tail.signal()] if reader is None else [tail.signal(), reader.signal()]
            before, page = position, await self.page(selection, CursorPosition(position, floor), BATCH_EVENTS)
            moved, position = page.reached > position, page.reached
            if page.events:
                yield self._items(selection, page.events, CursorPosition(before, floor), reader)
                if run is not None and page.events[-1].is_terminal:
                    return
                announced, due = page.events[-1].position, self._bookmark_due()
                continue
            # What is ephemeral comes only where nothing durable is left to send.
            if reader is not None and (found := reader.take(position)):
                yield self._ephemeral(selection, CursorPosition(position, floor), found, reader)
                announced, due = position, self._bookmark_due()
                continue
            if run is not None and (last := await self._last_position(run, position)) is not None:
                if position < last:  # it ended after the page was read
                    idle = 0 if moved else idle + 1
                    self._require_progress(run, idle, position, last)
                    continue
                if position > announced:
                    yield [await self._bookmark(selection, CursorPosition(position))]
                return
            if position - announced >= HIDDEN_BOOKMARK or not (moved or await deadline.lasts(due, *more)):
                yield [await self._bookmark(selection, CursorPosition(position, floor))]
                announced, due = position, self._bookmark_due()
            if moved:
                await asyncio.sleep(0)  # a filter that hides much must not keep the loop from everybody else

    async def page(self, selection: Selection, place: CursorPosition, limit: int) -> EventPage:
        """At most `limit` events after `place`, from the tail where it reaches back that far. CURSOR_EXPIRED."""
        run, position = selection.run, place.position
        if run is not None:
            return await self._page_of_run(run, selection, position, limit)
        live = self._everyone.select(selection, after=position, limit=limit)
        if live is not None:
            return live
        page = await self._ports.journal.select(selection, after=position, limit=limit)
        if place.misses(page.horizon):
            raise self._expired(selection, place, page.horizon)
        return page

    async def _page_of_run(self, run: RunKey, selection: Selection, position: int, limit: int) -> EventPage:
        recent = self._tails.of(run).after(position)
        if recent is None and selection.filter != EVERYTHING:
            return await self._ports.journal.select(selection, after=position, limit=limit)
        if recent is None:
            events = await self._intact(run, position, limit)
            more = len(events) == limit
        else:
            events, more = recent[:limit], len(recent) > limit
        reached = events[-1].position if events else position
        if selection.filter != EVERYTHING:
            events = [event for event in events if event.is_in(selection)]
        return EventPage(events, reached, more)

    async def _intact(self, run: RunKey, position: int, limit: int) -> Sequence[StoredEvent]:
        """A page of a run's events; what is intact before a damaged one is still delivered. JOURNAL_CORRUPT at it."""
        while True:
            try:
                return await self._pages.read(run, after=position, limit=limit)
            except AgentError as error:
                if limit == 1 or error.reason is not ErrorReason.JOURNAL_CORRUPT:
                    raise
                limit //= 2

    async def listed(self, selection: Selection, place: CursorPosition, limit: int) -> StreamPage:
        """One page with a cursor for the next."""
        page = await self.page(selection, place, limit)
        further = self.cursor(selection, page.reached, place.floor) if page.events or page.more else ""
        return StreamPage(self._items(selection, page.events, place, None), further)

    def _expired(self, selection: Selection, place: CursorPosition, horizon: int) -> AgentError:
        """`oldest` is the same place, knowing what was removed: below the horizon there may be events of open runs."""
        message = "Events after the cursor were removed: they were older than the retention."
        oldest = self.cursor(selection, place.position, horizon)
        return AgentError(ErrorReason.CURSOR_EXPIRED, message, metadata={"oldest": oldest})

    def _items(
        self, selection: Selection, events: Sequence[StoredEvent], place: CursorPosition, reader: DeltaReader | None
    ) -> list[StreamItem]:
        shared = self._shared(selection, events, place.floor)
        if reader is None:
            return shared
        items: list[StreamItem] = []
        after = place.position
        for event, item in zip(events, shared, strict=True):
            if rest := reader.before(event):
                items += self._ephemeral(selection, CursorPosition(after, place.floor), rest, reader)
            items.append(item)
            after = event.position
        return items

    def _shared(self, selection: Selection, events: Sequence[StoredEvent], floor: int) -> list[StreamItem]:
        """The events with their cursors, made once for all who stream the same at about the same time."""
        if not events:
            return []
        scope = selection.cursor_scope()
        # From between two events some may be removed, never added: so their number tells.
        stretch = (scope, floor, events[0].position, events[-1].position, len(events))
        items = self._made.get(stretch)
        if items is None:
            items = [StreamItem(self._cursors.make(scope, e.position, floor), e.position, e) for e in events]
            self._made.put(stretch, items)
        return items

    def _ephemeral(
        self, selection: Selection, place: CursorPosition, found: Sequence[Ephemeral], reader: DeltaReader
    ) -> list[StreamItem]:
        cursor = self.cursor(selection, place.position, place.floor)
        number = reader.number
        return [StreamItem(cursor, 0, ephemeral=each, sub_sequence=number(place.position)) for each in found]

    async def _bookmark(self, selection: Selection, place: CursorPosition) -> StreamItem:
        return StreamItem(self.cursor(selection, place.position, place.floor), await self._newest(selection))

    async def _newest(self, selection: Selection) -> int:
        """Position of the run's newest event, or of the journal's. Raises RUN_NOT_FOUND, RUN_REMOVED."""
        if selection.run is None:
            return self._ports.journal.head
        found = await self._supervisor.state(selection.run)
        if found is None:
            raise not_found(selection.run)
        if found[0].removed_at:
            raise removed(selection.run)
        return found[1]

    def _require_progress(self, run: RunKey, idle: int, position: int, last: int) -> None:
        """A reader that finds nothing although there must be more looks anew, and does not look for ever.

        Raises JOURNAL_CORRUPT once the journal itself, and nothing that was kept of it, has no more.
        """
        if idle == LOOKS - 1:
            self.forget([run], 0)
        if idle >= LOOKS:
            message = f"Events of run {run.run_id} are missing from the journal."
            error = AgentError(ErrorReason.JOURNAL_CORRUPT, message, metadata={"run_id": run.run_id, "first_bad": ""})
            self._ports.log.error(
                "a reader makes no progress", error, run_id=run.run_id, reached=position, ends_at=last
            )
            raise error

    async def _last_position(self, run: RunKey, reached: int) -> int | None:
        """Where a run that has ended did so; None for one that goes on. RUN_REMOVED."""
        found = await self._supervisor.state(run)
        if found is None or not found[0].is_terminal:
            return None
        if found[0].removed_at and reached < found[1]:
            raise removed(run)
        return found[1]

    def _bookmark_due(self) -> int:
        return self._ports.clock.now() + IDLE_BOOKMARK_US
