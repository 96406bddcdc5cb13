"""The system's clocks. The only place that reads time."""

from __future__ import annotations

import asyncio
import time

_LONGEST_NAP_US = 60_000_000


def monotonic() -> float:
    """Seconds since some moment: for durations, because nobody can set it."""
    return time.monotonic()


class SystemClock:
    """Wall-clock time, in microseconds since 1970-01-01 UTC."""

    def now(self) -> int:
        """The time now."""
        return time.time_ns() // 1000

    async def sleep_until(self, due: int) -> None:
        """Returns once `now()` has reached `due`.

        Sleeps in naps of a minute at most, so that a clock that was set, or a
        machine that slept, is noticed.
        """
        while (left := due - self.now()) > 0:  # noqa: ASYNC110 - time is what is waited for
            await asyncio.sleep(min(left, _LONGEST_NAP_US) / 1_000_000)
