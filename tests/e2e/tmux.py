"""A program in tmux, as somebody has it open: keys are pressed, the screen is read."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

SECONDS = 30.0


class Tmux:
    """A tmux server of its own with one window."""

    def __init__(self, folder: Path) -> None:
        self._socket = str(folder / "tmux.socket")
        self._changed = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def running(
        cls, folder: Path, words: Sequence[str], where: Path, columns: int, rows: int
    ) -> AsyncIterator[Tmux]:
        """Runs a program in a window of this size; `left with CODE` stands there after its end."""
        tmux, fifo = cls(folder), folder / "output"
        os.mkfifo(fifo)
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        asyncio.get_running_loop().add_reader(reader, tmux._read, reader)
        # The program is started once somebody reads what it writes, so that nothing is missed.
        waiting = shlex.join(["tmux", "-S", tmux._socket, "wait-for", "go"])
        script = f"{waiting}; {shlex.join(words)}; printf 'left with %s' $?; exec cat"
        size = ("-x", str(columns), "-y", str(rows))
        try:
            tmux._call("-f", "/dev/null", "new-session", "-d", *size, "-c", str(where), "sh", "-c", script)
            tmux._call("pipe-pane", f"cat > {shlex.quote(str(fifo))}")
            tmux._call("wait-for", "-S", "go")
            yield tmux
        finally:
            asyncio.get_running_loop().remove_reader(reader)
            os.close(reader)
            tmux._call("kill-server")

    @property
    def screen(self) -> str:
        """What is seen."""
        return self._call("capture-pane", "-p")

    def keys(self, *names: str) -> None:
        """Keys, by tmux's names for them."""
        self._call("send-keys", *names)

    def resize(self, columns: int, rows: int) -> None:
        """Another size of the window."""
        self._call("resize-window", "-x", str(columns), "-y", str(rows))

    async def until(self, *wanted: str) -> None:
        """Returns once all of it is on the screen; looks again whenever something was written."""
        try:
            async with asyncio.timeout(SECONDS):
                while True:
                    self._changed.clear()
                    screen = self.screen
                    if all(one in screen for one in wanted):
                        return
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{wanted} did not come:\n{self.screen}") from None

    def _read(self, reader: int) -> None:
        if not os.read(reader, 65536):
            asyncio.get_running_loop().remove_reader(reader)  # nobody writes any more
        self._changed.set()

    def _call(self, *words: str) -> str:
        called = ["tmux", "-S", self._socket, *words]
        usual = {name: value for name, value in os.environ.items() if not name.startswith("RUNWRIGHT_")}
        usual.setdefault("LC_ALL", "C.UTF-8")
        ended = subprocess.run(called, env=usual, capture_output=True, text=True, check=False, timeout=SECONDS)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout
