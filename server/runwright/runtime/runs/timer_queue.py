"""TimerQueue: thousands of times that are waited for, by one task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heapify, heappop, heappush

from runwright.ports.clock import Clock
from runwright.ports.log import OperatorLog

# Cancelled timers are only taken out together, once there are many of them.
_FEW = 64
CALLS_AT_ONCE = 64  # then everybody else has a turn


class Timer:
    """Something that is called at a time, unless it is cancelled before."""

    __slots__ = ("_queue", "call")

    def __init__(self, queue: TimerQueue, call: Callable[[], None]) -> None:
        self._queue = queue
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Calls nothing; harmless once it was called."""
        if self.call is not None:
            self.call = None
            self._queue.cancelled()


class TimerQueue:
    """Timers by the clock of the world: a heap, and one task that sleeps until the first of them is due.

    Times are microseconds. Timers of one time are called in the order in which
    they were made. There is no task while there are no timers.
    """

    def __init__(self, clock: Clock, log: OperatorLog) -> None:
        self._clock = clock
        self._log = log
        self._heap: list[tuple[int, int, Timer]] = []
        self._made = 0
        self._cancelled = 0  # of those in the heap
        self._sleeping: asyncio.Task[None] | None = None
        self._wakes_at = 0
        self._is_calling = False

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled

    def at(self, due: int, call: Callable[[], None]) -> Timer:
        """Has `call` called once `due` is reached: later than now, even if that is past."""
        timer = Timer(self, call)
        self._made += 1
        heappush(self._heap, (due, self._made, timer))
        self._sleep()
        return timer

    def cancelled(self) -> None:
        """Takes note of a timer that will not be called."""
        self._cancelled += 1
        if (self._cancelled > _FEW and self._cancelled > len(self._heap) // 2) or self._cancelled == len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].call is not None]
            heapify(self._heap)
            self._cancelled = 0
        self._sleep()

    def close(self) -> None:
        """Calls nothing any more."""
        self._heap.clear()
        self._cancelled = 0
        self._sleep()

    def _sleep(self) -> None:
        """Sees to it that somebody sleeps until the first timer, if there is one."""
        if self._is_calling:
            return  # looked at when the calls are over
        if self._cancelled == len(self._heap):
            self._heap.clear()
            self._cancelled = 0
        if self._sleeping is not None and (not self._heap or self._heap[0][0] < self._wakes_at):
            self._sleeping.cancel()
            self._sleeping = None
        if self._heap and self._sleeping is None:
            self._wakes_at = self._heap[0][0]
            self._sleeping = asyncio.create_task(self._wake(self._wakes_at), name="timers")

    async def _wake(self, due: int) -> None:
        await self._clock.sleep_until(due)
        self._is_calling = True
        try:
            await self._call(self._clock.now())
        finally:
            self._is_calling = False
            self._sleeping = None
        self._sleep()

    async def _call(self, now: int) -> None:
        called = 0
        while self._heap and self._heap[0][0] <= now:
            _, _, timer = heappop(self._heap)
            call, timer.call = timer.call, None
            if call is None:
                self._cancelled -= 1
                continue
            try:
                call()
            except Exception as error:  # noqa: BLE001 - whoever's timer it was, the others are called
                self._log.error("timer failed", error)
            called += 1
            if called % CALLS_AT_ONCE == 0:
                await asyncio.sleep(0)
