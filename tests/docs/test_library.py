"""The program of docs/library.md is whole: taken from the page, it runs, and goes on where it was."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.docs.blocks import is_there
from tests.e2e.server_process import ROOT

SECONDS = 60
PAGE = (ROOT / "docs/library.md").read_text()
MARKED = re.compile(r"<!-- run by (\S+) -->\n```python\n(.*?)```\n", re.DOTALL)


def played(program: Path, folder: Path) -> list[str]:
    """What the program prints in a folder with two files."""
    ended = subprocess.run(
        [sys.executable, str(program), str(folder.parent / "data")],
        cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def test_the_program_of_the_page_answers_and_a_second_start_finds_its_run(tmp_path: Path) -> None:
    (_, text), _ = MARKED.findall(PAGE)
    program, folder = tmp_path / "program.py", tmp_path / "folder"
    program.write_text(text)
    folder.mkdir()
    for name in ("a", "b"):
        (folder / name).touch()

    first, second = played(program, folder), played(program, folder)

    assert first[0] == "RUN_STARTED"
    assert first[-2:] == ["RUN_COMPLETED", "COMPLETED There are 2 files. "]
    assert second == [*first[:-1], "COMPLETED There are 2 files. (as answered before)"]


def test_a_function_of_the_program_is_asked_and_approves(tmp_path: Path) -> None:
    (_, text), (_, approved) = MARKED.findall(PAGE)
    program, folder = tmp_path / "program.py", tmp_path / "folder"
    conditions = "from runwright.adapters.cel_conditions import CelConditions\n"
    changed = text.replace(
        "        packages=[PACKAGE],\n", "        packages=[PACKAGE], conditions=CelConditions(), **APPROVED,\n"
    )
    assert changed != text
    program.write_text(changed.replace("def build(", f"{conditions}{approved}\n\ndef build(", 1))
    folder.mkdir()

    said = played(program, folder)

    assert said[-1] == "COMPLETED There are 0 files. "
    assert """may it call count_files with b'{"folder":"."}' ?""" in said
    assert {"APPROVAL_REQUESTED", "APPROVAL_DISPATCHED", "APPROVAL_DECIDED"} <= {*said}


def test_every_program_of_the_page_is_run_here() -> None:
    assert PAGE.count("```python") == len(MARKED.findall(PAGE))
    assert all(is_there(test) for test, _ in MARKED.findall(PAGE))
