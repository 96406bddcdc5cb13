"""Waiting for something, but not for ever, by the clock of the world."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
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
    """Wakes all who wait for its next ring. Thousands may wait: one future serves them all."""

    def __init__(self) -> None:
        self._next: asyncio.Future[None] | None = None

    def next(self) -> asyncio.Future[None]:
        """Is done at the next ring. Only ever wait for it beside something else, as Patience does: it is shared."""
        if self._next is None or self._next.done():
            self._next = asyncio.get_running_loop().create_future()
        return self._next

    def ring(self) -> None:
        """Wakes them."""
        if self._next is not None and not self._next.done():
            self._next.set_result(None)
        self._next = None


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

    async def lasts(self, due: int, *bells: asyncio.Future[Any]) -> bool:
        """True once a bell has rung; False when none has by `due` (microseconds), which never moves back."""
        while not any(bell.done() for bell in bells):
            if self._limit is None:
                self._limit = asyncio.ensure_future(self._clock.sleep_until(due))
            await asyncio.wait((*bells, self._limit), return_when=asyncio.FIRST_COMPLETED)
            if self._limit.done():
                self._limit = None
                if not any(bell.done() for bell in bells) and self._clock.now() >= due:
                    return False
        return True
