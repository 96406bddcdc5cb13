"""Dispatchers of approvals over kill -9: told again, with the same key, what they did not acknowledge, and no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from runwright._gen.runwright.callback.v1 import approval_dispatcher_service_pb2 as pb
from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as callback_pb
from runwright._gen.runwright.callback.v1.callback_registry_service_pb2_grpc import CallbackRegistryServiceStub
from runwright._gen.runwright.v1 import approval_pb2, run_pb2
from runwright._gen.runwright.v1 import approval_service_pb2 as pb2
from runwright._gen.runwright.v1.approval_service_pb2_grpc import ApprovalServiceStub

from tests.e2e.client import SECONDS, answer
from tests.e2e.conftest import SOAK, MakeServer
from tests.e2e.executor import Executor
from tests.e2e.packages import Spec
from tests.e2e.server_process import Server
from tests.e2e.test_approval_kills import DENY, asking, decide, decisions, kill_and_start, pending
from tests.runtime.watching import eventually
from tests.transport.dispatcher_hosts import NAME, DispatcherHost, acknowledges, decides

DELAYS = range(0, 60, 2 if SOAK else 20)


@pytest.fixture
async def host() -> AsyncIterator[DispatcherHost]:
    """A dispatcher that ends with the test."""
    host = DispatcherHost()
    await host.start()
    yield host
    await host.stop()


@pytest.fixture
async def other_host() -> AsyncIterator[DispatcherHost]:
    """Another one."""
    host = DispatcherHost()
    await host.start()
    yield host
    await host.stop()


def told() -> Spec:
    """Sends once, if somebody approves; a dispatcher is told."""
    spec = asking()
    spec["approvals"]["writes"]["dispatchers"] = [NAME]
    return spec


async def started(make_server: MakeServer, host: DispatcherHost) -> Server:
    """A server with a run that asks, and its dispatcher, registered for as long as the test."""
    server = make_server(told())
    await server.start()
    await register(server, host)
    await server.call.start("run-1")
    return server


async def register(server: Server, host: DispatcherHost, name: str = NAME) -> None:
    """Registers a dispatcher for as long as the test."""
    kind = callback_pb.CALLBACK_KIND_APPROVAL_DISPATCHER
    spec = callback_pb.CallbackSpec(callback_id=name, executor=name, address=f"127.0.0.1:{host.port}", kind=kind)
    registry = CallbackRegistryServiceStub(server.call.channel)
    await registry.RegisterCallback(callback_pb.RegisterCallbackRequest(spec=spec), timeout=SECONDS)


async def reached(host: DispatcherHost, count: int) -> None:
    """Returns once it was told so often."""
    async with asyncio.timeout(SECONDS):
        await eventually(lambda: len(host.told) >= count)


async def acknowledged(server: Server, dispatcher: str = NAME) -> None:
    """Returns once it is on record that the dispatcher was told."""
    asked = (await pending(server.call))[0].approval_id
    async with asyncio.timeout(SECONDS):
        while True:
            stub, request = ApprovalServiceStub(server.call.channel), pb2.GetApprovalRequest(approval_id=asked)
            found = (await stub.GetApproval(request, timeout=SECONDS)).approval
            results = [each.result for each in found.dispatches if each.dispatcher == dispatcher]
            if approval_pb2.APPROVAL_DISPATCH_RESULT_ACKNOWLEDGED in results:
                return
            await asyncio.sleep(0.02)


async def test_what_a_kill_cut_off_is_told_again_with_its_key_and_what_was_acknowledged_is_not(
    make_server: MakeServer, executor: Executor, host: DispatcherHost
) -> None:
    async def never(_: pb.ApprovalNotification) -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    host.answer = never
    server = await started(make_server, host)
    await reached(host, 1)
    [before] = await pending(server.call)

    host.answer = acknowledges
    await kill_and_start(server)
    await reached(host, 2)
    await acknowledged(server)
    await kill_and_start(server)
    assert await pending(server.call) == [before]
    await decide(server.call, before, DENY)
    ended = await server.call.settled("run-1")

    assert answer(ended)
    assert host.methods == ["dispatch", "dispatch", "update"]
    first, again, update = (each for _, each in host.told)
    assert first.idempotency_key == again.idempotency_key != update.idempotency_key
    assert (first.attempt, again.attempt, update.attempt) == (1, 2, 3)
    assert executor.requested == []


@pytest.mark.parametrize("milliseconds", DELAYS)
async def test_a_dispatcher_that_decides_decides_once_whenever_the_server_is_killed(
    make_server: MakeServer, executor: Executor, host: DispatcherHost, milliseconds: int
) -> None:
    host.answer = decides("APPROVE")
    server = await started(make_server, host)
    await reached(host, 1)
    await asyncio.sleep(milliseconds / 1000)

    await kill_and_start(server)
    ended = await server.call.settled("run-1")

    assert ended.status == run_pb2.RUN_STATUS_COMPLETED
    assert await decisions(server.call, "run-1") == 1
    assert len({requested.key for requested in executor.requested}) == 1
    dispatched = [each.idempotency_key for method, each in host.told if method == "dispatch"]
    assert len(set(dispatched)) == 1, "whatever is told again has its key"
    assert host.methods[-1] == "update"


async def test_whom_the_operator_has_told_stays_over_kills_and_other_files_and_one_that_was_away_is_told_once(
    make_server: MakeServer, executor: Executor, host: DispatcherHost, other_host: DispatcherHost, tmp_path: Path
) -> None:
    file = tmp_path / "policies.yaml"
    file.write_text(f'format: runwright-policies-v0\ndispatchers: {{"*": [{NAME}, pager]}}\n')
    server = make_server(asking(), options=("--policies", str(file)))
    await server.start()
    await register(server, host)
    await server.call.start("run-1")
    await reached(host, 1)
    await acknowledged(server)
    [before] = await pending(server.call)

    file.write_text('format: runwright-policies-v0\ndispatchers: {"*": [audit]}\n')
    await kill_and_start(server)
    assert await pending(server.call) == [before]
    for name in ("pager", "audit"):
        await register(server, other_host, name)
    await acknowledged(server, "pager")
    await kill_and_start(server)
    await decide(server.call, before, DENY)
    assert answer(await server.call.settled("run-1"))
    await reached(other_host, 2)

    assert host.methods == ["dispatch", "update"]
    heard = [(method, each.dispatcher) for method, each in other_host.told]
    assert heard == [("dispatch", "pager"), ("update", "pager")], "nobody is told who was named after it was asked for"
    assert executor.requested == []
