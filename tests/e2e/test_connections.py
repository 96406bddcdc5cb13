"""Behind load balancers: connections that are ended by age, peers that froze, and clients that ping too much."""

from __future__ import annotations

import asyncio
import os
import signal
import struct
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.bootstrap.serving import connection_limits
from runwright.cli.serve import UNUSABLE
from runwright.settings import Settings
from runwright.transport.connections import ConnectionLimits

from tests.e2e.client import Caller
from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor, Gate
from tests.e2e.packages import LOOK, one_call
from tests.e2e.reader import Reader, assert_whole
from tests.e2e.scraping import WITH_METRICS, Scrape, scrape
from tests.e2e.server_process import Server
from tests.e2e.test_keys_and_tls import runwright

SHORT_LIVED = ("--connection-age", "0.3", "--connection-age-grace", "0.1")
CUTS = 3
CAP_SECONDS = 40.0
SUBSCRIBE = "runwright.v1.RuntimeService/Subscribe"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PING, GOAWAY, ENHANCE_YOUR_CALM = 6, 7, 11


async def scraped_until(server: Server, holds: Callable[[Scrape], bool]) -> None:
    """Returns once a scrape says so."""
    async with asyncio.timeout(CAP_SECONDS):
        while not holds(await scrape(server)):
            pass


@asynccontextmanager
async def watching(server: Server, run_id: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`runwright watch` as a process of its own."""
    program = (sys.executable, "-m", "runwright", "--server", server.address, "watch", run_id)
    process = await asyncio.create_subprocess_exec(
        *program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_subscriber_whose_connections_are_ended_misses_nothing(
    make_server: MakeServer, executor: Executor
) -> None:
    executor.before = gate = Gate()
    server = make_server(one_call("looking", LOOK, times=3), options=SHORT_LIVED)
    await server.start()
    await server.call.start("run-1")
    await executor.until_asked(1)
    reader = Reader(server, "run-1")
    cuts = 0

    async with asyncio.timeout(CAP_SECONDS):
        while True:
            try:
                assert await reader.read_once()
                break
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.UNAVAILABLE, error
                cuts += 1
                if cuts == CUTS:
                    gate.open()

    assert cuts >= CUTS
    assert_whole(reader.frames, await server.call.frames("run-1"))


async def test_watch_comes_back_when_its_connection_is_ended(make_server: MakeServer, executor: Executor) -> None:
    executor.before = gate = Gate()
    server = make_server(one_call("looking", LOOK), options=(*SHORT_LIVED, *WITH_METRICS))
    await server.start()
    await server.call.start("run-1")
    await executor.until_asked(1)

    async with watching(server, "run-1") as process:
        await scraped_until(
            server, lambda seen: seen.total("runwright_grpc_call_seconds_count", method=SUBSCRIBE) >= CUTS
        )
        gate.open()
        async with asyncio.timeout(CAP_SECONDS):
            out, _ = await process.communicate()

    assert process.returncode == 0
    assert "done: " in out.decode()
    assert "look" in out.decode()


async def test_a_frozen_client_is_found_and_let_go(make_server: MakeServer, executor: Executor) -> None:
    executor.before = gate = Gate()
    options = ("--keepalive", "0.5", "--keepalive-timeout", "0.5", *WITH_METRICS)
    server = make_server(one_call("looking", LOOK), options=options)
    await server.start()
    await server.call.start("run-1")
    await executor.until_asked(1)

    async with watching(server, "run-1") as process:
        await scraped_until(server, lambda seen: seen.value("runwright_subscribers") == 1)
        os.kill(process.pid, signal.SIGSTOP)
        try:
            await scraped_until(server, lambda seen: seen.value("runwright_subscribers") == 0)
        finally:
            os.kill(process.pid, signal.SIGCONT)

    gate.open()
    await server.call.settled("run-1")


async def test_a_client_that_floods_pings_is_told_to_calm_down_and_nobody_else(
    make_server: MakeServer, executor: Executor
) -> None:
    server = make_server(one_call("looking", LOOK))
    await server.start()
    stream = server.call.stub.Subscribe(pb.SubscribeRequest(scope=pb.StreamScope(all=pb.AllRuns())))
    await stream.read()
    host, _, port = server.address.rpartition(":")
    incoming, outgoing = await asyncio.open_connection(host, int(port))

    outgoing.write(PREFACE + frame(4, b"") + frame(PING, b"12345678") * 50)
    async with asyncio.timeout(CAP_SECONDS):
        code, debug = await goaway(incoming)
    outgoing.close()

    assert (code, debug) == (ENHANCE_YOUR_CALM, b"too_many_pings")
    await server.call.start("run-1")
    assert await stream.read() is not grpc.aio.EOF, "a stream on another connection goes on"
    stream.cancel()


def frame(kind: int, body: bytes) -> bytes:
    """An HTTP/2 frame of the connection itself."""
    return struct.pack(">I", len(body))[1:] + bytes([kind, 0]) + bytes(4) + body


async def goaway(incoming: asyncio.StreamReader) -> tuple[int, bytes]:
    """Code and text of the GOAWAY that ends the connection."""
    while True:
        head = await incoming.readexactly(9)
        body = await incoming.readexactly(int.from_bytes(head[:3]))
        if head[3] == GOAWAY:
            return int.from_bytes(body[4:8]), body[8:]


@pytest.mark.parametrize(
    ("option", "value"), [("--connection-age", "0"), ("--max-concurrent-streams", "0"), ("--keepalive", "never")]
)
async def test_a_bound_that_makes_no_sense_is_refused(make_server: MakeServer, option: str, value: str) -> None:
    server = make_server(one_call("looking", LOOK))

    code, _, message = await runwright(*server.arguments()[2:], option, value)

    assert code == UNUSABLE
    assert f"{option} must be " in message


def test_the_settings_and_the_server_mean_the_same_without_a_word() -> None:
    assert connection_limits(Settings(data=Path("data"))) == ConnectionLimits()


async def test_one_connection_carries_as_many_streams_as_it_may(make_server: MakeServer, executor: Executor) -> None:
    executor.before = gate = Gate()
    server = make_server(one_call("looking", LOOK), options=("--max-concurrent-streams", "2"))
    await server.start()
    await server.call.start("run-1")
    request = pb.SubscribeRequest(scope=pb.StreamScope(run_id="run-1"))
    first, second, third = (server.call.stub.Subscribe(request) for _ in range(3))
    await asyncio.gather(first.read(), second.read())
    waiting = asyncio.ensure_future(third.read())
    other = Caller(server.address)
    await other.snapshot("run-1")

    assert not waiting.done(), "it waits in its client, while another connection is served"
    first.cancel()
    async with asyncio.timeout(CAP_SECONDS):
        assert (await waiting).frames

    await other.channel.close()
    for stream in (second, third):
        stream.cancel()
    gate.open()
