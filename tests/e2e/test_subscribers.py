"""Two subscribers, cut again and again while the server is killed under them, see the same and see all."""

from __future__ import annotations

import asyncio
import random

import pytest
from runwright._gen.runwright.v1 import event_pb2

from tests.e2e.client import answer
from tests.e2e.conftest import SOAK, MakeServer
from tests.e2e.executor import Executor, StartCaller
from tests.e2e.packages import LOOK, one_call
from tests.e2e.reader import Reader, assert_whole

CUTS = 50
ROUNDS = 60
KILLED_IN = ("c20.1", "c40.1")
STREAM_LENGTHS = (0, 0, 1, 1, 2, 3, 4, 6, 9)  # frames after the opening bookmark; 0 leaves right after it


@pytest.mark.parametrize("seed", range(50 if SOAK else 2))
async def test_two_subscribers_cut_fifty_times_each_see_what_list_events_lists(
    make_server: MakeServer, executor: Executor, seed: int
) -> None:
    server = make_server(one_call("long", LOOK, times=ROUNDS))
    await server.start()
    schedule = random.Random(seed)
    readers = [Reader(server, "run-1", cuts=schedule.choices(STREAM_LENGTHS, k=CUTS)) for _ in range(2)]

    async def keep_pace(requested: StartCaller) -> None:
        """The run goes on when both have seen the call begin, so that they live through all of it."""
        for reader in readers:
            await reader.until_seen(lambda event: is_start_of(event, requested))
        if requested.call_id in KILLED_IN and requested.attempt == 1:
            server.kill()
            await asyncio.Event().wait()

    executor.before = keep_pace
    await server.call.start("run-1")
    reading = [asyncio.create_task(reader.read()) for reader in readers]
    for _ in KILLED_IN:
        await server.ended()
        await server.start()
    answer(await server.call.settled("run-1"))
    await asyncio.wait_for(asyncio.gather(*reading), 30)

    listed = await server.call.frames("run-1")
    for reader in readers:
        assert_whole(reader.frames, listed)
        assert reader.cut_count == CUTS
        assert len(reader.broken_by) >= len(KILLED_IN)


def is_start_of(event: event_pb2.Event, requested: StartCaller) -> bool:
    """True for the intent of that attempt."""
    return event.HasField("tool_started") and (event.effect_id, event.attempt) == (requested.call_id, requested.attempt)
