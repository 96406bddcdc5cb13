"""Waiting for something, but not for ever, by the clock of the world."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

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


async def first_of(*events: asyncio.Event) -> None:
    """Returns once one of the events is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
