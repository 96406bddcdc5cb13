"""Revivals: runs without a driver whose wait is over, so many at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from runwright.ports.log import OperatorLog
from runwright.runtime.runs.waits import Wake

REVIVED_AT_ONCE = 32


class Revivals:
    """Hands wakes, in their order, to `revive`, which takes the place over or gives it back.

    Thousands of waits may end at the same moment: none costs a task of its own.
    """

    def __init__(self, log: OperatorLog, revive: Callable[[Wake], Awaitable[None]]) -> None:
        self._log = log
        self._revive = revive
        self._wakes: deque[Wake] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._workers = 0  # that will look for another wake: a task that has found none is not done yet

    def put(self, wake: Wake) -> None:
        """Has a run revived."""
        self._wakes.append(wake)
        if self._workers < REVIVED_AT_ONCE:
            self._workers += 1
            task = asyncio.create_task(self._work(), name="revival")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Revives nothing more; every place goes back."""
        while self._wakes:
            self._wakes.popleft().give_back()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self) -> None:
        try:
            while self._wakes:
                wake = self._wakes.popleft()
                try:
                    await self._revive(wake)
                except Exception as error:  # noqa: BLE001 - whatever it was, the other runs are revived
                    self._log.error("reviving a run failed", error, run_id=wake.run.run_id)
        finally:
            self._workers -= 1
