"""Time comes from here only."""

from __future__ import annotations

from typing import Protocol

from runwright.core.units import Micros


class Clock(Protocol):
    """Wall-clock time in microseconds since 1970-01-01 UTC, and waiting by it."""

    def now(self) -> Micros:
        """The time now."""

    async def sleep_until(self, due: Micros) -> None:
        """Returns once `now()` has reached `due`."""
