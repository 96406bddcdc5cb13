"""Command lines of this program, made so that they work when pasted."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

from runwright.cli import clean

DEFAULT_SERVER = "127.0.0.1:7760"


def command(server: str, *words: str) -> str:
    """A command line for the same server, quoted for a shell."""
    address = [] if server == DEFAULT_SERVER else ["--server", server]
    return clean.line(shlex.join([*program(), *address, *words]))


def program() -> list[str]:
    """How this program was called; by its bare name if the shell finds it by that."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return [sys.executable, "-m", "runwright"]
    found = shutil.which("runwright")
    if found is None and called.name == "runwright":
        return [str(called)]
    return ["runwright"]
