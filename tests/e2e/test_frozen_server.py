"""A server that answers nothing and closes nothing, as a machine without power does."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from runwright._gen.runwright.v1 import event_pb2
from runwright.cli import client
from runwright.cli.client import Client
from runwright.cli.connection import Connection
from runwright.cli.follow import follow

from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor, Gate
from tests.e2e.packages import LOOK, one_call

SECONDS = 30.0


async def test_a_watcher_finds_out_and_goes_on_when_the_server_does(
    make_server: MakeServer, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "KEEPALIVE_MS", 500)
    executor.before = gate = Gate()
    server = make_server(one_call("one", LOOK))
    await server.start()
    await server.call.start("r1")
    await executor.until_asked(1)
    calls = Client(Connection(server.address))
    notices: list[str] = []
    loop, found_out = asyncio.get_running_loop(), asyncio.Event()

    def noted(text: str) -> None:
        notices.append(text)
        os.kill(server.pid, signal.SIGCONT)
        loop.call_soon_threadsafe(found_out.set)

    def watched() -> list[event_pb2.EventFrame]:
        frames = follow(lambda after: calls.subscribe("r1", after, deltas=False), "", notice=noted)
        first = [next(frames)]
        os.kill(server.pid, signal.SIGSTOP)
        return first + list(frames)

    watching = asyncio.create_task(asyncio.to_thread(watched))
    async with asyncio.timeout(SECONDS):
        await found_out.wait()
        gate.open()
        frames = await watching

    events = [frame.event.seq for frame in frames if frame.HasField("event")]
    assert events == list(range(1, len(events) + 1))
    assert frames[-1].event.kind == event_pb2.EVENT_KIND_RUN_COMPLETED
    assert notices[0].startswith("connection lost (UNAVAILABLE)")
