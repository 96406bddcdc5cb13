"""The two clocks: the system's, and the one that is turned by hand."""

from __future__ import annotations

import asyncio

import pytest
from runwright.adapters.clock import SystemClock
from runwright.ports.clock import Clock
from runwright.testing import ManualClock


@pytest.mark.parametrize("clock", [SystemClock(), ManualClock()], ids=["system", "manual"])
async def test_what_is_due_already_is_not_waited_for(clock: Clock) -> None:
    for due in (clock.now(), clock.now() - 1, 0, -1):
        await asyncio.wait_for(clock.sleep_until(due), 60)


async def test_the_system_clock_has_reached_what_it_waited_for() -> None:
    clock = SystemClock()
    due = clock.now() + 20_000

    await asyncio.wait_for(clock.sleep_until(due), 60)

    assert clock.now() >= due


async def test_the_system_clock_can_be_left_waiting() -> None:
    clock = SystemClock()
    a_year = clock.now() + 365 * 24 * 3600 * 1_000_000

    waiting = asyncio.create_task(clock.sleep_until(a_year))
    await asyncio.sleep(0)
    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_manual_clock_stands_still_until_it_is_turned() -> None:
    clock = ManualClock(now=100)
    waits = [asyncio.create_task(clock.sleep_until(due)) for due in (110, 120, 130)]
    await asyncio.sleep(0)
    before = clock.now(), clock.waiting

    clock.advance(20)
    await asyncio.sleep(0)

    assert before == (100, [110, 120, 130])
    assert [wait.done() for wait in waits] == [True, True, False]
    assert (clock.now(), clock.waiting) == (120, [130])
    waits[2].cancel()


async def test_a_wait_on_a_manual_clock_that_is_given_up_is_forgotten() -> None:
    clock = ManualClock(now=100)
    waiting = asyncio.create_task(clock.sleep_until(110))
    await asyncio.sleep(0)

    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    assert clock.waiting == []
    clock.advance(100)
