"""Wakes are taken in their order, so many at a time, and none is left behind."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from runwright.runtime.runs.revivals import REVIVED_AT_ONCE, Revivals
from runwright.runtime.runs.waits import Wake

from tests import builders as b


async def test_a_wake_that_comes_as_the_last_ones_end_is_taken() -> None:
    loaded, revived = asyncio.Event(), list[Any]()

    async def revive(wake: Wake) -> None:
        await loaded.wait()
        revived.append(wake)

    revivals = Revivals(b.ListLog(), revive)
    wakes = [cast(Wake, number) for number in range(REVIVED_AT_ONCE + 1)]

    async def put_last() -> None:
        await loaded.wait()
        revivals.put(wakes[-1])

    for wake in wakes[:-1]:
        revivals.put(wake)
    await asyncio.sleep(0)
    last = asyncio.create_task(put_last())  # its turn comes after theirs, before they are known to be done
    await asyncio.sleep(0)
    loaded.set()
    await last
    for _ in range(5):
        await asyncio.sleep(0)

    assert revived == wakes


async def test_no_more_are_revived_at_once_than_may() -> None:
    begun, go_on = list[Any](), asyncio.Event()

    async def revive(wake: Wake) -> None:
        begun.append(wake)
        await go_on.wait()

    revivals = Revivals(b.ListLog(), revive)
    for number in range(3 * REVIVED_AT_ONCE):
        revivals.put(cast(Wake, number))
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(begun) == REVIVED_AT_ONCE

    go_on.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert begun == list(range(3 * REVIVED_AT_ONCE))
