"""A reader comes back by itself, and only when coming back can help."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.cli.errors import Problem
from runwright.cli.follow import LONGEST_DELAY_SECONDS, delay, follow

from tests.cli.story import one_tool

FRAMES = one_tool().frames
LOST = Problem("UNAVAILABLE", "Nobody answers.", "", passing=True)
GONE = Problem("RUN_NOT_FOUND", "There is no such run.", "")


class Server:
    """Gives one frame a subscription, then fails as told; `Problem` before any frame when it is negative."""

    def __init__(self, *turns: Problem | None) -> None:
        self.turns = list(turns)
        self.cursors: list[str] = []

    def subscribe(self, cursor: str) -> Iterator[pb.SubscribeResponse]:
        self.cursors.append(cursor)
        position = int(cursor.removeprefix("cursor-") or 0)
        problem = self.turns.pop(0)
        if problem is not GONE:
            yield pb.SubscribeResponse(frames=FRAMES[position : position + 2])
        if problem is not None:
            raise problem


def test_every_frame_comes_once_over_lost_connections() -> None:
    server, waits, notices = Server(LOST, LOST, None), list[float](), list[str]()

    frames = list(follow(server.subscribe, "", notice=notices.append, wait=waits.append))

    assert [frame.cursor for frame in frames] == [frame.cursor for frame in FRAMES[:6]]
    assert server.cursors == ["", "cursor-2", "cursor-4"]
    assert waits == [delay(0), delay(0)]
    lost = "connection lost (UNAVAILABLE); reconnecting from the last cursor"
    assert notices == [lost, "connected again", lost, "connected again"]


def test_waits_grow_while_nobody_answers_and_are_told_once() -> None:
    waits, notices = list[float](), list[str]()

    def subscribe(cursor: str) -> Iterator[pb.SubscribeResponse]:
        if cursor == "" or len(waits) == 3:
            yield pb.SubscribeResponse(frames=FRAMES[:1])
        if len(waits) < 3:
            raise LOST

    list(follow(subscribe, "", notice=notices.append, wait=waits.append))

    assert waits == [0.25, 0.5, 1.0]
    assert len(notices) == 2
    assert delay(100) == LONGEST_DELAY_SECONDS


@pytest.mark.parametrize("problem", [LOST, GONE])
def test_what_fails_at_first_fails(problem: Problem) -> None:
    def subscribe(cursor: str) -> Iterator[pb.SubscribeResponse]:
        raise problem
        yield

    with pytest.raises(Problem) as raised:
        list(follow(subscribe, "", notice=print, wait=pytest.fail))
    assert raised.value is problem


def test_what_does_not_pass_is_not_tried_again() -> None:
    server = Server(LOST, GONE)

    with pytest.raises(Problem, match="RUN_NOT_FOUND"):
        list(follow(server.subscribe, "", notice=lambda _: None, wait=lambda _: None))
    assert server.cursors == ["", "cursor-2"]
