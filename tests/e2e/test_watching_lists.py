"""`ls --watch` and `get --watch` as processes: what changes is printed, once, while it changes."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.e2e.client import answer
from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor, StartCaller
from tests.e2e.packages import LOOK, one_call
from tests.e2e.server_process import ROOT

LINE_SECONDS = 60.0
INTERRUPTED = 130


@asynccontextmanager
async def program(address: str, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command line with its output on a pipe, ended with the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "runwright", "--server", address, *words, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def line(process: asyncio.subprocess.Process) -> str:
    """Its next line."""
    assert process.stdout is not None
    async with asyncio.timeout(LINE_SECONDS):
        return (await process.stdout.readline()).decode().rstrip("\n")


async def test_ls_prints_a_run_whenever_its_status_is_another(make_server: MakeServer, executor: Executor) -> None:
    held, begun = asyncio.Event(), asyncio.Event()

    async def hold(requested: StartCaller) -> None:
        begun.set()
        await held.wait()

    server = make_server(one_call("one", LOOK))
    await server.start()
    await server.call.start("run-0")
    answer(await server.call.settled("run-0"))
    executor.before = hold
    async with program(server.address, "ls", "--watch") as listing:
        headings, first = (await line(listing)).split(), (await line(listing)).split()
        await server.call.start("run-1")
        started = (await line(listing)).split()
        await begun.wait()
        held.set()
        ended = (await line(listing)).split()
        listing.send_signal(signal.SIGINT)
        code = await listing.wait()

    assert headings[:2] == ["RUN", "STATUS"]
    assert [row[:2] for row in (first, started, ended)] == [
        ["run-0", "COMPLETED"],
        ["run-1", "RUNNING"],
        ["run-1", "COMPLETED"],
    ]
    assert code == INTERRUPTED


async def test_get_prints_a_run_until_it_has_ended(make_server: MakeServer, executor: Executor) -> None:
    held = asyncio.Event()

    async def hold(requested: StartCaller) -> None:
        await held.wait()

    server = make_server(one_call("one", LOOK))
    await server.start()
    executor.before = hold
    await server.call.start("run-1")
    async with program(server.address, "get", "run-1", "--watch", "-o", "json") as getting:
        assert getting.stdout is not None
        first = await line(getting)
        held.set()
        async with asyncio.timeout(LINE_SECONDS):
            rest = (await getting.stdout.read()).decode()
            code = await getting.wait()

    documents = []
    text = first + rest
    while text.strip():
        document, end = json.JSONDecoder().raw_decode(text := text.lstrip())
        documents.append(document["run"])
        text = text[end:]
    assert code == 0
    assert documents[0]["status"] == "RUN_STATUS_RUNNING"
    assert documents[-1]["status"] == "RUN_STATUS_COMPLETED"
    seen = [int(document["last_seq"]) for document in documents]
    assert seen == sorted(set(seen)), "each is newer than the one before"
