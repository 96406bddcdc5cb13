"""A server as a process of its own: started, killed, started again on the same data directory."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.e2e.client import Caller
from tests.e2e.notice import Notice

ROOT = Path(__file__).parents[2]
SERVE = ("runwright", "serve")
START_SECONDS = 30.0
END_SECONDS = 30.0
_MEANT = re.compile(r"\{|warning: |[IWE]\d{4} \d\d:\d\d:\d\d\.")
_READY = re.compile(rb"runwright serving on (\S+:\d+)\n")


class Server:
    """One data directory and the process that serves it, life after life, on a new port each time."""

    def __init__(
        self,
        data: Path,
        packages: Sequence[Path],
        executors: Mapping[str, str],
        *options: str,
        program: Sequence[str] = SERVE,
    ) -> None:
        self.data = data
        self.packages = list(packages)
        self.executors = dict(executors)
        self.options = list(options)
        self.log = data.with_name(f"{data.name}.log")  # standard error of all lives
        self.life = 0  # how often it was ready
        self.address = ""
        self._program = program
        self._process: asyncio.subprocess.Process | None = None
        self._output: asyncio.Task[bytes] | None = None
        self._callers: list[Caller] = []
        self._born = Notice()

    @property
    def call(self) -> Caller:
        """Calls to the present life."""
        return self._callers[-1]

    @property
    def pid(self) -> int:
        """The process of the present or the last life."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """True until the process has been seen to end."""
        return self._process is not None and self._process.returncode is None

    def arguments(self, listen: str = "127.0.0.1:0") -> list[str]:
        """The command line without the interpreter."""
        packages = [word for path in self.packages for word in ("--package", str(path))]
        executors = [word for name, to in self.executors.items() for word in ("--executor", f"{name}={to}")]
        return [
            "-m",
            *self._program,
            "--data",
            str(self.data),
            "--listen",
            listen,
            *packages,
            *executors,
            *self.options,
        ]

    async def start(self, listen: str = "127.0.0.1:0") -> None:
        """Starts a life; returns once it says that it serves."""
        assert not self.is_running
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, *self.arguments(listen), stdout=asyncio.subprocess.PIPE, stderr=log, cwd=ROOT
            )
        assert self._process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            line = await self._process.stdout.readline()
        ready = _READY.fullmatch(line)
        assert ready, f"not ready but {line!r}; its log:\n{self.log.read_text()}"
        self._output = asyncio.create_task(self._process.stdout.read())
        self.address = ready.group(1).decode()
        self._callers.append(Caller(self.address))
        self.life += 1
        self._born.tell()

    def kill(self) -> None:
        """SIGKILL: nothing is said, nothing is finished."""
        assert self._process is not None
        self._process.kill()

    def terminate(self) -> None:
        """SIGTERM: the server drains."""
        self.signal(signal.SIGTERM)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self, seconds: float = END_SECONDS) -> int:
        """The exit code, once the process has ended by itself or by a signal sent before."""
        assert self._process is not None
        async with asyncio.timeout(seconds):
            await self._process.wait()
            if self._output is not None:
                await self._output
        assert self._process.returncode is not None
        return self._process.returncode

    async def restart(self) -> None:
        """Kills the process and starts another life on the same data directory."""
        self.kill()
        await self.ended()
        await self.start()

    async def next_life(self, after: int) -> None:
        """Returns once there is a life above that number."""
        await self._born.until(lambda: self.life > after)

    def foreign_output(self) -> list[str]:
        """What nobody meant to be on standard error: neither the log, nor a warning, nor the gRPC library's own."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line for line in lines if not _MEANT.match(line)]

    async def close(self) -> None:
        """Ends the process and lets go of every channel."""
        if self.is_running:
            self.kill()
        if self._process is not None:
            await self.ended()
        for caller in self._callers:
            await caller.channel.close()
