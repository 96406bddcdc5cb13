"""Who gets the next free place: in order, runs in turn, and nobody who has left."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import cast

import pytest
from runwright.adapters.waiting_calls import WaitingCall, WaitingCalls
from runwright.core.ids import DEFAULT_NAMESPACE, RunId, RunKey
from runwright.ports.tools import Place, PlaceRequest


class Room:
    """Places at executors. `free` counts those left for each tool; `held` those that were given."""

    def __init__(self, **free: int) -> None:
        self.free: Counter[str] = Counter(free)
        self.held = 0
        self.waiting = WaitingCalls()
        self.value: list[str] = []
        self.places: list[Place] = []

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

    def wait(self, run: str, call: str, tool: str = "look", *, keeps: bool = True) -> WaitingCall:
        """A call that waits; `given` names it once it has its place, which it gives back at once unless it keeps it."""
        wanted = PlaceRequest(RunKey(DEFAULT_NAMESPACE, RunId(run)), call, "desk", tool)

        def granted(place: Place) -> None:
            self.value.append(f"{run}.{call}")
            if keeps:
                self.places.append(place)
            else:
                place.release()

        return self.waiting.join(wanted, granted)


class OnePlace:
    """A place that counts itself."""

    def __init__(self, room: Room, tool: str) -> None:
        self._room, self._tool = room, tool

    def release(self) -> None:
        """See the port."""
        self._room.held -= 1
        self._room.give(**{self._tool: 1})


def test_first_come_first_served_and_runs_take_turns() -> None:
    room = Room()
    for run, call in ("a1", "a2", "a3", "b1", "c1", "b2"):
        room.wait(run, call)

    for _ in range(6):
        room.give(look=1)

    assert room.value == ["a.1", "b.1", "c.1", "a.2", "b.2", "a.3"]
    assert len(room.waiting) == 0
    assert room.waiting.executors() == []


def test_a_tool_that_nobody_performs_holds_up_no_other() -> None:
    room = Room()
    room.wait("a", "1", "erase")
    room.wait("b", "1", "look")

    room.give(look=1)

    assert room.value == ["b.1"]
    assert len(room.waiting) == 1


def test_of_two_tools_the_call_that_came_first_is_served_first() -> None:
    room = Room()
    for run, tool in (("a", "erase"), ("b", "look"), ("c", "erase")):
        room.wait(run, "1", tool)

    room.give(erase=2, look=1)

    assert room.value == ["a.1", "b.1", "c.1"]


def test_whoever_leaves_is_passed_over() -> None:
    room = Room()
    gone = room.wait("a", "1")
    room.wait("b", "1")

    gone.leave()
    gone.leave()
    room.give(look=1)

    assert room.value == ["b.1"]
    assert len(room.waiting) == 0


def test_leaving_with_a_place_changes_nothing() -> None:
    room = Room()
    served = room.wait("a", "1")
    room.wait("a", "2")
    room.give(look=1)

    served.leave()

    assert (room.value, room.held, len(room.waiting)) == (["a.1"], 1, 1)


def test_a_place_that_is_given_back_at_once_goes_to_the_next() -> None:
    room = Room()
    room.wait("a", "1", keeps=False)
    room.wait("a", "2", keeps=False)
    room.wait("b", "1")
    room.wait("b", "2")

    room.give(look=1)

    assert room.value == ["a.1", "b.1"], "runs take turns, also then"
    assert (room.held, room.free["look"]) == (1, 0)


def test_nobody_overtakes_a_call_of_the_same_tool_and_namespace_that_waits() -> None:
    room = Room()
    room.wait("a", "1")

    key = RunKey(DEFAULT_NAMESPACE, RunId("b"))
    same, other_tool = PlaceRequest(key, "1", "desk", "look"), PlaceRequest(key, "1", "desk", "erase")
    other_executor = PlaceRequest(key, "1", "shed", "look")

    assert [room.waiting.waits(each) for each in (same, other_tool, other_executor)] == [True, False, False]


@pytest.mark.parametrize("seed", range(200))
def test_no_place_is_lost_however_waits_places_and_leavings_interleave(seed: int) -> None:
    rng = Random(seed)
    room = Room(look=rng.randint(0, 2), erase=rng.randint(0, 2))
    places = room.free.total()
    waits: list[WaitingCall] = []

    for number in range(60):
        match rng.randrange(4):
            case 0 | 1:
                tool, keeps = rng.choice(["look", "erase"]), rng.random() < 0.8
                waits.append(room.wait(rng.choice("abc"), str(number), tool, keeps=keeps))
                room.give()
            case 2 if waits:
                waits.pop(rng.randrange(len(waits))).leave()
            case 3 if room.places:
                room.places.pop(rng.randrange(len(room.places))).release()

    for wait in waits:
        wait.leave()
    while room.places:
        room.places.pop().release()

    assert (room.held, room.free.total(), len(room.waiting)) == (0, places, 0)
    assert room.waiting.executors() == []


def test_a_call_whose_schema_nobody_has_holds_up_none_of_another_package() -> None:
    waiting, served = WaitingCalls(), []
    key = RunKey(DEFAULT_NAMESPACE, RunId("a"))
    for digest in ("sha256:old", "sha256:new"):
        waiting.join(PlaceRequest(key, digest, "desk", "look", digest), served.append)
    place = cast("Place", object())

    waiting.serve("desk", lambda wanted: place if wanted.schema_digest == "sha256:new" and not served else None)

    assert served == [place]
    assert waiting.waits(PlaceRequest(key, "1", "desk", "look", "sha256:old"))
    assert not waiting.waits(PlaceRequest(key, "1", "desk", "look", "sha256:new"))
