"""The approval of the README's five minutes, from nothing, with its own commands, in a terminal."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.docs.blocks import blocks_of
from tests.docs.test_command_blocks import free_port
from tests.e2e.server_process import ROOT
from tests.e2e.terminal import in_terminal

BLOCKS = list(blocks_of("README.md"))
START = next(block for block in BLOCKS if "workspace_tools.py" in block.text).commands
APPROVAL = next(block for block in BLOCKS if block.run_by == "tests/e2e/test_readme_approval.py").commands
SHELL = ("bash", "-c")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that looks like a checkout with an installation."""
    folder = tmp_path / "checkout"
    (folder / ".venv/bin").mkdir(parents=True)
    for name, words in {"python": "", "runwright": " -m runwright"}.items():
        script = folder / ".venv/bin" / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}"{words} "$@"\n')
        script.chmod(0o755)
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / "README.md").write_text("# Garden\nRoses need water.\n")
    return folder


@asynccontextmanager
async def serving(command: str, folder: Path, environment: dict[str, str]) -> AsyncIterator[None]:
    """A command that serves, once it says so; it is ended with the block."""
    process = await asyncio.create_subprocess_exec(
        *SHELL, f"exec {command}", cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert b"serving on" in await process.stdout.readline()
        yield
    finally:
        process.terminate()
        await process.communicate()


async def test_from_nothing_to_a_run_approved_in_the_terminal(checkout: Path) -> None:
    ports = {usual: free_port() for usual in ("7760", "7761")}
    server = f"127.0.0.1:{ports['7760']}"
    environment = {**os.environ, "RUNWRIGHT_LISTEN": server, "RUNWRIGHT_SERVER": server}
    tools, serve, *_ = (line.replace(":7761", f":{ports['7761']}") for line in START)
    put, run, cat = APPROVAL

    async with (
        serving(f"{tools} 127.0.0.1:{ports['7761']}", checkout, environment),
        serving(serve, checkout, environment),
    ):
        async with in_terminal(put, program=SHELL, environment=environment, where=checkout) as terminal:
            assert await terminal.ended() == 0
        async with in_terminal(run, program=SHELL, environment=environment, where=checkout) as terminal:
            shown = await terminal.until("write_report", "approve (a), deny (d)")
            assert not (checkout / "runwright-report.md").exists()
            terminal.type("a\n")
            assert await terminal.ended() == 0
        async with in_terminal(cat, program=SHELL, environment=environment, where=checkout) as terminal:
            assert await terminal.ended() == 0
            await terminal.until("# Report")

    report = (checkout / "runwright-report.md").read_text()
    lines = report.splitlines()
    assert any("README.md" in line for line in lines)
    assert "".join(report.split()).replace('"', '\\"').replace("\n", "") in "".join(shown.split()).replace("\\n", "")
