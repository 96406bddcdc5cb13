"""Memory that was freed goes back to the system: glibc keeps what a flood took, for as long as the process lives."""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable
from pathlib import Path

EVERY_SECONDS = 5.0
# A trim that gave back less than a twentieth is not tried again so soon: the memory is in use.
FRUITLESS_SECONDS = 15.0
_SHARE = 0.05
# How far above the least that was seen the process may be before it is looked at.
_GROWTH = 1.15


class MemoryTrimmer:
    """Gives free memory back from time to time, on a thread: half a gigabyte takes some 80 ms there."""

    def __init__(self, resident: Callable[[], int] | None = None, trim: Callable[[], None] | None = None) -> None:
        """By default those of this process; without glibc on Linux there is nothing to trim."""
        self._resident = resident or resident_bytes
        self._trim = trim or _glibc_trim()
        self._least = 0

    async def run(self) -> None:
        """Looks for ever; cancel it."""
        while True:
            seconds = await self.look()
            await asyncio.sleep(seconds)

    async def look(self) -> float:
        """Looks once. Returns after how many seconds to look again."""
        before = self._resident()
        if self._trim is None or not before:
            return FRUITLESS_SECONDS
        self._least = min(self._least or before, before)
        if before <= self._least * _GROWTH:
            return EVERY_SECONDS
        await asyncio.to_thread(self._trim)
        after = self._resident()
        self._least = min(self._least, after)
        return FRUITLESS_SECONDS if before - after < before * _SHARE else EVERY_SECONDS


def resident_bytes() -> int:
    """The resident memory of this process; 0 where the system does not say."""
    try:
        pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _glibc_trim() -> Callable[[], None] | None:
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
    return lambda: trim(0)
