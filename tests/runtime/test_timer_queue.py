"""Times that are waited for by one task: called in order, once, and never when they were cancelled."""

from __future__ import annotations

import asyncio
from functools import partial
from random import Random

import pytest
from runwright.runtime.runs.timer_queue import CALLS_AT_ONCE, Timer, TimerQueue
from runwright.testing import ManualClock

from tests.builders import SECOND, ListLog
from tests.runtime.watching import quiet


@pytest.fixture
def clock() -> ManualClock:
    """Stands still until it is turned."""
    return ManualClock(0)


@pytest.fixture
def log() -> ListLog:
    """Keeps its lines."""
    return ListLog()


@pytest.fixture
def timers(clock: ManualClock, log: ListLog) -> TimerQueue:
    """By that clock."""
    return TimerQueue(clock, log)


async def test_thousands_of_timers_are_one_task_and_none_is_left(timers: TimerQueue, clock: ManualClock) -> None:
    before, called = len(asyncio.all_tasks()), list[int]()
    for due in Random(1).sample(range(1, 5001), 5000):
        timers.at(due, partial(called.append, due))
    await quiet()
    tasks = len(asyncio.all_tasks()) - before

    clock.advance(2500)
    await quiet()
    half = list(called)
    clock.advance(2500)
    await quiet()

    assert tasks == 1
    assert half == list(range(1, 2501))
    assert called == list(range(1, 5001))
    assert (len(asyncio.all_tasks()) - before, clock.waiting) == (0, [])


async def test_timers_of_one_time_are_called_in_the_order_in_which_they_were_made(
    timers: TimerQueue, clock: ManualClock
) -> None:
    called: list[str] = []
    for name in "abc":
        timers.at(SECOND, partial(called.append, name))

    clock.advance(SECOND)
    await quiet()

    assert called == ["a", "b", "c"]


async def test_an_earlier_timer_is_not_kept_waiting_by_a_later_one(timers: TimerQueue, clock: ManualClock) -> None:
    called: list[str] = []
    timers.at(60 * SECOND, partial(called.append, "late"))
    await quiet()
    timers.at(SECOND, partial(called.append, "early"))
    await quiet()

    clock.advance(SECOND)
    await quiet()

    assert called == ["early"]
    assert len(timers) == 1
    timers.close()


async def test_a_cancelled_timer_is_never_called_and_the_last_one_ends_the_task(
    timers: TimerQueue, clock: ManualClock
) -> None:
    called: list[int] = []
    made = [timers.at(due, partial(called.append, due)) for due in range(1, 201)]
    await quiet()

    for timer in made[:150]:
        timer.cancel()
        timer.cancel()
    left = len(timers)
    clock.advance(160)
    await quiet()
    for timer in made:
        timer.cancel()
    await quiet()

    assert left == 50
    assert called == list(range(151, 161))
    assert (len(timers), clock.waiting) == (0, [])


async def test_one_that_was_cancelled_keeps_no_task_after_the_last_that_is_called(
    timers: TimerQueue, clock: ManualClock
) -> None:
    timers.at(SECOND, lambda: None)
    timers.at(60 * SECOND, lambda: None).cancel()
    await quiet()

    clock.advance(SECOND)
    await quiet()

    assert (len(timers), clock.waiting) == (0, [])


async def test_a_timer_may_make_and_cancel_others_when_it_is_called(timers: TimerQueue, clock: ManualClock) -> None:
    called: list[str] = []
    others: list[Timer] = []

    def first() -> None:
        others[0].cancel()
        timers.at(1, partial(called.append, "past"))
        timers.at(2 * SECOND, partial(called.append, "later"))

    timers.at(SECOND, first)
    others.append(timers.at(SECOND, partial(called.append, "cancelled")))

    clock.advance(SECOND)
    await quiet()
    at_once = list(called)
    clock.advance(SECOND)
    await quiet()

    assert (at_once, called) == (["past"], ["past", "later"])
    assert clock.waiting == []


async def test_one_that_fails_keeps_no_other_from_being_called(
    timers: TimerQueue, clock: ManualClock, log: ListLog
) -> None:
    called: list[int] = []
    timers.at(1, lambda: called.append(1 // 0))
    timers.at(2, partial(called.append, 2))

    clock.advance(2)
    await quiet()

    assert called == [2]
    assert [line.event for line in log.lines] == ["timer failed"]


async def test_many_that_are_due_at_once_leave_turns_to_others(timers: TimerQueue, clock: ManualClock) -> None:
    called: list[int] = []
    for number in range(3 * CALLS_AT_ONCE):
        timers.at(1, partial(called.append, number))
    await quiet()
    clock.advance(1)
    seen = []
    while len(called) < 3 * CALLS_AT_ONCE:
        seen.append(len(called))
        await asyncio.sleep(0)

    assert CALLS_AT_ONCE in seen
    assert called == list(range(3 * CALLS_AT_ONCE))
