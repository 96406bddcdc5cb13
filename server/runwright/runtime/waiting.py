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


class Bell:
    """Wakes all who wait for its next ring: each by a future of its own, so that nothing comes between them and it."""

    __slots__ = ("_waiting", "count")

    def __init__(self) -> None:
        self.count = 0  # how often it has rung
        self._waiting: set[asyncio.Future[None]] | None = None  # most of the many bells there are wake nobody

    def next(self) -> Ring:
        """Is done at the next ring."""
        return Ring(self)

    def ring(self) -> None:
        """Wakes them."""
        self.count += 1
        if self._waiting:
            woken, self._waiting = self._waiting, None
            for waiting in woken:
                _settle(waiting)

    def wakes(self, waiting: asyncio.Future[None]) -> None:
        """Settles the future at the next ring."""
        if self._waiting is None:
            self._waiting = set()
        self._waiting.add(waiting)

    def lets_be(self, waiting: asyncio.Future[None]) -> None:
        """Leaves the future alone from now on."""
        if self._waiting is not None:
            self._waiting.discard(waiting)

    async def rung(self) -> None:
        """Waits for the next ring."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.wakes(waiting)
        try:
            await waiting
        finally:
            self.lets_be(waiting)


class Ring:
    """The next ring of a bell, from when it was asked for."""

    __slots__ = ("_count", "bell")

    def __init__(self, bell: Bell) -> None:
        self.bell = bell
        self._count = bell.count

    def done(self) -> bool:
        """True once it has rung."""
        return self.bell.count != self._count


def _settle(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


class Patience:
    """Waits for bells until a time that moves on. One task keeps the time, however often a wait begins anew.

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

    async def lasts(self, due: int, *bells: Ring | asyncio.Future[Any]) -> bool:
        """True once a bell has rung; False when none has by `due` (microseconds), which never moves back."""
        while not any(bell.done() for bell in bells):
            if self._limit is None:
                self._limit = asyncio.ensure_future(self._clock.sleep_until(due))
            await _any_of(bells, self._limit)
            if self._limit.done():
                self._limit = None
                if not any(bell.done() for bell in bells) and self._clock.now() >= due:
                    return False
        return True


async def _any_of(bells: Sequence[Ring | asyncio.Future[Any]], limit: asyncio.Task[None]) -> None:
    """Waits for the first of them; `asyncio.wait` would have whoever waits stand in line twice for each ring."""
    waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake(_: asyncio.Future[Any]) -> None:
        _settle(waiting)

    futures = [limit, *[bell for bell in bells if not isinstance(bell, Ring)]]
    rings = [bell for bell in bells if isinstance(bell, Ring)]
    for future in futures:
        future.add_done_callback(wake)
    for ring in rings:
        ring.bell.wakes(waiting)
    try:
        await waiting
    finally:
        for future in futures:
            future.remove_done_callback(wake)
        for ring in rings:
            ring.bell.lets_be(waiting)
