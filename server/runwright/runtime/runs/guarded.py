"""How adapters are awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")


async def guarded(call: Coroutine[object, object, T]) -> T:
    """Awaits an adapter. One that cancels itself fails; only the driver may cancel an effect."""
    try:
        return await call
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise RuntimeError("the adapter cancelled itself") from None
