"""The live end of the whole journal, shared by every stream over many runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from runwright.core.selection import Selection
from runwright.ports.journal import EventPage, StoredEvent
from runwright.runtime.waiting import Notification, Notifier

# A reader further behind than this is served from the journal.
CACHED_EVENTS = 1024


class JournalTail:
    """The newest events of all runs, as the journal announces them, and one signal for all readers.

    It holds one unbroken stretch of positions. What a reader sees here it
    would find in the journal too: only durable events are announced, whole
    commits at a time and in order, so no lower position can follow.
    """

    def __init__(self) -> None:
        self._events: deque[StoredEvent] = deque(maxlen=CACHED_EVENTS)
        self._notifier = Notifier()

    def publish(self, events: Sequence[StoredEvent]) -> None:
        """Takes a commit and wakes every reader, once."""
        if self._events and events[0].position != self._events[-1].position + 1:
            self._events.clear()  # a stretch is missing: readers find it in the journal
        self._events.extend(events)
        self.wake()

    def forget(self, position: int) -> None:
        """Lets go of everything up to a position: some of it was removed, and only the journal knows what."""
        while self._events and self._events[0].position <= position:
            self._events.popleft()

    def signal(self) -> Notification:
        """Is done at the next publish. Take it before reading, so that nothing slips between."""
        return self._notifier.next()

    def wake(self) -> None:
        """Makes every reader look again."""
        self._notifier.notify()

    def select(self, selection: Selection, *, after: int, limit: int) -> EventPage | None:
        """One page of a stream; None when only the journal can tell."""
        if not self._events or after < self._events[0].position - 1:
            return None
        found: list[StoredEvent] = []
        for event in reversed(self._events):  # a reader that keeps up has few to look at
            if event.position <= after:
                break
            if event.is_in(selection):
                found.append(event)
        found.reverse()
        if len(found) > limit:
            return EventPage(found[:limit], found[limit - 1].position, True)
        return EventPage(found, max(after, self._events[-1].position), False)
