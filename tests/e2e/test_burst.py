"""Many calls that wait for one executor: each is made once, and none is unknown or given up."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as registry_pb
from runwright._gen.runwright.callback.v1 import tool_executor_service_pb2 as pb
from runwright._gen.runwright.callback.v1.callback_registry_service_pb2_grpc import CallbackRegistryServiceStub
from runwright._gen.runwright.callback.v1.tool_executor_service_pb2_grpc import (
    ToolExecutorServiceServicer,
    add_ToolExecutorServiceServicer_to_server,
)
from runwright._gen.runwright.v1 import run_pb2

from tests.conformance.languages import LANGUAGES
from tests.conformance.programs import Program
from tests.e2e.client import SECONDS, answer
from tests.e2e.conftest import SOAK, MakeServer
from tests.e2e.executor import EXECUTOR, Executor
from tests.e2e.packages import BOOK, LOOK, Spec, one_call
from tests.e2e.server_process import Server

AT_ONCE = 100  # requests of the test's own client
CALLS = 200
PLACES = 8  # what an executor that says nothing gets at once
BURSTS = [(CALLS, BOOK, "grpcio"), (CALLS, BOOK, "python")]
if SOAK:
    BURSTS = [
        (count, tool, made_with)
        for count, tool in ((3_000, BOOK), (10_000, LOOK))
        for made_with in ("grpcio", *LANGUAGES)
    ]


class ThreadedExecutor(ToolExecutorServiceServicer):
    """The usual executor in Python: ten threads, one for each call, and no word of how many it takes."""

    def __init__(self) -> None:
        self.effects: Counter[str] = Counter()
        self.running = self.most_at_once = 0
        self._lock = threading.Lock()

    def ExecuteTool(self, request: pb.ExecuteToolRequest, context: Any) -> pb.ExecuteToolResponse:
        """Takes 5 ms."""
        with self._lock:
            self.running += 1
            self.most_at_once = max(self.most_at_once, self.running)
        time.sleep(0.005)
        with self._lock:
            self.effects[request.idempotency_key] += 1
            self.running -= 1
        return pb.ExecuteToolResponse(result=pb.ToolResult(data=b'"made"'))


@asynccontextmanager
async def threaded(server: Server) -> AsyncIterator[ThreadedExecutor]:
    """One that is registered while the block runs."""
    executor = ThreadedExecutor()
    serving = grpc.server(ThreadPoolExecutor(10))
    add_ToolExecutorServiceServicer_to_server(executor, serving)
    port = serving.add_insecure_port("127.0.0.1:0")
    serving.start()
    spec = registry_pb.CallbackSpec(callback_id="burst", executor=EXECUTOR, address=f"127.0.0.1:{port}")
    request = registry_pb.RegisterCallbackRequest(spec=spec, lease=Duration(seconds=3600))
    await CallbackRegistryServiceStub(server.call.channel).RegisterCallback(request, timeout=SECONDS)
    try:
        yield executor
    finally:
        serving.stop(0)


@asynccontextmanager
async def executing(made_with: str, server: Server, tool: Spec, folder: Path) -> AsyncIterator[list[Any]]:
    """A registered executor that a library of ours or gRPC's own makes, with default settings; the calls it had."""
    calls: list[Any] = []
    if made_with == "grpcio":
        async with threaded(server) as executor:
            yield calls
        calls += executor.effects.elements()
        return
    language = LANGUAGES[made_with]
    if missing := language.missing() or await language.build():
        pytest.skip(missing)
    program = Program(language, folder / f"{made_with}.log")
    await program.ask("connect", {"address": server.address})
    register = {"executor": EXECUTOR, "callback_id": "burst"}
    tools = {tool["name"]: {"returns": "made"}}
    await program.ask("serve_tools", {"name": "t", "tools": tools, "register": register})
    try:
        yield calls
        calls += [call["idempotency_key"] for call in await program.ask("calls", {"name": "t"})]
    finally:
        await program.close()


async def in_batches(server: Server, what: Any, run_ids: list[str]) -> list[Any]:
    """What comes of a request for each run."""
    found = []
    for first in range(0, len(run_ids), AT_ONCE):
        found += await asyncio.gather(*(what(run_id) for run_id in run_ids[first : first + AT_ONCE]))
    return found


@pytest.mark.timeout(900 if SOAK else 120)
@pytest.mark.parametrize(
    ("count", "tool", "made_with"), BURSTS, ids=lambda value: str(value["name"] if isinstance(value, dict) else value)
)
async def test_waiting_calls_meet_an_executor_with_default_settings(
    make_server: MakeServer, tmp_path: Path, count: int, tool: Spec, made_with: str
) -> None:
    server = make_server(one_call("one", tool), executors={})
    await server.start()
    run_ids = [f"run-{number}" for number in range(count)]
    await in_batches(server, server.call.start, run_ids)

    async with executing(made_with, server, tool, tmp_path) as calls:
        settled = await in_batches(server, server.call.settled, run_ids)

    assert Counter(run.status for run in settled) == {run_pb2.RUN_STATUS_COMPLETED: count}
    assert {answer(run) for run in settled} == {'done: "made"'}
    assert sorted(Counter(calls).values()) == [1] * count


async def test_a_kill_in_a_burst_makes_no_more_calls_unknown_than_the_executor_has_places(
    make_server: MakeServer,
) -> None:
    server = make_server(one_call("one", BOOK), executors={})
    await server.start()
    run_ids = [f"run-{number}" for number in range(CALLS)]
    await in_batches(server, server.call.start, run_ids)

    async with threaded(server) as executor:
        async with asyncio.timeout(SECONDS):
            while len(executor.effects) < CALLS // 2:  # noqa: ASYNC110 - its threads tell nobody
                await asyncio.sleep(0.001)
        await server.restart()
        settled = await in_batches(server, server.call.settled, run_ids)

    found = Counter(run.status for run in settled)
    assert set(found) <= {run_pb2.RUN_STATUS_COMPLETED, run_pb2.RUN_STATUS_REPAIR_NEEDED}
    assert found[run_pb2.RUN_STATUS_REPAIR_NEEDED] <= PLACES
    assert executor.most_at_once <= 2 * PLACES, "calls of the killed server beside those of the next"
    assert set(executor.effects.values()) == {1}
    assert found[run_pb2.RUN_STATUS_COMPLETED] + PLACES >= CALLS


async def test_a_burst_on_a_configured_executor_is_bounded_as_well(make_server: MakeServer, executor: Executor) -> None:
    most = running = 0

    async def count(_: object) -> None:
        nonlocal most, running
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    executor.before = count
    server = make_server(one_call("one", BOOK), options=("--executor-calls", "3"))
    await server.start()
    run_ids = [f"run-{number}" for number in range(CALLS)]
    await in_batches(server, server.call.start, run_ids)
    settled = await in_batches(server, server.call.settled, run_ids)

    assert {run.status for run in settled} == {run_pb2.RUN_STATUS_COMPLETED}
    assert most <= 3
