"""The programs of the README, pasted into an empty folder."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from pathlib import Path

import pytest
from relay import Relay
from tests.e2e.conftest import MakeServer
from tests.e2e.packages import LOOK, asks, one_call, package, says
from tests.e2e.server_process import ROOT

from runwright_client import Client, RunStatus

HERE = ROOT / "clients" / "python"
PROGRAMS = re.findall(r"```python\n(.*?)```", (HERE / "README.md").read_text(), re.S)
SECONDS = 60


async def started(tmp_path: Path, program: str, address: str) -> asyncio.subprocess.Process:
    """A program of the README, with another address."""
    assert "127.0.0.1:7760" in program
    path = tmp_path / "empty" / "program.py"
    path.parent.mkdir()
    path.write_text(program.replace("127.0.0.1:7760", address))
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        str(path),
        cwd=path.parent,
        env={"PYTHONPATH": str(HERE / "src"), "PYTHONUNBUFFERED": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def test_there_are_five_programs() -> None:
    assert len(PROGRAMS) == 5


@pytest.mark.parametrize("number", [0, 1], ids=["async", "sync"])
async def test_a_run_is_started_and_watched(make_server: MakeServer, tmp_path: Path, number: int) -> None:
    server = make_server(one_call("one", LOOK))
    await server.start()
    process = await started(tmp_path, PROGRAMS[number], server.address)

    async with asyncio.timeout(SECONDS):
        out, err = await process.communicate()

    assert err == b""
    assert process.returncode == 0
    assert "COMPLETED" in out.decode()
    assert number or "RUN_NOT_FOUND {'run_id': 'no-such-run'} -> `runwright ls` shows the runs" in out.decode()


async def test_a_tool_is_served(make_server: MakeServer, relay: Relay, client: Client, tmp_path: Path) -> None:
    words = {
        "name": "count_words",
        "effect": "read",
        "executor": "words",
        "parameters": {
            "type": "object",
            "properties": {"text": {"type": "string"}, "longer_than": {"type": "integer", "default": 0}},
            "required": ["text"],
            "additionalProperties": False,
        },
    }
    requested = asks(("count_words", {"text": "a few short words", "longer_than": 4}))
    server = make_server(package("one", [requested, says("done: {results}")], words), executors={})
    await server.start()
    relay.to = server.address
    process = await started(tmp_path, PROGRAMS[2], server.address)

    begun = await client.start("hello")
    async with asyncio.timeout(SECONDS):
        run = await client.wait(begun.run.run_id)
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()

    assert run.status is RunStatus.COMPLETED
    assert run.result is not None
    assert '"words":2' in str(run.result.text).replace(" ", "")
    assert (process.returncode, out) == (0, b"")
    registered, unregistered, ended = err.decode().splitlines()
    message = f"runwright: registered with {server.address} as executor words: count_words; called at 127.0.0.1:"
    assert registered.startswith(message)
    assert unregistered.startswith("runwright: unregistered words.")
    assert ended == f"runwright: stopped serving at {registered.rpartition(' ')[2]}"


async def test_a_policy_is_served(make_server: MakeServer, relay: Relay, client: Client, tmp_path: Path) -> None:
    requested = [asks(("look", {"url": url})) for url in ("https://example.com/", "https://example.org/")]
    spec = package("one", [*requested, says("done: {results}")], LOOK)
    spec |= {"policy": "builtin:read-only", "policies": [{"remote": "compliance"}]}
    server = make_server(spec)
    await server.start()
    relay.to = server.address
    process = await started(tmp_path, PROGRAMS[3], server.address)

    begun = await client.start("hello")
    async with asyncio.timeout(SECONDS):
        run = await client.wait(begun.run.run_id)
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(SECONDS):
        await process.communicate()

    assert run.result is not None and run.result.text is not None
    assert "foreign_host" in run.result.text and "https://example.com/" in run.result.text
    assert process.returncode == 0


async def test_a_dispatcher_is_served(make_server: MakeServer, relay: Relay, client: Client, tmp_path: Path) -> None:
    spec = package("one", [asks(("look", {"url": "here"})), says("done: {results}")], LOOK)
    spec["policies"] = [{"rules": [{"then": "ask", "approval": "looks"}]}]
    spec["approvals"] = {"looks": {"expires": "1h", "dispatchers": ["chat"]}}
    del spec["policy"]
    server = make_server(spec)
    await server.start()
    relay.to = server.address
    process = await started(tmp_path, PROGRAMS[4], server.address)
    assert process.stdout is not None

    begun = await client.start("hello")
    async with asyncio.timeout(SECONDS):
        waits = await process.stdout.readline()
        await client.cancel(begun.run.run_id)
        now = await process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(SECONDS):
        await process.communicate()

    assert waits.decode() == f'waits: {begun.run.run_id}/a1.1.1 look {{"url":"here"}}\n'
    assert now.decode() == "now: my message 1 WITHDRAWN\n"
    assert process.returncode == 0
