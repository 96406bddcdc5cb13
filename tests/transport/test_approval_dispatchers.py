"""Dispatchers of approvals over real sockets: told what waits, and what became of it; some decide in their answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from runwright._gen.runwright.v1 import event_pb2, run_pb2
from runwright.core.package import RuntimePackage
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.approving import asking
from tests.transport.conftest import Serve
from tests.transport.dispatcher_hosts import NAME, Answer, DispatcherHost, acknowledges, decides, register
from tests.transport.serving import Served

StartHost = Callable[..., Awaitable[DispatcherHost]]
TOLD = {"sets": [{"roles": ["approver"]}], "expires": "1h", "dispatchers": [NAME]}


@pytest.fixture
async def host_of() -> AsyncIterator[StartHost]:
    """Starts hosts that end with the test."""
    hosts: list[DispatcherHost] = []

    async def start(answer: Answer = acknowledges) -> DispatcherHost:
        hosts.append(DispatcherHost(answer))
        await hosts[-1].start()
        return hosts[-1]

    yield start
    for host in hosts:
        await host.stop()


async def served_with(serve: Serve, package: RuntimePackage, **parts: Any) -> tuple[Served, FunctionTools]:
    """A server of the package, and the tools with their ledger."""
    tools = FunctionTools(dict.fromkeys(("look", "send"), b.look))
    return await serve(b.real_time_bench(packages=(package,), tools=tools, **parts)), tools


def kinds(frames: list[event_pb2.EventFrame]) -> list[str]:
    """The kinds of the events, without their prefix."""
    return [event_pb2.EventKind.Name(frame.event.kind).removeprefix("EVENT_KIND_") for frame in frames]


async def test_a_dispatcher_that_approves_in_its_answer_lets_the_run_go_on(serve: Serve, host_of: StartHost) -> None:
    host = await host_of(decides("APPROVE", note="seen"))
    served, tools = await served_with(serve, asking(approval=TOLD))
    await register(served, host)

    run = await served.ended()

    assert run.status == run_pb2.RUN_STATUS_COMPLETED
    assert [call.tool for call in tools.ledger] == ["send"]
    [(method, told), (after, update)] = host.told
    assert (method, told.effect_id, told.attempt, told.revision) == ("dispatch", "n1.1.1.1", 1, 1)
    assert told.approval.arguments_content.text == '{"to":"bob"}'
    assert (after, update.reference, update.approval.decision.decided_by) == ("update", "message-1", "local")
    order = kinds(await served.frames())
    asked, started, dispatched, decided, sent = (
        order.index(kind)
        for kind in (
            "APPROVAL_REQUESTED",
            "APPROVAL_DISPATCH_STARTED",
            "APPROVAL_DISPATCHED",
            "APPROVAL_DECIDED",
            "TOOL_STARTED",
        )
    )
    assert asked < started < dispatched < decided < sent
