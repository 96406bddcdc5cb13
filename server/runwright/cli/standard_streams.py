"""Standard output and error: fit for a terminal whatever is printed, and outlived by a server that nobody reads."""

from __future__ import annotations

import errno
import io
import os
import shutil
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from runwright.cli import sanitize

_NAMES = ("stdout", "stderr")


class SanitizedStream:
    """A text stream behind `clean.output`: what models, peers and files say is printed, and never obeyed.

    The commands clean what they show where they know its form; this is for what one of them forgets, for messages
    of libraries and for tracebacks. `raw` is for what draws on a terminal on purpose.
    """

    def __init__(self, raw: TextIO) -> None:
        self.raw = raw
        self.outlives_its_reader = False

    def write(self, text: str) -> int:
        """Writes what is left of the text. See `outlive_readers` for what fails."""
        try:
            self.raw.write(sanitize.output(text))
        except OSError as error:
            self._bear(error)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Writes every line."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Hands over what was written. See `outlive_readers` for what fails."""
        try:
            self.raw.flush()
        except OSError as error:
            self._bear(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)

    def _bear(self, error: OSError) -> None:
        if not self.outlives_its_reader:
            raise error
        if error.errno != errno.ENOSPC:  # a full disk may have room again; a reader that has gone does not return
            _to_nowhere(self.raw.fileno())


def sanitize_standard_streams() -> None:
    """Puts `SanitizedStream` before standard output and error. A terminal without Unicode gets escapes."""
    for name in _NAMES:
        stream = getattr(sys, name)
        if isinstance(stream, SanitizedStream):
            continue
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, SanitizedStream(stream))


def outlive_readers() -> None:
    """For a server: whoever reads its output may go, or have no room; what it prints is lost then, and nothing else."""
    for name in _NAMES:
        stream = getattr(sys, name)
        if isinstance(stream, SanitizedStream):
            stream.outlives_its_reader = True


def raw(stream: TextIO) -> TextIO:
    """The stream itself, for what moves a terminal's cursor on purpose and cleans what it shows."""
    return stream.raw if isinstance(stream, SanitizedStream) else stream


def terminal_width(stream: TextIO) -> int | None:
    """The columns of the terminal that a stream writes to; None when it is none."""
    try:
        return shutil.get_terminal_size().columns if stream.isatty() else None
    except (OSError, ValueError):  # closed
        return None


def _to_nowhere(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
