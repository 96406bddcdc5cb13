"""StartRun again and again: one run, whatever happens in between; another request under its id is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from runwright._gen.runwright.v1 import package_pb2, run_pb2
from runwright._gen.runwright.v1.content_pb2 import InputPart

from tests.e2e.client import Caller, answer, error_info, run_request
from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor, Gate
from tests.e2e.packages import LOOK, one_call

TIMES = 100
REQUEST = run_request(
    "run-1", "the first words", session_id="session-1", turn_id="turn-1", labels={"colour": "red"}, budget={"rounds": 5}
)
CHANGES: dict[str, dict[str, Any]] = {
    "input": {"input": [InputPart(text="other words")]},
    "session_id": {"session_id": "session-2"},
    "turn_id": {"turn_id": "turn-2"},
    "agent_id": {"agent_id": "clerk"},
    "package": {"package": run_pb2.PackageSelector(package_id="one")},
    "budget": {"budget": package_pb2.Budget(rounds=4)},
    "labels": {"labels": {"colour": "blue"}},
}


async def send_many(address: str) -> tuple[int, set[str]]:
    """Sends the request a hundred times at once over four connections: how often it created, and which runs."""
    callers = [Caller(address) for _ in range(4)]
    try:
        responses = await asyncio.gather(*(callers[n % 4].send(REQUEST) for n in range(TIMES)))
    finally:
        for caller in callers:
            await caller.channel.close()
    return sum(response.created for response in responses), {
        f"{response.run.run_id} {response.run.started_at.ToJsonString()}" for response in responses
    }


async def test_a_request_sent_many_times_is_one_run_over_a_kill_and_after_the_end(
    make_server: MakeServer, executor: Executor
) -> None:
    executor.before = gate = Gate()
    server = make_server(one_call("one", LOOK))
    await server.start()
    created, runs = await send_many(server.address)
    assert (created, len(runs)) == (1, 1)
    await executor.until_asked(1)

    await server.restart()
    assert await send_many(server.address) == (0, runs)

    gate.open()
    ended = await server.call.settled("run-1")
    assert await send_many(server.address) == (0, runs)
    again = await server.call.send(REQUEST)
    assert answer(again.run) == answer(ended)
    assert {requested.run_id for requested in executor.requested} == {"run-1"}


@pytest.mark.parametrize("moment", ["while-it-runs", "after-a-kill", "after-its-end"])
async def test_another_request_under_the_same_id_is_refused_and_the_field_named(
    make_server: MakeServer, executor: Executor, moment: str
) -> None:
    executor.before = gate = Gate()
    server = make_server(one_call("one", LOOK))
    await server.start()
    await server.call.send(REQUEST)
    await executor.until_asked(1)
    if moment == "after-a-kill":
        await server.restart()
    if moment == "after-its-end":
        gate.open()
        await server.call.settled("run-1")
    before = await server.call.frames("run-1")

    for field, change in CHANGES.items():
        changed = run_pb2.RunRequest()
        changed.CopyFrom(REQUEST)
        changed.ClearField(field)  # type: ignore[arg-type]
        changed.MergeFrom(run_pb2.RunRequest(**change))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await server.call.send(changed)
        info = error_info(refused.value)
        assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS
        assert (info.domain, info.reason) == ("runwright", "RUN_ID_CONFLICT")
        assert dict(info.metadata) == {"run_id": "run-1", "fields": field}
    if moment == "while-it-runs":
        assert await server.call.frames("run-1") == before, "a refused request leaves no trace"
