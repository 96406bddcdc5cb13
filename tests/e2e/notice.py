"""Waiting for what other tasks make true, without looking again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

CAP_SECONDS = 60.0


class Notice:
    """Wakes whoever waits for a condition each time somebody tells that something has changed."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def tell(self) -> None:
        """Something has changed."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, holds: Callable[[], bool], seconds: float = CAP_SECONDS) -> None:
        """Returns once `holds` does; TimeoutError when it does not come true in time."""
        async with asyncio.timeout(seconds):
            while not holds():
                await self._changed.wait()
