"""Dispatchers that are served: a real server tells them of approvals, and takes what they decide."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from dialling import SECONDS
from relay import Relay
from tests.e2e.conftest import MakeServer
from tests.e2e.packages import asks, package, says

from runwright_client import (
    ApprovalNotification,
    ApprovalState,
    ApprovalVerdict,
    Client,
    Dispatched,
    DispatcherServer,
    RunStatus,
    ToolServer,
    tool,
)

SENT: list[str] = []


@tool(effect="write")
def send(to: str) -> str:
    """Sends it."""
    SENT.append(to)
    return f"sent to {to}"


def _spec(tools: ToolServer) -> dict[str, Any]:
    spec: dict[str, Any] = package(
        "one", [asks(("send", {"to": "ann"})), says("{results}")], *tools.declarations("box")
    )
    rules = [{"when": "true", "then": "ask", "approval": "writes"}]
    approvals = {"writes": {"expires": "1h", "dispatchers": ["chat"]}}
    return {key: value for key, value in spec.items() if key != "policy"} | {
        "policies": [{"rules": rules}],
        "approvals": approvals,
    }


async def _serving(make_server: MakeServer, relay: Relay, client: Client, dispatcher: DispatcherServer) -> ToolServer:
    SENT.clear()
    tools = ToolServer([send])
    server = make_server(_spec(tools), executors={})
    await server.start()
    relay.to = server.address
    await tools.start()
    await tools.register(client, "box")
    await dispatcher.start()
    await dispatcher.register(client, "chat")
    return tools


async def test_a_served_dispatcher_is_told_and_decides_in_its_answer(
    make_server: MakeServer, relay: Relay, client: Client
) -> None:
    told: list[tuple[str, ApprovalNotification]] = []

    def dispatch(asked: ApprovalNotification) -> Dispatched:
        told.append(("dispatch", asked))
        return Dispatched("message-1", ApprovalVerdict.APPROVE, note="by the on-call list")

    async def update(changed: ApprovalNotification) -> None:
        told.append(("update", changed))

    dispatcher = DispatcherServer(dispatch, update=update)
    tools = await _serving(make_server, relay, client, dispatcher)

    run_id = (await client.start("hello")).run.run_id
    async with asyncio.timeout(SECONDS):
        run = await client.wait(run_id)
    await dispatcher.stop()
    await tools.stop()

    assert run.status is RunStatus.COMPLETED
    assert SENT == ["ann"]
    [(_, asked), (_, changed)] = told
    assert asked.approval is not None and asked.approval.arguments_content is not None
    assert asked.approval.arguments_content.text == '{"to":"ann"}'
    assert changed.approval is not None and changed.approval.state is ApprovalState.APPROVED
    assert changed.reference == "message-1"
    assert changed.approval.decision is not None
    assert changed.approval.decision.note == "by the on-call list"


async def test_what_a_dispatcher_raises_is_no_acknowledgement_and_it_is_told_again(
    make_server: MakeServer, relay: Relay, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "runwright_client")
    keys: list[str] = []
    again, withdrawn = asyncio.Event(), asyncio.Event()

    async def dispatch(asked: ApprovalNotification) -> str:
        keys.append(asked.idempotency_key)
        if len(keys) == 1:
            raise RuntimeError("the chat is away")
        again.set()
        return "message-1"

    async def withdraw(_: ApprovalNotification) -> None:
        withdrawn.set()

    dispatcher = DispatcherServer(dispatch, withdraw=withdraw)
    tools = await _serving(make_server, relay, client, dispatcher)

    run_id = (await client.start("hello")).run.run_id
    async with asyncio.timeout(SECONDS):
        await again.wait()
        await client.cancel(run_id)
        run = await client.wait(run_id)
        await withdrawn.wait()
    await dispatcher.stop()
    await tools.stop()

    assert run.status is RunStatus.CANCELLED
    assert keys[0] == keys[1]
    assert SENT == []


def test_what_is_no_function_is_no_dispatcher() -> None:
    with pytest.raises(TypeError, match="no function"):
        DispatcherServer("yes")  # type: ignore[arg-type]
