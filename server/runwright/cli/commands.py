"""Command lines of this program, made so that they work when pasted."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TypeAlias

from runwright.cli import sanitize

DEFAULT_SERVER = "127.0.0.1:7760"


# Global options, as a command line has them: which server, and how it is trusted.
Options: TypeAlias = tuple[str, ...]


def command(options: Options, *words: str, is_elsewhere: bool = False) -> str:
    """A command line for the server that `options` name, quoted for a shell; `is_elsewhere`: in another folder."""
    called = program()
    if is_elsewhere and "/" in called[0]:
        called[0] = str(Path(called[0]).absolute())
    return sanitize.line(shlex.join([*called, *options, *words]))


def program() -> list[str]:
    """How this program was called; by its bare name if the shell finds it by that."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return [sys.executable, "-m", "runwright"]
    found = shutil.which("runwright")
    if found is None and called.name == "runwright":
        return [str(called)]
    return ["runwright"]
