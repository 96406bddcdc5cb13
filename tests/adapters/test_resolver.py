"""Looking names up: on threads, bounded, and a slow name is nobody's trouble but its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest
from runwright.adapters.remote.resolver import MOST_OF_ALL, MOST_OF_ONE, Resolver, TooManyNamesError

from tests.runtime.watching import eventually


class SlowNames:
    """A system that answers names that begin with `slow` once it is told to, and others at once."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.requested: list[str] = []

    def __call__(self, host: str) -> Sequence[str]:
        self.requested.append(host)
        if host.startswith("slow"):
            self.answers.wait(60)
        if host.startswith("absent"):
            raise OSError
        return [f"{host}'s"]


@pytest.fixture
def system() -> SlowNames:
    """One that has not been told."""
    return SlowNames()


async def test_slow_names_hold_up_no_other(system: SlowNames) -> None:
    resolver = Resolver(system)
    slow = [asyncio.ensure_future(resolver.look_up("a", f"slow-{number}")) for number in range(MOST_OF_ONE - 1)]

    found = await resolver.look_up("a", "quick")
    waiting = [one.done() for one in slow]
    system.answers.set()

    assert found == ["quick's"]
    assert not any(waiting)
    assert [await one for one in slow] == [[f"slow-{number}'s"] for number in range(MOST_OF_ONE - 1)]


async def test_a_name_is_asked_for_once_however_many_wait_and_one_that_leaves_takes_nothing_away(
    system: SlowNames,
) -> None:
    resolver = Resolver(system)
    first, second = (asyncio.ensure_future(resolver.look_up(who, "Slow")) for who in "ab")

    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    system.answers.set()

    assert await second == ["slow's"]
    assert system.requested == ["slow"]


async def test_what_one_principal_may_have_under_way_is_bounded_and_no_other_is_touched(system: SlowNames) -> None:
    resolver = Resolver(system)
    slow = [asyncio.ensure_future(resolver.look_up("a", f"slow-{number}")) for number in range(MOST_OF_ONE)]

    with pytest.raises(TooManyNamesError):
        resolver.look_up("a", "quick")
    others = await resolver.look_up("b", "quick")
    system.answers.set()
    await asyncio.gather(*slow)

    assert others == ["quick's"]
    assert await resolver.look_up("a", "quick") == ["quick's"], "what is answered makes room"


async def test_all_of_them_together_are_bounded(system: SlowNames) -> None:
    resolver = Resolver(system)
    slow = [asyncio.ensure_future(resolver.look_up(f"p{n % 16}", f"slow-{n}")) for n in range(MOST_OF_ALL)]

    with pytest.raises(TooManyNamesError):
        resolver.look_up("another", "quick")
    system.answers.set()
    await asyncio.gather(*slow)


async def test_a_name_that_fails_is_asked_for_again_next_time(system: SlowNames) -> None:
    resolver = Resolver(system)

    for _ in range(2):
        with pytest.raises(OSError):
            await resolver.look_up("a", "absent")

    assert system.requested == ["absent"] * 2


async def test_an_answer_that_nobody_waits_for_any_more_keeps_no_place(system: SlowNames) -> None:
    resolver = Resolver(system)
    left = asyncio.ensure_future(resolver.look_up("a", "slow"))
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)

    system.answers.set()
    await eventually(lambda: not resolver._asking)

    assert not resolver._of_one
