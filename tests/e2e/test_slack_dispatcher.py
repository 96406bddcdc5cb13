"""The Slack example against a fake that speaks Slack's HTTP shapes: told in a channel, decided by whoever presses."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright._gen.runwright.v1.runtime_service_pb2_grpc import RuntimeServiceStub

from tests.bootstrap.leftovers import free_port
from tests.e2e.client import SECONDS, run_request
from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor
from tests.e2e.fake_slack import CHANNEL, SECRET, TOKEN, FakeSlack, press
from tests.e2e.packages import Spec, asks, package, says, tool
from tests.e2e.server_process import ROOT, Server
from tests.transport.known import add_key, bearer

EXAMPLE = ROOT / "examples/slack_dispatcher/slack_dispatcher.py"
ANN, BOB, STRANGER = "U0ANN", "U0BOB", "U0WHO"


def told(to: str) -> Spec:
    """Sends once, if ann approves; the channel is told."""
    spec = package("told", [asks(("send", {"to": to})), says("done: {results}")], tool("send", "write"))
    del spec["policy"]
    rules = [{"rules": [{"then": "ask", "approval": "writes", "message": "It cannot be undone."}]}]
    approvals = {"writes": {"expires": "1h", "sets": [{"principals": ["ann"]}], "dispatchers": ["slack"]}}
    return {**spec, "policies": rules, "approvals": approvals}


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    """A Slack that ends with the test."""
    slack = FakeSlack()
    yield slack
    slack.close()


class Channel:
    """The example beside a server with a run that asks."""

    def __init__(self, server: Server, slack: FakeSlack, caller: tuple[tuple[str, str], ...], url: str) -> None:
        self.slack = slack
        self.url = url
        self._stub = RuntimeServiceStub(server.call.channel)
        self._caller = caller

    async def start(self) -> None:
        """Starts the run."""
        request = pb.StartRunRequest(run=run_request("run-1"))
        await self._stub.StartRun(request, timeout=SECONDS, metadata=self._caller)

    async def ended(self) -> run_pb2.RunSnapshot:
        """The run once it has ended."""
        return (await self._stub.Wait(pb.WaitRequest(run_id="run-1"), timeout=SECONDS, metadata=self._caller)).run

    async def until(self, holds: Callable[[], bool]) -> None:
        """Returns once it holds."""
        async with asyncio.timeout(SECONDS):
            while not holds():  # noqa: ASYNC110 - what it waits for happens in other processes
                await asyncio.sleep(0.02)

    async def message(self) -> dict[str, Any]:
        """The only message, once it is there."""
        await self.until(lambda: len(self.slack.messages) == 1)
        return next(iter(self.slack.messages.values()))

    async def press(self, user: str, button: dict[str, Any], **fields: Any) -> int:
        """Somebody presses a button."""
        return await asyncio.to_thread(press, self.url, user, button, **fields)


@pytest.fixture
async def channel_of(make_server: MakeServer, tmp_path: Path, slack: FakeSlack) -> AsyncIterator[Callable[..., Any]]:
    """Starts a server and the example."""
    processes: list[asyncio.subprocess.Process] = []

    async def start(to: str = "bob", **environment: str) -> Channel:
        keys = tmp_path / "keys.json"
        caller = bearer(add_key(keys, "caller"))
        bot = add_key(keys, "dispatcher", name="slack")
        people = {user: add_key(keys, "approver", name=name) for user, name in ((ANN, "ann"), (BOB, "bob"))}
        (tmp_path / "people.json").write_text(json.dumps(people))
        server = make_server(told(to), options=("--keys", str(keys)))
        await server.start()
        listen = f"127.0.0.1:{free_port()}"
        known = {"SLACK_TOKEN": TOKEN, "SLACK_SIGNING_SECRET": SECRET, "SLACK_CHANNEL": CHANNEL, "RUNWRIGHT_KEY": bot}
        known |= {"SLACK_API": slack.url, "SLACK_PEOPLE": str(tmp_path / "people.json"), **environment}
        with (tmp_path / "slack.log").open("w+") as log:
            command = (sys.executable, str(EXAMPLE), server.address, listen)
            processes.append(
                await asyncio.create_subprocess_exec(*command, env={**os.environ, **known}, stdout=log, stderr=log)
            )
        return Channel(server, slack, caller, f"http://{listen}/slack")

    yield start
    for process in processes:
        process.terminate()
        await process.wait()


def buttons(message: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The buttons of a message by what they do."""
    actions = [block for block in message["blocks"] if block["type"] == "actions"]
    return {element["action_id"]: element for block in actions for element in block["elements"]}


async def test_what_is_pressed_in_the_channel_counts_if_it_is_signed_and_for_who_pressed_it(
    channel_of: Callable[..., Any], executor: Executor
) -> None:
    channel = await channel_of()
    await channel.start()
    message = await channel.message()
    assert [block["text"]["text"] for block in message["blocks"][:2]] == [
        "PENDING: send of agent clerk, run run-1. It cannot be undone.",
        '{"to":"bob"}',
    ]
    approve = buttons(message)["APPROVE"]

    forged = await channel.press(ANN, approve, secret="another secret")
    old = await channel.press(ANN, approve, at=int(time.time()) - 301)
    by_bob = await channel.press(BOB, approve)
    by_stranger = await channel.press(STRANGER, approve)
    await channel.until(lambda: len(channel.slack.ephemeral) == 2)
    assert (forged, old, by_bob, by_stranger) == (401, 401, 200, 200)
    assert executor.requested == []
    said = {each["user"]: each["text"] for each in channel.slack.ephemeral}
    assert set(said) == {BOB, STRANGER}
    assert "not yours to see" in said[BOB]

    assert await channel.press(ANN, approve) == 200
    ended = await channel.ended()

    assert ended.status == run_pb2.RUN_STATUS_COMPLETED
    assert len(executor.requested) == 1
    message = await channel.message()
    assert message["blocks"][0]["text"]["text"].startswith("APPROVED: send") and "By ann." in message["text"]
    assert buttons(message) == {}
    assert channel.slack.refused == []


async def test_nobody_approves_in_the_channel_what_does_not_fit_into_a_message(
    channel_of: Callable[..., Any], executor: Executor
) -> None:
    channel = await channel_of("b" * 4000)
    await channel.start()

    message = await channel.message()

    assert set(buttons(message)) == {"DENY"}
    assert "runwright approvals show run-1/a1.1.1" in message["blocks"][1]["text"]["text"]
    await channel.press(ANN, buttons(message)["DENY"])
    ended = await channel.ended()
    assert ended.status == run_pb2.RUN_STATUS_COMPLETED, ended.error
    assert executor.requested == []
    assert channel.slack.refused == []


@pytest.mark.parametrize(
    ("environment", "refusal"),
    [({"SLACK_TOKEN": "xoxb-revoked"}, "invalid_auth"), ({"SLACK_CHANNEL": "C0NOTHERE"}, "channel_not_found")],
)
async def test_what_slack_refuses_is_no_acknowledgement_and_the_approval_stays_listed(
    channel_of: Callable[..., Any], environment: dict[str, str], refusal: str
) -> None:
    channel = await channel_of(**environment)
    await channel.start()

    await channel.until(lambda: len(channel.slack.refused) >= 2)

    assert set(channel.slack.refused) == {refusal}
    assert channel.slack.messages == {}


@pytest.mark.parametrize(
    ("method", "fields", "refusal"),
    [
        ("chat.postMessage", {"channel": CHANNEL}, "no_text"),
        ("chat.postMessage", {"text": "hello"}, "channel_not_found"),
        ("chat.update", {"channel": CHANNEL, "ts": "1.1", "text": "hello"}, "message_not_found"),
        ("chat.delete", {"channel": CHANNEL, "ts": "1.1"}, "unknown_method"),
        (
            "chat.postMessage",
            {"channel": CHANNEL, "blocks": [{"type": "section", "text": {"type": "plain_text", "text": "t" * 3001}}]},
            "invalid_blocks",
        ),
        (
            "chat.postMessage",
            {
                "channel": CHANNEL,
                "blocks": [
                    {
                        "type": "actions",
                        "elements": [{"type": "button", "text": {"text": "b"}, "action_id": "a", "value": "v" * 2001}],
                    }
                ],
            },
            "invalid_blocks",
        ),
    ],
)
def test_the_fake_refuses_what_slack_refuses(
    slack: FakeSlack, method: str, fields: dict[str, Any], refusal: str
) -> None:
    answer = slack.answer(method, f"Bearer {TOKEN}", json.dumps(fields).encode())

    assert answer == {"ok": False, "error": refusal}
