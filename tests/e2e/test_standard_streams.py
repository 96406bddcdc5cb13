"""A server whose standard streams were closed, are closed under it, or lead to a full disk: it serves all the same."""

from __future__ import annotations

import asyncio
import os
import shlex
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.e2e.client import Caller, answer
from tests.e2e.packages import package, says, write
from tests.e2e.server_process import END_SECONDS, ROOT, START_SECONDS


@asynccontextmanager
async def served(
    folder: Path, redirected: str, **streams: int
) -> AsyncIterator[tuple[asyncio.subprocess.Process, Caller]]:
    """A server started by a shell with these redirections, once it answers; killed with the block if it still runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    words = [sys.executable, "-m", "runwright", "serve", "--data", str(folder / "data"), "--listen", address]
    words += ["--package", str(write(folder, package("plain", [says("hi")])))]
    process = await asyncio.create_subprocess_shell(f"exec {shlex.join(words)} {redirected}", cwd=ROOT, **streams)
    caller = Caller(address)
    try:
        async with asyncio.timeout(START_SECONDS):
            await caller.channel.channel_ready()
        yield process, caller
    finally:
        await caller.channel.close()
        if process.returncode is None:
            process.kill()
            await process.wait()


async def stopped(process: asyncio.subprocess.Process) -> int:
    """The exit code after SIGTERM."""
    process.terminate()
    async with asyncio.timeout(END_SECONDS):
        return await process.wait()


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "</dev/null >/dev/full 2>/dev/full"])
async def test_a_server_with_closed_streams_serves_and_stops_well(tmp_path: Path, closed: str) -> None:
    async with served(tmp_path, closed) as (process, caller):
        await caller.start("run-1")
        ended = await caller.settled("run-1")
        opened = {number: str(Path(f"/proc/{process.pid}/fd/{number}").readlink()) for number in (0, 1, 2)}

        code = await stopped(process)

    assert answer(ended) == "hi"
    assert [path for path in opened.values() if "data" in path or "socket" in path] == []
    assert code == 0


async def test_a_server_outlives_whoever_reads_its_output(tmp_path: Path) -> None:
    pipe = asyncio.subprocess.PIPE
    async with served(tmp_path, "", stdout=pipe, stderr=pipe) as (process, caller):
        for number in (1, 2):
            process._transport.get_pipe_transport(number).close()  # type: ignore[attr-defined]
        await caller.start("run-1")
        await caller.settled("run-1")

        code = await stopped(process)  # it logs that it drains, and that it has stopped

    assert code == 0


async def test_nobody_reads_the_line_that_says_where_it_serves(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    async with served(tmp_path, "", stdout=writing, stderr=writing) as (process, caller):
        os.close(writing)
        await caller.start("run-1")

        assert answer(await caller.settled("run-1")) == "hi"
        assert await stopped(process) == 0
