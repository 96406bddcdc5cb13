"""Whose the names of policies and dispatchers are, at a real server: read again on SIGHUP, and by the next start."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import grpc
from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as pb
from runwright._gen.runwright.callback.v1.callback_registry_service_pb2_grpc import CallbackRegistryServiceStub

from tests.e2e.client import error_info
from tests.e2e.conftest import MakeServer
from tests.e2e.packages import package, says
from tests.e2e.server_process import Server
from tests.e2e.test_keys_and_tls import runwright
from tests.transport.known import add_key, bearer

SECONDS = 20.0
NAMES = {"compliance": pb.CALLBACK_KIND_POLICY, "chat": pb.CALLBACK_KIND_APPROVAL_DISPATCHER}


class Registry:
    """The registry of a server, as principals of several keys see it."""

    def __init__(self, server: Server, file: Path) -> None:
        self.server = server
        self.keys = {
            name: add_key(file, "policy", name=name, roles={"policy", "dispatcher"}) for name in ("ours", "theirs")
        }
        self.admin = add_key(file, "admin", name="root")

    async def take(self, name: str, who: str) -> str:
        """Registers a name with somebody's key: `registered`, or the reason why not."""
        spec = pb.CallbackSpec(callback_id=f"{who}-{name}", executor=name, kind=NAMES[name], address="127.0.0.1:9")
        request = pb.RegisterCallbackRequest(spec=spec)
        request.lease.FromSeconds(3600)
        stub = CallbackRegistryServiceStub(self.server.call.channel)
        try:
            await stub.RegisterCallback(request, timeout=SECONDS, metadata=bearer(self.keys[who]))
        except grpc.aio.AioRpcError as error:
            return error_info(error).reason
        return "registered"

    async def ids(self) -> list[str]:
        """What is registered."""
        stub = CallbackRegistryServiceStub(self.server.call.channel)
        listed = await stub.ListCallbacks(pb.ListCallbacksRequest(), timeout=SECONDS, metadata=bearer(self.admin))
        return [each.spec.callback_id for each in listed.callbacks]

    async def audit(self) -> str:
        """The audit, as the command line prints it."""
        return (await runwright("--server", self.server.address, "audit", RUNWRIGHT_KEY=self.admin))[1]

    async def reread(self, message: str) -> None:
        """Has the server read its files again, until its log says this once more."""
        before = self.server.log.read_text().count(message)
        os.kill(self.server.pid, signal.SIGHUP)
        async with asyncio.timeout(SECONDS):
            while self.server.log.read_text().count(message) == before:
                await self.ids()


async def test_owners_are_read_again_on_sighup_and_by_the_next_start_and_a_bad_file_changes_nothing(
    make_server: MakeServer, tmp_path: Path
) -> None:
    config, keys = tmp_path / "runwright.toml", tmp_path / "keys.json"
    config.write_text(f'keys = "{keys}"\n')
    server = make_server(package("words", [says("hello")]), options=("--config", str(config)))
    registry = Registry(server, keys)
    await server.start()
    assert [await registry.take(name, "theirs") for name in NAMES] == ["registered", "registered"]

    config.write_text(
        f'keys = "{keys}"\npolicy_owners = {{compliance = "ours"}}\ndispatcher_owners = {{chat = "ours"}}\n'
    )
    await registry.reread("owners of names read again")
    assert await registry.ids() == []
    assert [await registry.take(name, "theirs") for name in NAMES] == ["CALLBACK_TAKEN", "CALLBACK_TAKEN"]
    assert [await registry.take(name, "ours") for name in NAMES] == ["registered", "registered"]

    config.write_text(f'keys = "{keys}"\npolicy_owners = {{compliance = []}}\n')
    await registry.reread("owners of names cannot be used; the last good ones stay in force")
    assert await registry.ids() == ["ours-chat", "ours-compliance"]
    assert await registry.take("chat", "theirs") == "CALLBACK_TAKEN"
    async with asyncio.timeout(SECONDS):  # the audit is written beside the calls
        while not {"RELOAD_FAILED", "REGISTRATION_REFUSED"} <= set((await registry.audit()).split()):
            pass

    config.write_text(f'keys = "{keys}"\ndispatcher_owners = {{chat = "theirs"}}\n')
    await server.restart()
    assert await registry.ids() == ["ours-compliance"], "what is on disk under a name that is another's now ended"
    assert await registry.take("chat", "theirs") == "registered"
