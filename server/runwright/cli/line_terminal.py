"""The terminal that a command was started in: lines that somebody types there, while something else may happen."""

from __future__ import annotations

import os
import select
import sys
import termios
from typing import Protocol

MOST_BYTES = 64 * 1024


class HasFileno(Protocol):
    """What `select` can wait for."""

    def fileno(self) -> int:
        """Its descriptor."""


class LineTerminal:
    """Reads lines from standard input and writes to standard error, both terminals."""

    @staticmethod
    def is_there() -> bool:
        """True when somebody can be asked: standard input and standard error are terminals."""
        try:
            return os.isatty(sys.stdin.fileno()) and sys.stderr.isatty()
        except (OSError, ValueError):  # closed
            return False

    def discard(self) -> None:
        """Forgets what was typed before: it was typed without having seen what is asked now."""
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)

    def say(self, text: str) -> None:
        """Writes a line."""
        print(text, file=sys.stderr, flush=True)

    def prompt(self, text: str) -> None:
        """Writes what is answered on the same line."""
        print(text, end="", file=sys.stderr, flush=True)

    def line(self, other: HasFileno) -> str | None:
        """What somebody has typed up to Enter; None when `other` can be read first. Raises EOFError at Ctrl-D.

        In the terminal's own line mode a read gives one line, so that no second one waits unseen in a buffer.
        """
        source = sys.stdin.fileno()
        readable, _, _ = select.select([source, other], [], [])
        if other in readable:
            return None
        typed = os.read(source, MOST_BYTES)
        if not typed:
            raise EOFError
        return typed.decode("utf-8", "replace").rstrip("\r\n")
