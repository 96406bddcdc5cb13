"""The live end of each run's stream: what was just appended, shared by all its readers."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakValueDictionary

from runwright.core.ids import RunKey
from runwright.ports.journal import StoredEvent
from runwright.runtime.waiting import Notification, Notifier

# A reader further behind than this is served from the journal.
CACHED_EVENTS = 256


class RunTail:
    """The newest events of one run, and a signal for more."""

    def __init__(self) -> None:
        self._events: list[StoredEvent] = []  # a deque would set aside room for 64 in every live run
        self._floor: int | None = None  # every event of the run above this position is in `_events`
        self._notifier = Notifier()

    def covers_from(self, position: int) -> None:
        """Says that the journal holds no event of the run above `position` yet."""
        if self._floor is None:
            self._floor = position

    def forget(self) -> None:
        """Says that events may have become durable without being published: only the journal can tell."""
        self._events.clear()
        self._floor = None
        self.wake()

    def publish(self, events: Sequence[StoredEvent]) -> None:
        """Adds durable events and wakes every reader. Callers publish in order."""
        self._events += events
        excess = len(self._events) - CACHED_EVENTS
        if excess > 0:
            self._floor = self._events[excess - 1].position
            del self._events[:excess]
        self.wake()

    def after(self, position: int) -> list[StoredEvent] | None:
        """The events above `position`; None when only the journal can tell."""
        if self._floor is None or position < self._floor:
            return None
        return [event for event in self._events if event.position > position]

    def signal(self) -> Notification:
        """Is done at the next publish. Take it before reading, so that nothing slips between."""
        return self._notifier.next()

    def wake(self) -> None:
        """Makes every reader look again."""
        self._notifier.notify()


class Tails:
    """Finds the tail of a run. A tail lives as long as its driver or a reader holds it."""

    def __init__(self) -> None:
        self._tails: WeakValueDictionary[RunKey, RunTail] = WeakValueDictionary()

    def of(self, run: RunKey) -> RunTail:
        """The tail of a run, made if nobody holds one."""
        tail = self._tails.get(run)
        if tail is None:
            tail = self._tails[run] = RunTail()
        return tail

    def wake_all(self) -> None:
        """Makes every reader of every run look again."""
        for tail in list(self._tails.values()):
            tail.wake()
