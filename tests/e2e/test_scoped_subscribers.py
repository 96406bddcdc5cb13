"""Readers of four scopes, cut again and again while the server is killed under them, have what is listed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import grpc
import pytest
from runwright._gen.runwright.v1 import event_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb

from tests.e2e.client import SECONDS, answer, error_info
from tests.e2e.conftest import SOAK, MakeServer
from tests.e2e.executor import Executor, StartCaller
from tests.e2e.packages import LOOK, one_call
from tests.e2e.server_process import Server

CUTS = 100
RUNS = 6
ROUNDS = 8
ENDS = pb.EventFilter(terminal_only=True)
STARTS_AND_ENDS = pb.EventFilter(kinds=[event_pb2.EVENT_KIND_RUN_STARTED, event_pb2.EVENT_KIND_RUN_COMPLETED])
STREAMS: Mapping[str, dict[str, Any]] = {
    "a run": {"scope": pb.StreamScope(run_id="run-0")},
    "a run's start and end": {"scope": pb.StreamScope(run_id="run-0"), "filter": STARTS_AND_ENDS},
    "a session": {"scope": pb.StreamScope(session_id="s1")},
    "a session's ends": {"scope": pb.StreamScope(session_id="s1"), "filter": ENDS},
    "an agent": {"scope": pb.StreamScope(agent_id="clerk")},
    "an agent in a session": {
        "scope": pb.StreamScope(agent_id="clerk"),
        "filter": pb.EventFilter(session_ids=["s0"]),
    },
    "everything": {"scope": pb.StreamScope(all=pb.AllRuns())},
    "every end": {"scope": pb.StreamScope(all=pb.AllRuns()), "filter": ENDS},
}


class ScopedReader:
    """Reads one stream over cuts and lives of the server until it is told how much there is."""

    def __init__(self, server: Server, stream: dict[str, Any], schedule: random.Random) -> None:
        self.frames: list[event_pb2.EventFrame] = []
        self.cuts = 0
        self.last = 0  # the position of the last event there will be; 0 while that is not known
        self._cursor = ""
        self._server = server
        self._stream = stream
        self._schedule = schedule

    async def read(self) -> None:
        """Returns once it has been cut often enough and has seen the last event."""
        while not (self.last and self.frames and self.frames[-1].position >= self.last and self.cuts >= CUTS):
            life = self._server.life
            try:
                await self._read_once()
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                    continue  # cut while nothing happened
                assert error.code() is grpc.StatusCode.UNAVAILABLE, (error, error_info(error))
                await self._server.next_life(life)

    async def _read_once(self) -> None:
        left = self._schedule.choice((0, 1, 1, 2, 5, 20)) if self.cuts < CUTS else 1000
        request = pb.SubscribeRequest(**self._stream, after_cursor=self._cursor)
        call = self._server.call.stub.Subscribe(request, timeout=0.05 if self.cuts < CUTS else 0.5)
        self.cuts += 1
        try:
            async for response in call:
                for frame in response.frames:
                    self._cursor = frame.cursor
                    if frame.WhichOneof("item") == "event":
                        self.frames.append(frame)
                    if left == 0:
                        return
                    left -= 1
        finally:
            call.cancel()


async def listed(server: Server, stream: dict[str, Any]) -> list[event_pb2.EventFrame]:
    """The whole stream, page by page."""
    frames: list[event_pb2.EventFrame] = []
    request = pb.ListEventsRequest(**stream, page_size=50)
    while True:
        page = await server.call.stub.ListEvents(request, timeout=SECONDS)
        frames += page.frames
        if not page.next_page_token:
            return frames
        request.page_token = page.next_page_token


@pytest.mark.parametrize("seed", range(20 if SOAK else 1))
async def test_readers_of_four_scopes_have_what_is_listed(
    make_server: MakeServer, executor: Executor, seed: int
) -> None:
    server = make_server(one_call("long", LOOK, times=ROUNDS))
    await server.start()
    killed_in = [("run-2", "c3.1"), ("run-5", "c6.1")]

    async def kill(requested: StartCaller) -> None:
        await asyncio.sleep(0.02)
        if killed_in and (requested.run_id, requested.call_id) == killed_in[0] and server.is_running:
            killed_in.pop(0)
            server.kill()
            await asyncio.Event().wait()

    executor.before = kill
    readers = {name: ScopedReader(server, stream, random.Random(f"{seed} {name}")) for name, stream in STREAMS.items()}
    for number in range(RUNS):
        await server.call.start(f"run-{number}", session_id=f"s{number % 2}")
    reading = [asyncio.create_task(reader.read()) for reader in readers.values()]
    for _ in range(2):
        await server.ended()
        await server.start()
    for number in range(RUNS):
        answer(await server.call.settled(f"run-{number}"))

    lists = {name: await listed(server, stream) for name, stream in STREAMS.items()}
    for name, reader in readers.items():
        reader.last = lists[name][-1].position
    await asyncio.wait_for(asyncio.gather(*reading), 30)

    for name, reader in readers.items():
        assert reader.frames == lists[name], name
    everything = [frame.position for frame in lists["everything"]]
    assert everything == list(range(1, len(everything) + 1))
    assert killed_in == []
    runs = (await server.call.stub.ListRuns(pb.ListRunsRequest(), timeout=SECONDS)).runs
    assert [run.run_id for run in runs] == [f"run-{number}" for number in range(RUNS - 1, -1, -1)]
    assert {run.status for run in runs} == {run_pb2.RUN_STATUS_COMPLETED}
