"""SIGTERM: what is open settles, what could begin waits for the next start, and nobody is left hanging."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from runwright._gen.runwright.v1 import run_pb2
from runwright.cli.serve import CUT_OFF

from tests.e2e.client import answer, error_info
from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor, Gate, pass_by
from tests.e2e.packages import BOOK, LOOK, one_call
from tests.e2e.reader import Reader, assert_whole

RUNS = [f"run-{number}" for number in range(40)]
SOON_SECONDS = 60.0


async def test_sigterm_under_load_loses_nothing_and_repeats_nothing(
    make_server: MakeServer, executor: Executor
) -> None:
    executor.before = gate = Gate()
    server = make_server(one_call("two-bookings", BOOK, times=2), options=("--executor-calls", str(len(RUNS))))
    await server.start()
    await asyncio.gather(*(server.call.start(run_id) for run_id in RUNS))
    await executor.until_asked(len(RUNS))
    readers = [Reader(server, run_id) for run_id in RUNS]
    reading = [asyncio.create_task(reader.read()) for reader in readers]
    await asyncio.gather(*(reader.until_seen(lambda event: event.HasField("tool_started")) for reader in readers))

    server.terminate()
    await server.call.not_serving()
    await asyncio.gather(*(reader.news.until(lambda reader=reader: bool(reader.broken_by)) for reader in readers))
    assert {reason for reader in readers for reason in reader.broken_by} == {"DRAINING"}
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await server.call.start("too-late")
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert error_info(refused.value).reason == "DRAINING"
    gate.open()
    assert await server.ended() == 0
    assert sorted(executor.effects.values()) == [1] * len(RUNS), "the open calls settled, no second one began"

    await server.start()
    settled = await asyncio.gather(*(server.call.settled(run_id) for run_id in RUNS))
    assert {run.status for run in settled} == {run_pb2.RUN_STATUS_COMPLETED}
    assert sorted(executor.effects.values()) == [1] * (2 * len(RUNS))
    await asyncio.wait_for(asyncio.gather(*reading), SOON_SECONDS)
    for reader, run_id in zip(readers, RUNS, strict=True):
        assert_whole(reader.frames, await server.call.frames(run_id))


async def test_a_wait_is_sent_away_when_the_server_stops(make_server: MakeServer, executor: Executor) -> None:
    executor.before = gate = Gate()
    server = make_server(one_call("booking", BOOK))
    await server.start()
    await server.call.start("run-1")
    await executor.until_asked(1)
    waiting = asyncio.create_task(server.call.settled("run-1"))
    await server.call.snapshot("run-1")  # the wait was sent before this, on the same connection
    server.terminate()
    with pytest.raises(grpc.aio.AioRpcError) as sent_away:
        await asyncio.wait_for(waiting, SOON_SECONDS)
    assert error_info(sent_away.value).reason == "DRAINING"
    gate.open()
    assert await server.ended() == 0


async def test_a_call_that_may_be_repeated_does_not_hold_up_a_stop(make_server: MakeServer, executor: Executor) -> None:
    executor.before = Gate()
    server = make_server(one_call("looking", LOOK), options=("--grace", "600"))
    await server.start()
    await server.call.start("run-1")
    await executor.until_asked(1)
    server.terminate()
    assert await server.ended(SOON_SECONDS) == 0
    executor.before = pass_by

    await server.start()
    assert "look" in answer(await server.call.settled("run-1"))
    assert [requested.attempt for requested in executor.requested] == [1, 2]


@pytest.mark.parametrize("ended_by", ["second-sigterm", "end-of-grace"])
async def test_a_call_that_is_not_waited_for_any_longer_needs_repair(
    make_server: MakeServer, executor: Executor, ended_by: str
) -> None:
    executor.after = Gate()
    grace = "600" if ended_by == "second-sigterm" else "0.5"
    server = make_server(one_call("booking", BOOK), options=("--grace", grace))
    await server.start()
    await server.call.start("run-1")
    await executor.until_asked(1)
    server.terminate()
    if ended_by == "second-sigterm":
        await server.call.not_serving()
        server.terminate()
    assert await server.ended(SOON_SECONDS) == CUT_OFF
    assert "need repair" in server.log.read_text(), "the operator is told"
    executor.after = pass_by

    await server.start()
    settled = await server.call.settled("run-1")
    assert settled.status == run_pb2.RUN_STATUS_REPAIR_NEEDED and settled.done
    assert [effect.effect_id for effect in settled.open_effects] == ["c1.1"]
    assert list(executor.effects.values()) == [1]
