"""Kills at moments that take two to make: beside a recorded sibling, and under many runs at once."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from runwright._gen.runwright.v1 import run_pb2

from tests.e2e.client import answer, run_request
from tests.e2e.conftest import SOAK, MakeServer
from tests.e2e.executor import Executor, Gate, StartCaller, pass_by
from tests.e2e.kills import Victim
from tests.e2e.packages import BOOK, LOOK, asks, package, says
from tests.e2e.reader import Reader, assert_whole

PAIR = package("pair", [asks(("look", {}), ("book", {})), says("done: {results}")], LOOK, BOOK)
ROUNDS = package(
    "rounds",
    [asks(("look", {})), asks(("book", {"n": 1})), asks(("look", {}), ("book", {"n": 2})), says("done: {results}")],
    *(LOOK, BOOK),
)
RUNS = 20


@pytest.mark.parametrize(("struck", "other"), [("look", "book"), ("book", "look")])
async def test_a_result_on_record_stands_when_the_call_beside_it_is_struck(
    make_server: MakeServer, executor: Executor, tmp_path: Path, struck: str, other: str
) -> None:
    server = make_server(PAIR)
    await server.start()
    await server.call.start("undisturbed")
    undisturbed = answer(await server.call.settled("undisturbed"))
    victim = Victim(server, executor, tmp_path, "run-1", run_request("run-1"))

    async def strike(requested: StartCaller) -> None:
        if requested.tool == struck and requested.attempt == 1:
            await victim.reader.until_seen(lambda event: event.tool_completed.tool == other)
            server.kill()
            await asyncio.Event().wait()

    executor.after = strike
    at_death = await victim.run_to_death()
    executor.after = pass_by

    assert at_death.recorded_calls == {"c1.1" if other == "look" else "c1.2"}
    assert at_death.open_writes == ({"c1.2"} if struck == "book" else set())
    await victim.check_next_life(at_death, undisturbed)
    assert [requested.attempt for requested in executor.calls_of("run-1") if requested.tool == other] == [1]


@pytest.mark.parametrize("seed", range(20 if SOAK else 3))
async def test_twenty_runs_at_once_are_killed_and_each_keeps_the_promise(
    make_server: MakeServer, executor: Executor, tmp_path: Path, seed: int
) -> None:
    server = make_server(ROUNDS)
    await server.start()
    await server.call.start("undisturbed")
    undisturbed = answer(await server.call.settled("undisturbed"))
    victims = [Victim(server, executor, tmp_path, f"run-{n}", run_request(f"run-{n}")) for n in range(RUNS)]
    chosen = len(executor.requested) + random.Random(seed).randrange(1, 4 * RUNS)

    async def strike(_: StartCaller) -> None:
        if len(executor.requested) >= chosen:
            server.kill()

    executor.before = strike
    await asyncio.gather(*(victim.start() for victim in victims))
    await server.ended()
    executor.before = pass_by
    deaths = [await victim.at_death() for victim in victims]

    await server.start()
    await asyncio.gather(*(victim.check(death, undisturbed) for victim, death in zip(victims, deaths, strict=True)))


async def test_subscribers_of_runs_that_need_repair_see_the_end_when_these_are_cancelled(
    make_server: MakeServer, executor: Executor
) -> None:
    """Many, a few at a time: what can go wrong between a new reader and a cancel goes wrong in one of fifty."""
    booking = package("one", [asks(("book", {})), says("done")], BOOK)
    server = make_server(booking, options=("--executor-calls", "250"))
    await server.start()
    executor.after = Gate()
    run_ids = [f"run-{number}" for number in range(250)]
    await asyncio.gather(*(server.call.start(run_id) for run_id in run_ids))
    await executor.until_asked(len(run_ids))
    await server.restart()

    async def cancel(run_id: str) -> None:
        reader = Reader(server, run_id)
        reading = asyncio.create_task(reader.read())
        assert (await server.call.settled(run_id)).status == run_pb2.RUN_STATUS_REPAIR_NEEDED
        await server.call.cancel(run_id)
        assert (await server.call.settled(run_id)).status == run_pb2.RUN_STATUS_CANCELLED
        await asyncio.wait_for(reading, 30)
        assert_whole(reader.frames, await server.call.frames(run_id))

    for first in range(0, len(run_ids), 5):
        await asyncio.gather(*(cancel(run_id) for run_id in run_ids[first : first + 5]))
