"""Policies that are served: asked by a real server, and closed where they fail."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from dialling import SECONDS
from relay import Relay
from tests.e2e.conftest import MakeServer
from tests.e2e.packages import asks, package, says

from runwright_client import (
    Client,
    PolicyDecision,
    PolicyQuestion,
    PolicyServer,
    PolicyStage,
    Resumed,
    RunSnapshot,
    RunStatus,
    ToolServer,
    allow,
    defer,
    deny,
    interrupt,
    replace_arguments,
    tool,
)

SENT: list[str] = []


@tool(effect="write")
def send(to: str) -> str:
    """Sends it."""
    SENT.append(to)
    return f"sent to {to}"


def compliance(question: PolicyQuestion) -> PolicyDecision:
    """Nobody outside is written to, and whoever is written to in the wrong way ends the run."""
    assert question.stage is PolicyStage.PRE_TOOL and question.call is not None
    to = json.loads(question.call.arguments_json)["to"]
    match to:
        case "outside":
            return deny("not_outside", "Write to somebody inside.")
        case "boss":
            return replace_arguments({"to": "assistant"})
        case "nobody":
            return interrupt("never")
        case "error":
            raise RuntimeError("the policy is broken")
        case "odd":
            return "yes"  # type: ignore[return-value]
    return allow("inside")


@pytest.mark.parametrize(
    ("to", "sent", "told"),
    [
        ("ann", ["ann"], "sent to ann"),
        ("boss", ["assistant"], "sent to assistant"),
        ("outside", [], "not_outside"),
        ("error", [], "policy.lost"),
        ("odd", [], "policy.lost"),
        ("nobody", [], None),
    ],
)
async def test_a_served_policy_decides(
    make_server: MakeServer,
    relay: Relay,
    client: Client,
    caplog: pytest.LogCaptureFixture,
    to: str,
    sent: list[str],
    told: str | None,
) -> None:
    SENT.clear()
    caplog.set_level(logging.CRITICAL, "runwright_client")
    tools, policy = ToolServer([send]), PolicyServer(compliance)
    run = await _run(make_server, relay, client, tools, policy, to)

    assert sent == SENT
    if told is None:
        assert run.error is not None and run.error.reason_name == "POLICY_INTERRUPT"
    else:
        assert run.result is not None and told in (run.result.text or "")


async def _run(
    make_server: MakeServer, relay: Relay, client: Client, tools: ToolServer, policy: PolicyServer, to: str
) -> RunSnapshot:
    server = make_server(_spec(tools, to), executors={})
    await server.start()
    relay.to = server.address
    await tools.start()
    await tools.register(client, "box")
    await policy.start()
    await policy.register(client, "compliance")
    started = await client.start("hello")
    async with asyncio.timeout(SECONDS):
        run = await client.wait(started.run.run_id)
    await policy.stop()
    await tools.stop()
    return run


def _spec(tools: ToolServer, to: str) -> dict[str, Any]:
    remote = {"remote": "compliance", "max_attempts": 1}
    spec: dict[str, Any] = package("one", [asks(("send", {"to": to})), says("{results}")], *tools.declarations("box"))
    return spec | {"policy": "builtin:read-only", "policies": [remote]}


def test_what_is_no_function_is_no_policy() -> None:
    with pytest.raises(TypeError, match="no function"):
        PolicyServer("yes")  # type: ignore[arg-type]


async def test_what_a_policy_defers_is_resumed(make_server: MakeServer, relay: Relay, client: Client) -> None:
    SENT.clear()
    asked: list[str] = []

    async def later(question: PolicyQuestion) -> PolicyDecision:
        asked.append(question.effect_id)
        return defer(3600, "later") if len(asked) == 1 else allow()

    tools, policy = ToolServer([send]), PolicyServer(later)
    server = make_server(_spec(tools, "ann"), executors={})
    await server.start()
    relay.to = server.address
    for each, name in ((tools, "box"), (policy, "compliance")):
        await each.start()
        await each.register(client, name)

    run_id, answered = (await client.start("hello")).run.run_id, list[Resumed]()
    async with asyncio.timeout(SECONDS):
        async for frame in client.subscribe(run_id):
            if frame.event is not None and frame.event.policy_answered is not None:
                answered.append(await client.resume(run_id, "p1.1.1", reason="it is over"))
        run = await client.wait(run_id)
    again = await client.resume(run_id, "p1.1.1")
    await policy.stop()
    await tools.stop()

    assert [each.resumed for each in answered] == [True, False]
    assert not again.resumed
    assert (asked, SENT, run.status) == (["p1.1.1", "p1.1.2"], ["ann"], RunStatus.COMPLETED)
