"""A server is killed in the middle of an answer: the reader comes back and hears the new attempt from its beginning."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from runwright._gen.runwright.v1 import event_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb

from tests.e2e.client import SECONDS, answer
from tests.e2e.executor import EXECUTOR, Executor
from tests.e2e.killing_provider import HALF
from tests.e2e.packages import package, write
from tests.e2e.server_process import Server

SPEC = package("spoken", [{"chunks": ["Half of the ", "answer, ", "then the rest."]}], adapter="killing")
DELTA = event_pb2.EVENT_KIND_MODEL_STREAM_DELTA


@pytest.fixture
async def server(tmp_path: Path, executor: Executor) -> AsyncIterator[Server]:
    """A server whose model can be held in the middle of an answer."""
    calls = tmp_path / "model-calls"
    calls.mkdir()
    spec = write(tmp_path, SPEC)
    program = ("tests.e2e.server_main",)
    known = {EXECUTOR: executor.address}
    server = Server(tmp_path / "data", [spec], known, "--model-calls", str(calls), program=program)
    yield server
    await server.close()
    assert server.foreign_output() == []


async def listen(server: Server, run_id: str, cursor: str) -> AsyncIterator[event_pb2.EventFrame]:
    """Every frame after the cursor, until the end or the server's death."""
    request = pb.SubscribeRequest(scope=pb.StreamScope(run_id=run_id), after_cursor=cursor, include_deltas=True)
    try:
        async for response in server.call.stub.Subscribe(request, timeout=SECONDS):
            for frame in response.frames:
                yield frame
    except grpc.aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.UNAVAILABLE, error


async def test_a_new_attempt_is_heard_from_its_beginning(server: Server) -> None:
    await server.start()
    await server.call.start("run-1", "hold in model calls up to 2")
    frames: list[event_pb2.EventFrame] = []
    for _ in range(2):
        async for frame in listen(server, "run-1", frames[-1].cursor if frames else ""):
            frames.append(frame)
            if frame.event.kind == DELTA:
                server.kill()
        await server.ended()
        await server.start()
    async with asyncio.timeout(SECONDS):
        frames += [frame async for frame in listen(server, "run-1", frames[-1].cursor)]

    said = answer(await server.call.settled("run-1"))
    assert said.startswith(HALF) and len(said) > len(HALF)
    heard = dict.fromkeys((1, 2, 3), b"")
    for frame in frames:
        if frame.event.kind == DELTA:
            delta = frame.event.model_stream_delta
            assert delta.offset == len(heard[frame.event.attempt])
            heard[frame.event.attempt] += delta.text.encode()
    assert heard[1] == heard[2] == HALF.encode()
    assert said.encode().startswith(heard[3])
    durable = [frame for frame in frames if frame.WhichOneof("item") == "event" and frame.event.kind != DELTA]
    assert durable == await server.call.frames("run-1")
    attempts = [f.event.attempt for f in durable if f.event.HasField("model_attempt_started")]
    assert attempts == [1, 2, 3]
