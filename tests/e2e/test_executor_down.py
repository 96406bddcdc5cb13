"""An executor that is not there: the run says what it waits for, over restarts, and goes on when it comes."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator

import pytest
from runwright._gen.runwright.v1 import run_pb2

from tests.e2e.client import answer
from tests.e2e.conftest import MakeServer
from tests.e2e.executor import EXECUTOR, running_executor
from tests.e2e.packages import BOOK, LOOK, Spec, one_call
from tests.e2e.reader import Reader
from tests.e2e.server_process import Server


@pytest.fixture
def reserved() -> Iterator[socket.socket]:
    """A port at which nobody listens, bound so that nobody else gets it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound


async def assert_waits_for_executor(server: Server, run_id: str) -> None:
    """The run is parked and says why."""
    run = await server.call.snapshot(run_id)
    assert run.status == run_pb2.RUN_STATUS_WAITING
    (wait,) = run.waiting_on
    assert (wait.kind, wait.effect_id, wait.subject) == (run_pb2.WAIT_KIND_EXECUTOR, "c1.1", EXECUTOR)
    assert EXECUTOR in wait.unblocked_by


@pytest.mark.parametrize("tool", [BOOK, LOOK], ids=["not-idempotent", "idempotent"])
@pytest.mark.parametrize("stopped_by", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "terminated"])
async def test_a_run_waits_for_its_executor_over_a_restart(
    make_server: MakeServer, reserved: socket.socket, tool: Spec, stopped_by: signal.Signals
) -> None:
    port = reserved.getsockname()[1]
    server = make_server(one_call("one", tool), executors={EXECUTOR: f"127.0.0.1:{port}"})
    await server.start()
    await server.call.start("run-1")
    reader = Reader(server, "run-1", cuts=[7])  # up to RETRY_SCHEDULED: no intent, so nothing is lost
    await reader.read_once()
    assert reader.frames[-1].event.HasField("retry_scheduled")
    await assert_waits_for_executor(server, "run-1")

    if stopped_by is signal.SIGKILL:
        server.kill()
    else:
        server.terminate()
    assert await server.ended() == (0 if stopped_by is signal.SIGTERM else -signal.SIGKILL)
    await server.start()
    await assert_waits_for_executor(server, "run-1")
    assert len(await server.call.frames("run-1")) == len(reader.frames), "waiting writes nothing"

    reserved.close()
    async with running_executor(port) as late:
        ended = await server.call.settled("run-1")
        assert tool["name"] in answer(ended)
        assert not ended.waiting_on
        assert not ended.open_effects
        assert [(requested.attempt, late.effects[requested.key]) for requested in late.requested] == [(1, 1)]
