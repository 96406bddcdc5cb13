"""A program in a terminal: a pseudo-terminal of the system, whose screen a terminal emulator holds."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pyte

from tests.e2e.server_process import ROOT

SECONDS = 30.0
RUNWRIGHT = (sys.executable, "-m", "runwright")
_OURS = ("RUNWRIGHT_", "COLUMNS", "LINES")


class Terminal:
    """One program and what it has written: `text` is all of it, `screen` what is to be seen now."""

    def __init__(self, process: asyncio.subprocess.Process, descriptor: int, columns: int, rows: int) -> None:
        self.process = process
        self.written = b""
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._descriptor = descriptor
        self._changed = asyncio.Event()
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    @property
    def text(self) -> str:
        """Everything that was written, with its control sequences."""
        return self.written.decode("utf-8", "replace").replace("\r\n", "\n")

    @property
    def screen(self) -> str:
        """The lines of the screen."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    def type(self, keys: str) -> None:
        """Keys, as if somebody pressed them."""
        os.write(self._descriptor, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        """Another size of the window; the system tells the program."""
        self._screen.resize(rows, columns)
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    async def until(self, *wanted: str | Callable[[str], bool], since: int = 0) -> str:
        """All that was written, once each word is in what came after the byte `since`; without one, or on the screen.

        A function is asked about the screen.
        """

        def is_there() -> bool:
            text = self.written[since:].decode("utf-8", "replace").replace("\r\n", "\n")
            seen = text if since else f"{text}\n{self.screen}"
            return all(one(self.screen) if callable(one) else one in seen for one in wanted)

        try:
            async with asyncio.timeout(SECONDS):
                while not is_there():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{wanted} did not come; what came is:\n{self.text[-4000:]}\n{self.screen}") from None
        return self.text

    async def ended(self) -> int:
        """The exit code, once the program has ended."""
        async with asyncio.timeout(SECONDS):
            return await self.process.wait()

    async def close(self) -> None:
        """Ends the program."""
        asyncio.get_running_loop().remove_reader(self._descriptor)
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        os.close(self._descriptor)

    def _read(self) -> None:
        data = os.read(self._descriptor, 65536)
        self.written += data
        self._stream.feed(data)
        self._changed.set()


@asynccontextmanager
async def in_terminal(
    *words: str,
    program: Sequence[str] = RUNWRIGHT,
    environment: Mapping[str, str] | None = None,
    where: Path = ROOT,
    columns: int = 100,
    rows: int = 40,
) -> AsyncIterator[Terminal]:
    """Runs a program, `runwright` unless another is given, with these words in a terminal of that size."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    usual = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    # The first terminal that a new session opens is its own: then Ctrl-C is a signal.
    opened = ["sh", "-c", 'exec "$@" <"$0" >"$0" 2>&1', os.ttyname(theirs)]
    process = await asyncio.create_subprocess_exec(
        *opened,
        *program,
        *words,
        cwd=where,
        env={**usual, "TERM": "xterm-256color", **(environment or {})},
        start_new_session=True,
    )
    terminal = Terminal(process, ours, columns, rows)
    try:
        yield terminal
    finally:
        await terminal.close()
        os.close(theirs)  # held so long that what was written last can be read
