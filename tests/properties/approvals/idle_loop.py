"""An event loop by a clock that is turned by hand, which says when nobody has anything to do but wait."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from typing import Any

MOST_TURNS = 20_000  # of the loop, until nobody has anything to do


class _IdleSelector(selectors.DefaultSelector):
    """The loop asks it for news without a time limit, or with one, only when nothing else is left to be run."""

    def __init__(self) -> None:
        super().__init__()
        self.is_busy: Callable[[], bool] = lambda: False
        self.waiting: asyncio.Future[None] | None = None
        self.turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What has happened to files; whoever waits for idleness is woken in place of a wait."""
        found = super().select(0)
        if found or timeout == 0:
            self.turns += 1
            if self.turns > MOST_TURNS and self.waiting is not None and not self.waiting.done():
                self.waiting.set_exception(AssertionError("somebody has something to do without end"))
            return found
        if self.waiting is not None and not self.is_busy():
            waiting, self.waiting = self.waiting, None
            if not waiting.done():
                waiting.set_result(None)
            return found
        return super().select(timeout)


class IdleLoop(asyncio.SelectorEventLoop):
    """Time stands still here too: `asyncio.timeout` and the like are over when `pass_time` says so.

    `is_busy` tells of work on other threads, which is waited for.
    """

    def __init__(self) -> None:
        self._idle = _IdleSelector()
        self._seconds = 1000.0
        self._on_threads = 0
        super().__init__(self._idle)

    def time(self) -> float:
        """Seconds, as they were passed."""
        return self._seconds

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:
        """What goes on on another thread is waited for, too."""
        future = super().run_in_executor(executor, func, *args)
        self._on_threads += 1
        future.add_done_callback(self._is_back)
        return future

    def _is_back(self, _: object) -> None:
        self._on_threads -= 1

    def pass_time(self, seconds: float) -> None:
        """Goes on by so many seconds."""
        self._seconds += seconds

    def watch(self, is_busy: Callable[[], bool]) -> None:
        """Somebody else than this loop may be at work."""
        self._idle.is_busy = lambda: self._on_threads > 0 or is_busy()

    async def idle(self) -> None:
        """Returns once nobody has anything to do but wait."""
        self._idle.turns, self._idle.waiting = 0, self.create_future()
        await self._idle.waiting
