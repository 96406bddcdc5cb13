"""Dispatchers of approvals over kill -9: told again with the same key what they did not acknowledge, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from runwright._gen.runwright.callback.v1 import approval_dispatcher_service_pb2 as pb
from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as callback_pb
from runwright._gen.runwright.callback.v1.callback_registry_service_pb2_grpc import CallbackRegistryServiceStub
from runwright._gen.runwright.v1 import run_pb2

from tests.e2e.client import SECONDS, Caller
from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor, pass_by
from tests.e2e.packages import Spec
from tests.e2e.server_process import Server
from tests.e2e.test_approval_kills import asking, kill_and_start
from tests.transport.dispatcher_hosts import NAME, DispatcherHost, acknowledges, decides

HostOf = Callable[[], Awaitable[DispatcherHost]]


@pytest.fixture
async def host() -> AsyncIterator[DispatcherHost]:
    """A dispatcher that ends with the test."""
    host = DispatcherHost()
    await host.start()
    yield host
    await host.stop()


def told(**approval: Any) -> Spec:
    """Sends once, if somebody approves; a dispatcher is told."""
    spec = asking()
    spec["approvals"]["writes"] |= {"dispatchers": [NAME], **approval}
    return spec


async def register(call: Caller, host: DispatcherHost) -> None:
    """Registers the dispatcher for as long as the test."""
    kind = callback_pb.CALLBACK_KIND_APPROVAL_DISPATCHER
    spec = callback_pb.CallbackSpec(
        callback_id="chat-1", executor=NAME, address=f"127.0.0.1:{host.port}", kind=kind
    )
    request = callback_pb.RegisterCallbackRequest(spec=spec)
    await CallbackRegistryServiceStub(call.channel).RegisterCallback(request, timeout=SECONDS)


async def reached(host: DispatcherHost, count: int) -> None:
    """Returns once it was told so often."""
    async with asyncio.timeout(SECONDS):
        while len(host.told) < count:
            await asyncio.sleep(0.02)


async def started(make_server: MakeServer, executor: Executor, host: DispatcherHost) -> tuple[Server, Caller]:
    """A server with a run that asks, and its dispatcher."""
    server = make_server(told(), executors={"tools": executor.address})
    await server.start()
    call = Caller(server.address)
    await register(call, host)
    await call.start("run-1")
    return server, call
