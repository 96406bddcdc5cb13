"""Weighted semaphores: units are taken in order, given back once, and lost by nobody who gives up."""

from __future__ import annotations

import asyncio

import pytest
from runwright.transport.usage import WeightedSemaphore

from tests.runtime.watching import quiet


async def test_who_waits_first_is_served_first_though_a_smaller_one_would_fit() -> None:
    semaphore = WeightedSemaphore(10)
    served: list[str] = []

    async def take(name: str, units: int) -> None:
        await semaphore.acquire(units)
        served.append(name)

    await semaphore.acquire(8)
    waiting = [asyncio.create_task(take(name, units)) for name, units in (("large", 5), ("small", 1))]
    await quiet()
    assert served == [] and semaphore.is_contended

    semaphore.release(8)
    await asyncio.gather(*waiting)

    assert (served, semaphore.used, semaphore.is_contended) == (["large", "small"], 6, False)


async def test_who_gives_up_waiting_makes_room_for_the_next() -> None:
    semaphore = WeightedSemaphore(10)
    await semaphore.acquire(6)
    large, small = (asyncio.create_task(semaphore.acquire(units)) for units in (5, 4))
    await quiet()

    large.cancel()
    await small

    assert semaphore.used == 10
    with pytest.raises(asyncio.CancelledError):
        await large


async def test_who_gives_up_in_the_moment_of_being_served_keeps_nothing() -> None:
    semaphore = WeightedSemaphore(10)
    await semaphore.acquire(10)
    waiting = asyncio.create_task(semaphore.acquire(10))
    await quiet()

    semaphore.release(10)
    waiting.cancel()
    await quiet()

    assert semaphore.used == 0
