"""Processes of a benchmark: started, waited for until they serve, stopped by their own id."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
READY_SECONDS = 60.0
STOP_SECONDS = 10.0
_READY = re.compile(r"(\w+) serving on (\S+:\d+)")


class Child:
    """One process. `addresses` has where it serves, by the names it announced."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self.log = log
        self.addresses: dict[str, str] = {}
        self.started = 0.0  # how long it took until it served, in seconds

    async def ready(self, *names: str) -> None:
        """Waits until it has announced all names. Raises RuntimeError with its log when it does not."""
        assert self.process.stdout is not None
        async with asyncio.timeout(READY_SECONDS):
            while not set(names) <= self.addresses.keys():
                line = (await self.process.stdout.readline()).decode()
                if not line:
                    raise RuntimeError(f"the process ended before it served:\n{self.log.read_text()}")
                if found := _READY.fullmatch(line.strip()):
                    self.addresses[found[1]] = found[2]

    async def stop(self, *, gently: bool = True) -> None:
        """Ends the process: by SIGTERM first, unless nobody needs its journal any more."""
        if self.process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM if gently else signal.SIGKILL)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.process.communicate()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()


def _environment(directory: Path) -> dict[str, str]:
    """With compiled modules, as an installed program has them: in a place of ours, whatever the caller's shell says."""
    retained = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**retained, "PYTHONPYCACHEPREFIX": str(directory / "compiled")}


@asynccontextmanager
async def running(
    directory: Path, *arguments: str, announces: tuple[str, ...] = ("runwright",), gently: bool = True
) -> AsyncIterator[Child]:
    """A Python process that serves while the block runs; `gently` False ends it without a drain."""
    log = directory / f"{'-'.join(announces)}.log"
    began = time.perf_counter()
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            cwd=ROOT,
            env=_environment(directory),
        )
    child = Child(process, log)
    try:
        await child.ready(*announces)
        child.started = time.perf_counter() - began
        yield child
    finally:
        await child.stop(gently=gently)
