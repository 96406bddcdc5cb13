"""The commands that pages show: every fenced block for a shell, and what the page says of who runs it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.server_process import ROOT

PAGES = (
    "README.md",
    "clients/README.md",
    "clients/other-languages.md",
    "clients/go/README.md",
    "clients/python/README.md",
    "clients/typescript/README.md",
)
# A block is run by the harness of `test_command_blocks.py`, unless a comment above it says otherwise.
_MARKER = re.compile(r"<!-- (not run|run by)[: ]\s*(.+?) -->")
_SHELLS = ("console", "sh", "bash", "shell")


@dataclass(frozen=True)
class Block:
    """One block of a page. `not_run` is why nobody runs it; `run_by` is the test that does."""

    page: str
    line: int
    text: str
    not_run: str = ""
    run_by: str = ""

    @property
    def place(self) -> str:
        """Where it is, for a message."""
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """The commands, with the lines that continue them; what is printed is left out."""
        found: list[str] = []
        is_open = False
        for line in self.text.splitlines():
            if line.lstrip().startswith(("$ ", "# ")):
                found.append(line.lstrip()[2:])
                is_open = True
            elif is_open and found and _goes_on(found[-1]):
                found[-1] += "\n" + line
            else:
                is_open = False
        return found


def _goes_on(command: str) -> bool:
    return command.endswith("\\") or command.count("'") % 2 == 1


def pages() -> list[str]:
    """Every page whose commands are held to this, from the checkout's root."""
    docs = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))
    return [*PAGES, *docs]


def blocks_of(page: str, text: str | None = None) -> Iterator[Block]:
    """The blocks of a page, in order: those for a shell, and those of no language that show a prompt."""
    lines = ((ROOT / page).read_text() if text is None else text).splitlines()
    opened: int | None = None
    for number, line in enumerate(lines):
        if not line.lstrip().startswith("```"):
            continue
        if opened is None:
            opened = number
            continue
        inside = "\n".join(lines[opened + 1 : number]) + "\n"
        language = lines[opened].strip().removeprefix("```")
        if language in _SHELLS or (not language and re.search(r"^ *\$ ", inside, re.MULTILINE)):
            above = next((each.strip() for each in reversed(lines[:opened]) if each.strip()), "")
            marker = _MARKER.fullmatch(above)
            said = {} if marker is None else {marker[1].replace(" ", "_"): marker[2]}
            yield Block(page, opened + 1, inside, **said)
        opened = None


def is_there(test: str) -> bool:
    """True for a test file, and for a test in it after `::`."""
    path, _, name = test.partition("::")
    file = ROOT / Path(path)
    return file.is_file() and (not name or f"def {name}(" in file.read_text())
