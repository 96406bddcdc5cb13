"""A program of a client's, running beside the test: its lines as they come, and how it ends."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from tests.e2e.notice import CAP_SECONDS, Notice


class Program:
    """One process, its standard output and its standard error line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.out: list[str] = []
        self.message: list[str] = []
        self._news = Notice()
        assert process.stdout is not None
        assert process.stderr is not None
        self.reading = asyncio.gather(self._read(process.stdout, self.out), self._read(process.stderr, self.message))
        self.reading.add_done_callback(lambda _: self._news.tell())

    async def _read(self, stream: asyncio.StreamReader, lines: list[str]) -> None:
        async for line in stream:
            lines.append(line.decode().removesuffix("\n"))
            self._news.tell()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Returns once it has said what `holds` looks for; fails when it falls silent for good before that."""
        await self._news.until(lambda: holds() or self.reading.done())
        assert holds(), f"it ended before that: {self.out} {self.message}"

    async def ended(self) -> int:
        """Its exit code, with everything it said read."""
        async with asyncio.timeout(CAP_SECONDS):
            await self.reading
            return await self.process.wait()


@asynccontextmanager
async def running(program: Path, *words: str, **environment: str) -> AsyncIterator[Program]:
    """A program with these words and variables; killed with the block, if it has not ended."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        program, *words, stdout=pipe, stderr=pipe, env={**os.environ, **environment}
    )
    running = Program(process)
    try:
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await running.reading
