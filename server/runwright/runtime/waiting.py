"""Waiting for something, but not for ever, by the clock of the world."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Self

from runwright.ports.clock import Clock


async def comes_before(what: Coroutine[object, object, object], clock: Clock, due: int) -> bool:
    """Waits for `what` until `due` (microseconds). True when it came; what has not come is cancelled."""
    awaited = asyncio.ensure_future(what)
    limit = asyncio.ensure_future(clock.sleep_until(due))
    try:
        await asyncio.wait({awaited, limit}, return_when=asyncio.FIRST_COMPLETED)
        if awaited.done():
            awaited.result()
        return awaited.done()
    finally:
        for task in (awaited, limit):
            task.cancel()
        await asyncio.gather(awaited, limit, return_exceptions=True)


def bounded(due: int, since: int, now: int) -> int:
    """When a wait that was planned at `since` until `due` is over: never later than after what was planned.

    The clock may have been set back over a restart; what was planned were so many microseconds.
    """
    return min(due, now + max(0, due - since))


class Notifier:
    """Wakes all who wait for its next notification: each by a future of its own, so that nothing comes between."""

    __slots__ = ("_waiting", "count")

    def __init__(self) -> None:
        self.count = 0  # how often it has notified
        self._waiting: set[asyncio.Future[None]] | None = None  # most of the many notifiers there are wake nobody

    def next(self) -> Notification:
        """Is done at the next notification."""
        return Notification(self)

    def notify(self) -> None:
        """Wakes them."""
        self.count += 1
        if self._waiting:
            woken, self._waiting = self._waiting, None
            for waiting in woken:
                _settle(waiting)

    def add_waiter(self, waiting: asyncio.Future[None]) -> None:
        """Settles the future at the next notification."""
        if self._waiting is None:
            self._waiting = set()
        self._waiting.add(waiting)

    def remove_waiter(self, waiting: asyncio.Future[None]) -> None:
        """Leaves the future alone from now on."""
        if self._waiting is not None:
            self._waiting.discard(waiting)

    async def notified(self) -> None:
        """Waits for the next notification."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.add_waiter(waiting)
        try:
            await waiting
        finally:
            self.remove_waiter(waiting)


class Notification:
    """The next notification, counted from when this was made."""

    __slots__ = ("_count", "notifier")

    def __init__(self, notifier: Notifier) -> None:
        self.notifier = notifier
        self._count = notifier.count

    def done(self) -> bool:
        """True once it has come."""
        return self.notifier.count != self._count


def _settle(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


class DeadlineWait:
    """Waits for notifications until a time that moves on. One task keeps the time, however often a wait begins anew.

    Its context lets go of the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._limit: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    async def lasts(self, due: int, *notifiers: Notification | asyncio.Future[Any]) -> bool:
        """True once a notification has come; False when none has by `due` (microseconds), which never moves back."""
        while not any(notifier.done() for notifier in notifiers):
            if self._limit is None:
                self._limit = asyncio.ensure_future(self._clock.sleep_until(due))
            await _any_of(notifiers, self._limit)
            if self._limit.done():
                self._limit = None
                if not any(notifier.done() for notifier in notifiers) and self._clock.now() >= due:
                    return False
        return True


async def _any_of(notifiers: Sequence[Notification | asyncio.Future[Any]], limit: asyncio.Task[None]) -> None:
    """Waits for the first of them; `asyncio.wait` would schedule whoever waits twice for each notification."""
    waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake(_: asyncio.Future[Any]) -> None:
        _settle(waiting)

    futures = [limit, *[notifier for notifier in notifiers if not isinstance(notifier, Notification)]]
    notifications = [notifier for notifier in notifiers if isinstance(notifier, Notification)]
    for future in futures:
        future.add_done_callback(wake)
    for notification in notifications:
        notification.notifier.add_waiter(waiting)
    try:
        await waiting
    finally:
        for future in futures:
            future.remove_done_callback(wake)
        for notification in notifications:
            notification.notifier.remove_waiter(waiting)
