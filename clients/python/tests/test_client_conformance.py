"""The conformance program, asked as its runner asks it."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from relay import Relay
from tests.e2e.conftest import MakeServer
from tests.e2e.packages import asks, package, says
from tests.e2e.server_process import ROOT

PROGRAM = ROOT / "clients" / "python" / "conformance" / "program.py"
SECONDS = 60
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="


async def test_operations_are_answered_also_side_by_side(make_server: MakeServer, relay: Relay) -> None:
    look = {"name": "look", "effect": "read", "executor": "box", "parameters": {"type": "object"}}
    spec = package("one", [asks(("look", {"step": 1})), says("done: {results}")], look)
    server = make_server(spec, executors={})
    await server.start()
    relay.to = server.address
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(PROGRAM),
        env={"PYTHONPATH": str(ROOT / "clients" / "python" / "src")},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=16 * 1024 * 1024,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    sent = 0

    def send(op: str, **args: Any) -> int:
        nonlocal sent
        sent += 1
        process.stdin.write(json.dumps({"id": sent, "op": op, "args": args}).encode() + b"\n")
        return sent

    async def ask(op: str, **args: Any) -> Any:
        number = send(op, **args)
        answer = json.loads(await process.stdout.readline())
        assert answer["id"] == number
        return answer.get("ok", answer.get("error"))

    async with asyncio.timeout(SECONDS):
        await ask("connect", address=relay.address)
        registered = {"executor": "box", "callback_id": "box-1", "lease_seconds": 10}
        await ask("serve_tools", name="t", tools={"look": {"waits": True, "echo": True}}, register=registered)
        parts = [{"text": "see"}, {"data": {"media_type": "image/png", "data": PIXEL}}]
        started = await ask("start", run_id="r1", input=parts, budget={"rounds": 5}, package={"package_id": "one"})
        await ask("subscribe", name="s", scope={"run_id": "r1"})
        begun = await ask("read", name="s", until_kind="TOOL_STARTED")
        waiting = send("wait", run_id="r1")
        late = await ask("read", name="s", count=100, timeout_seconds=0.2)
        calls = await ask("calls", name="t")
        released = send("release", name="t")
        answers = {answer["id"]: answer for answer in [json.loads(await process.stdout.readline()) for _ in range(2)]}
        rest = await ask("read", name="s", until_end=True)
        unknown = await ask("snapshot", run_id="nope")
        odd = await ask("no-such-operation")
        await ask("stop_tools", name="t")
        process.stdin.close()
        code = await process.wait()

    assert started["created"]
    assert started["run"]["budget"]["rounds"] == 5
    assert begun["frames"][-1]["event"]["kind"] == "EVENT_KIND_TOOL_STARTED"
    assert (late["timed_out"], late["ended"]) == (True, False)
    assert [(call["tool"], call["arguments"], call["cancelled"]) for call in calls] == [("look", {"step": 1}, False)]
    assert answers[waiting]["ok"]["done"]
    assert released in answers
    assert rest["ended"]
    assert rest["frames"][-1]["event"]["kind"] == "EVENT_KIND_RUN_COMPLETED"
    assert (unknown["reason"], unknown["code"], unknown["has_remedy"]) == ("RUN_NOT_FOUND", "NOT_FOUND", True)
    assert odd["reason"] == "PROGRAM"
    assert code == 0
