"""A clock that stands still until it is told otherwise."""

from __future__ import annotations

import asyncio


class ManualClock:
    """Clock for tests: `advance` moves time and wakes whoever was waiting for it."""

    def __init__(self, now: int = 1_700_000_000_000_000) -> None:
        self._now = now
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    def now(self) -> int:
        """The time it was set to, in microseconds."""
        return self._now

    async def sleep_until(self, due: int) -> None:
        """Returns once `advance` has reached `due`."""
        if due <= self._now:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((due, waiter))
        try:
            await waiter
        finally:
            self._waiters = [entry for entry in self._waiters if entry[1] is not waiter]

    @property
    def waiting(self) -> list[int]:
        """When the waits under way are due, earliest first."""
        return sorted(due for due, waiter in self._waiters if not waiter.done())

    def advance(self, microseconds: int) -> None:
        """Moves time on and wakes whoever is due."""
        self._now += microseconds
        for due, waiter in self._waiters:
            if due <= self._now and not waiter.done():
                waiter.set_result(None)
