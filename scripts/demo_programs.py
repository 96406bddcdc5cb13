"""How the demo starts this project's programs, and how it prints commands that work when pasted."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class DemoFailed(Exception):
    """The demo cannot go on; the text says why."""


def program() -> list[str]:
    """How to call the command line: the installed script beside this Python, or the module of this checkout."""
    script = Path(sys.executable).with_name("runwright")
    return [shown(script)] if script.exists() else [*interpreter(), "-m", "runwright"]


def interpreter() -> list[str]:
    """How to call Python so that it finds the server's package."""
    if Path(sys.executable).with_name("runwright").exists():
        return [shown(Path(sys.executable))]
    return ["env", f"PYTHONPATH={shown(ROOT / 'server')}", shown(Path(sys.executable))]


def environment() -> dict[str, str]:
    """Our environment, in which this checkout's package comes first."""
    path = os.pathsep.join(part for part in (str(ROOT / "server"), os.environ.get("PYTHONPATH", "")) if part)
    return {**os.environ, "PYTHONPATH": path}


def shown(path: Path) -> str:
    """A path as a person would type it here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def say(text: str) -> None:
    """Prints at once, since the processes print beside us."""
    print(text, flush=True)
