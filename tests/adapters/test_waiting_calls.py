"""Who gets the next free place: in order, runs in turn, and nobody who has left."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random

import pytest
from runwright.adapters.waiting_calls import WaitingCalls
from runwright.core.ids import DEFAULT_NAMESPACE, Namespace, RunId, RunKey
from runwright.ports.tools import Place, PlaceRequest

from tests.runtime.watching import quiet


class Room:
    """Places at executors. `free` counts those left for each tool; `held` those that were given."""

    def __init__(self, **free: int) -> None:
        self.free: Counter[str] = Counter(free)
        self.held = 0
        self.waiting = WaitingCalls()
        self.value: list[str] = []

    def take(self, wanted: PlaceRequest) -> Place | None:
        """A place for a call of the tool, if there is one."""
        if self.free[wanted.tool] == 0:
            return None
        self.free[wanted.tool] -= 1
        self.held += 1
        return OnePlace(self, wanted.tool)

    def give(self, **free: int) -> None:
        """Frees places and serves those that wait."""
        self.free.update(free)
        self.waiting.serve("desk", self.take)

    def wait(self, run: str, call: str, tool: str = "look", namespace: str = DEFAULT_NAMESPACE) -> asyncio.Task[Place]:
        """A call that waits as soon as others have had their turn; `given` names it once it has its place."""
        wanted = PlaceRequest(RunKey(Namespace(namespace), RunId(run)), call, "desk", tool)

        async def served() -> Place:
            place = await self.waiting.served(self.waiting.join(wanted))
            self.value.append(f"{run}.{call}")
            return place

        return asyncio.ensure_future(served())


class OnePlace:
    """A place that counts itself."""

    def __init__(self, room: Room, tool: str) -> None:
        self._room, self._tool = room, tool

    def release(self) -> None:
        """See the port."""
        self._room.held -= 1
        self._room.give(**{self._tool: 1})


async def test_first_come_first_served_and_runs_take_turns() -> None:
    room = Room()
    waits = [room.wait("a", str(number)) for number in (1, 2, 3)]
    waits += [room.wait("b", "1"), room.wait("c", "1"), room.wait("b", "2")]

    await quiet()
    for _ in waits:
        room.give(look=1)
        await quiet()

    assert room.value == ["a.1", "b.1", "c.1", "a.2", "b.2", "a.3"]
    assert len(room.waiting) == 0
    assert room.waiting.executors() == []


async def test_a_tool_that_nobody_performs_holds_up_no_other() -> None:
    room = Room()
    waits = [room.wait("a", "1", "erase"), room.wait("b", "1", "look")]
    await quiet()

    room.give(look=1)
    await quiet()

    assert room.value == ["b.1"]
    assert not waits[0].done()
    waits[0].cancel()


async def test_of_two_tools_the_call_that_came_first_is_served_first() -> None:
    room = Room()
    waits = [room.wait("a", "1", "erase"), room.wait("b", "1", "look"), room.wait("c", "1", "erase")]
    await quiet()

    room.give(erase=2, look=1)
    await asyncio.gather(*waits)

    assert room.value == ["a.1", "b.1", "c.1"]


async def test_whoever_leaves_is_passed_over() -> None:
    room = Room()
    gone, late = room.wait("a", "1"), room.wait("b", "1")
    await quiet()

    gone.cancel()  # not told yet when the place comes
    room.give(look=1)
    await late

    assert room.value == ["b.1"]
    assert gone.cancelled()


async def test_a_place_that_comes_as_its_call_leaves_goes_to_the_next() -> None:
    room = Room()
    gone, late = room.wait("a", "1"), room.wait("b", "1")
    await quiet()

    room.give(look=1)
    gone.cancel()
    await late

    assert room.value == ["b.1"]
    assert (room.held, room.free["look"]) == (1, 0)


async def test_nobody_overtakes_a_call_of_the_same_tool_and_namespace_that_waits() -> None:
    room = Room()
    wait = room.wait("a", "1")
    await quiet()

    key = RunKey(DEFAULT_NAMESPACE, RunId("b"))
    same, other_tool = PlaceRequest(key, "1", "desk", "look"), PlaceRequest(key, "1", "desk", "erase")
    other_executor = PlaceRequest(key, "1", "shed", "look")

    assert [room.waiting.waits(each) for each in (same, other_tool, other_executor)] == [True, False, False]
    wait.cancel()


def _granted(waits: list[asyncio.Task[Place]]) -> list[Place]:
    """The places of the waits that are over; these are taken out."""
    over = [wait for wait in waits if wait.done()]
    for wait in over:
        waits.remove(wait)
    return [wait.result() for wait in over if not wait.cancelled()]


@pytest.mark.parametrize("seed", range(200))
async def test_no_place_is_lost_however_waits_places_and_leavings_interleave(seed: int) -> None:
    rng = Random(seed)
    room = Room(look=rng.randint(0, 2), erase=rng.randint(0, 2))
    places = room.free.total()
    waits: list[asyncio.Task[Place]] = []
    held: list[Place] = []

    for number in range(60):
        match rng.randrange(4):
            case 0 | 1:
                waits.append(room.wait(rng.choice("abc"), str(number), rng.choice(["look", "erase"])))
                room.give()
            case 2 if waits:
                rng.choice(waits).cancel()
            case 3 if held:
                held.pop(rng.randrange(len(held))).release()
        if rng.random() < 0.5:
            await asyncio.sleep(0)
        held += _granted(waits)

    while waits or held:
        for wait in waits:
            wait.cancel()
        await quiet()
        held += _granted(waits)
        while held:
            held.pop().release()

    assert (room.held, room.free.total(), len(room.waiting)) == (0, places, 0)
