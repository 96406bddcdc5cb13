"""What surrounds a server: probes without key and certificate, a full journal, signals to read files again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright._gen.runwright.v1.runtime_service_pb2_grpc import RuntimeServiceStub

from tests.e2e.client import error_info
from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor
from tests.e2e.packages import LOOK, one_call, package, says
from tests.e2e.server_process import Server
from tests.e2e.test_keys_and_tls import runwright
from tests.transport.known import certificate

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
READINESS = ("", "runwright.v1.RuntimeService", "runwright.callback.v1.CallbackRegistryService")
LIVENESS = "runwright.liveness"
PROBED = ("--health-listen", "127.0.0.1:0")
SECONDS = 20.0


def probed_address(server: Server) -> str:
    """Where the log says that health is served."""
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    return str([line["address"] for line in lines if line["message"] == "health served"][-1])


async def status(channel: grpc.aio.Channel, service: str) -> int:
    request = health_pb2.HealthCheckRequest(service=service)
    return (await health_pb2_grpc.HealthStub(channel).Check(request, timeout=SECONDS)).status


async def until_status(channel: grpc.aio.Channel, wanted: int) -> None:
    """Returns once readiness is told so."""
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=SECONDS)
    async for answer in watch:
        if answer.status == wanted:
            watch.cancel()
            return


async def test_probes_need_neither_key_nor_certificate_on_a_port_of_their_own(
    make_server: MakeServer, tmp_path: Path
) -> None:
    keys = str(tmp_path / "keys.json")
    cert, key_file = certificate(tmp_path / "tls", "localhost")
    await runwright("keys", "add", "billing", "--file", keys, "--role", "caller")
    guarded = ("--keys", keys, "--tls-cert", str(cert), "--tls-key", str(key_file), "--tls-client-ca", str(cert))
    server = make_server(one_call("one", LOOK), options=(*guarded, *PROBED))
    await server.start()

    async with grpc.aio.insecure_channel(probed_address(server)) as channel:
        statuses = {service: await status(channel, service) for service in (*READINESS, LIVENESS)}
        with pytest.raises(grpc.aio.AioRpcError) as nothing_else:
            await RuntimeServiceStub(channel).GetServerInfo(pb.GetServerInfoRequest(), timeout=SECONDS)
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await status(channel, "nobody")

    assert set(statuses.values()) == {SERVING}
    assert nothing_else.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
    server.terminate()
    assert await server.ended() == 0


async def test_a_full_journal_is_not_ready_and_alive_though_no_run_is_open(
    make_server: MakeServer, executor: Executor
) -> None:
    words = package("words", [says("that was much")])
    server = make_server(words, options=("--journal-max-bytes", "1000000", *PROBED))
    await server.start()
    number = 0
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        while number < 40:
            await server.call.start(f"run-{number}", f"{number}".ljust(60_000, "."))
            await server.call.settled(f"run-{number}")
            number += 1
    assert error_info(refused.value).reason == "JOURNAL_FULL"

    async with grpc.aio.insecure_channel(probed_address(server)) as channel:
        await until_status(channel, NOT_SERVING)
        assert {await status(channel, service) for service in READINESS} == {NOT_SERVING}
        assert await status(channel, LIVENESS) == SERVING
    assert await status(server.call.channel, LIVENESS) == SERVING
    assert await status(server.call.channel, "") == NOT_SERVING
    server.terminate()
    await server.ended()

    server.options = [*PROBED]
    await server.start()
    await until_status(server.call.channel, SERVING)


async def test_a_server_that_starts_with_a_full_journal_is_not_ready_before_anybody_is_refused(
    make_server: MakeServer, executor: Executor
) -> None:
    server = make_server(package("words", [says("that was much")]))
    await server.start()
    for number in range(3):
        await server.call.start(f"run-{number}", f"{number}".ljust(60_000, "."))
        await server.call.settled(f"run-{number}")
    server.terminate()
    await server.ended()

    server.options = ["--journal-max-bytes", "131072"]
    await server.start()

    await until_status(server.call.channel, NOT_SERVING)
    assert await status(server.call.channel, LIVENESS) == SERVING


async def test_sighup_reads_keys_and_certificates_again(make_server: MakeServer, tmp_path: Path) -> None:
    keys = str(tmp_path / "keys.json")
    cert, key_file = certificate(tmp_path / "tls", "localhost")
    other, other_key = certificate(tmp_path / "other", "localhost")
    _, key, _ = await runwright("keys", "add", "billing", "--file", keys, "--role", "caller")
    guarded = ("--keys", keys, "--tls-cert", str(cert), "--tls-key", str(key_file))
    server = make_server(one_call("one", LOOK), options=guarded)
    await server.start()
    old = cert.stat()
    cert.write_bytes(other.read_bytes())
    key_file.write_bytes(other_key.read_bytes())
    os.utime(cert, ns=(old.st_atime_ns, old.st_mtime_ns))

    os.kill(server.pid, signal.SIGHUP)

    at = ("--server", f"localhost:{server.address.rpartition(':')[2]}", "--tls-ca", str(other))
    async with asyncio.timeout(SECONDS):  # by the new certificate and the same key
        while "RUN_NOT_FOUND" not in (await runwright(*at, "get", "nobody", RUNWRIGHT_KEY=key.strip()))[2]:
            pass
    assert "keys file read again" in server.log.read_text()
    assert server.is_running
