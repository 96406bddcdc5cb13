"""Peers that never read and requests that never end: nobody's shutdown, memory or health depends on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import psutil
import pytest
from grpc_health.v1 import health_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb

from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor, Gate
from tests.e2e.packages import LOOK, one_call
from tests.e2e.server_process import Server
from tests.transport.raw_http2 import RawConnection, Stream, message, raw_connection

SERVICE = "/runwright.v1.RuntimeService/"
WATCH = "/grpc.health.v1.Health/Watch"
MIB = 1024 * 1024
GRACE = 1.0
# A bound on what a hang looks like; the promise of a second is a figure of the server's own, kept by its constants.
END_SECONDS = GRACE + 10.0


def begin_watch(connection: RawConnection) -> Stream:
    return connection.call(WATCH, body=message(b""))


def begin_subscribe(connection: RawConnection) -> Stream:
    request = pb.SubscribeRequest(scope=pb.StreamScope(run_id="run-1"), view=pb.EVENT_VIEW_FULL)
    return connection.call(SERVICE + "Subscribe", body=message(request.SerializeToString()))


def begin_list(connection: RawConnection) -> Stream:
    request = pb.ListEventsRequest(scope=pb.StreamScope(run_id="run-1"), view=pb.EVENT_VIEW_FULL)
    return connection.call(SERVICE + "ListEvents", body=message(request.SerializeToString()))


def begin_export(connection: RawConnection) -> Stream:
    request = pb.ExportRunRequest(run_id="run-1")
    return connection.call(SERVICE + "ExportRun", body=message(request.SerializeToString()))


def begin_half(connection: RawConnection) -> Stream:
    stream = connection.call(SERVICE + "StartRun")
    connection.send(stream, message(b"x" * 100, announced=1000))
    return stream


def begin_reflection(connection: RawConnection) -> Stream:
    return connection.call("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")


@pytest.fixture
async def server(make_server: MakeServer, executor: Executor) -> AsyncIterator[Server]:
    """A server with a run that waits for its call."""
    executor.before = gate = Gate()
    served = make_server(one_call("looking", LOOK), options=("--grace", str(GRACE)))
    await served.start()
    await served.call.start("run-1", "x" * 60_000)
    await executor.until_asked(1)
    yield served
    gate.open()


def port_of(server: Server) -> int:
    return int(server.address.rpartition(":")[2])


@pytest.mark.parametrize(
    "begin", [begin_watch, begin_subscribe, begin_list, begin_export, begin_half, begin_reflection, None]
)
async def test_a_peer_that_does_nothing_more_does_not_hold_up_a_stop(
    server: Server, begin: Callable[[RawConnection], Stream] | None
) -> None:
    async with raw_connection(port_of(server), window=0) as connection:
        if begin is not None:
            for _ in range(5):
                begin(connection)
        await server.call.snapshot("run-1")
        await connection.sent()

        server.terminate()

        assert await server.ended(END_SECONDS) == 0
        assert "need repair" not in server.log.read_text()


async def test_a_watcher_that_does_not_read_does_not_keep_the_others_from_their_news(server: Server) -> None:
    async with raw_connection(port_of(server), window=0) as connection:
        begin_watch(connection)
        await connection.sent()
        watch = server.call.health.Watch(health_pb2.HealthCheckRequest())
        first = await watch.read()

        server.terminate()

        assert first.status == health_pb2.HealthCheckResponse.SERVING
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        await server.ended(END_SECONDS)


async def test_floods_of_halves_and_unread_answers_take_a_bounded_part_of_memory(server: Server) -> None:
    process = psutil.Process(server.pid)
    before = process.memory_info().rss
    most = 0
    part = message(b"x" * 250_000, announced=260_000)
    async with AsyncExitStack() as open_ones:
        halves = []
        for _ in range(4):
            connection = await open_ones.enter_async_context(raw_connection(port_of(server)))
            calls = [connection.call(SERVICE + "StartRun") for _ in range(200)]
            halves += [asyncio.create_task(connection.send_all(call, part)) for call in calls]
        unread = await open_ones.enter_async_context(raw_connection(port_of(server), window=0))
        for begin in (begin_list, begin_subscribe, begin_export, begin_watch):
            for _ in range(300):
                begin(unread)
        for number in range(20):
            most = max(most, process.memory_info().rss)
            await server.call.start(f"beside-{number}")
            await server.call.snapshot(f"beside-{number}")
        for sending in halves:
            sending.cancel()
        most = max(most, process.memory_info().rss)
        server.terminate()
        assert await server.ended(END_SECONDS) == 0

    assert most - before < 200 * MIB
