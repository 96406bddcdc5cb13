"""A server that shows a certificate to the dispatcher it dials, and reads another one on SIGHUP."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as pb
from runwright._gen.runwright.callback.v1.callback_registry_service_pb2_grpc import CallbackRegistryServiceStub

from tests.e2e.client import SECONDS
from tests.e2e.conftest import MakeServer
from tests.e2e.server_process import Server
from tests.e2e.test_approval_kills import DENY, asking, decide, kill_and_start, pending
from tests.e2e.test_dispatcher_kills import acknowledged
from tests.runtime.watching import eventually
from tests.transport.dispatcher_hosts import NAME, DispatcherHost
from tests.transport.mutual_tls import Authority


async def reread(server: Server, message: str) -> None:
    """Has the server read its files again, until its log says that it has."""
    os.kill(server.pid, signal.SIGHUP)
    async with asyncio.timeout(SECONDS):
        await eventually(lambda: message in server.log.read_text())


async def test_a_certificate_that_the_dispatcher_knows_is_shown_once_it_is_read_again(
    make_server: MakeServer, tmp_path: Path
) -> None:
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    chain, key = tmp_path / "shown.pem", tmp_path / "shown.key"

    def show(authority: Authority) -> None:
        chain.write_bytes(authority.client[0].read_bytes())
        key.write_bytes(authority.client[1].read_bytes())
        key.chmod(0o600)

    show(theirs)
    spec = asking()
    spec["approvals"]["writes"]["dispatchers"] = [NAME]
    server = make_server(spec, options=("--callback-cert", str(chain), "--callback-key", str(key)))
    await server.start()
    host = DispatcherHost()
    await host.start(tls=ours.server)
    registry = CallbackRegistryServiceStub(server.call.channel)
    told = pb.CallbackSpec(
        callback_id=NAME,
        executor=NAME,
        address=f"127.0.0.1:{host.port}",
        kind=pb.CALLBACK_KIND_APPROVAL_DISPATCHER,
        tls=ours.tls,
    )
    await registry.RegisterCallback(pb.RegisterCallbackRequest(spec=told), timeout=SECONDS)
    await server.call.start("run-1")
    async with asyncio.timeout(SECONDS):
        while True:
            [found] = (await registry.ListCallbacks(pb.ListCallbacksRequest())).callbacks
            if found.health == pb.CALLBACK_HEALTH_UNHEALTHY:
                break

    chain.write_bytes(ours.client[0].read_bytes())
    await reread(server, "certificate and key for callbacks cannot be used; the last good ones stay in force")
    show(ours)
    await reread(server, "certificate and key for callbacks read again")
    async with asyncio.timeout(SECONDS):
        await eventually(lambda: bool(host.told))
    await acknowledged(server)
    await kill_and_start(server)
    [waits] = await pending(server.call)
    await decide(server.call, waits, DENY)
    async with asyncio.timeout(SECONDS):
        await eventually(lambda: len(host.told) == 2)

    assert host.methods == ["dispatch", "update"]
    await host.stop()
