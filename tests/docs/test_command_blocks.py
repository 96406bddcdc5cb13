"""Every command that a page shows is run by a test, or the page says why nobody can."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.docs.blocks import Block, blocks_of, is_there, pages
from tests.e2e.server_process import ROOT

SECONDS = 60
# Whole pages that somebody else has to run, and why.
PAGES_NOT_RUN = {"docs/models.md": "every block needs a model of a vendor's, and its key"}
ALL = [block for page in pages() for block in blocks_of(page)]
HERE = [block for block in ALL if not (block.not_run or block.run_by or block.page in PAGES_NOT_RUN)]
FIRST = next(block for block in HERE if "workspace_tools.py" in block.text)
STAND_INS = ("7760", "7761", "7770", "9464")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
INSTALLS = re.compile(r"pip install [^\n]*\[([a-z,]+)\]")
ASKED_FOR = re.compile(r'(?:extra_missing\("--\w+", |_require\()"(\w+)"')
# What the harness runs without being asked: the project's own programs, and what looks at them.
HARMLESS = re.compile(r"(RUNWRIGHT_KEY=\S+ )?\.venv/bin/|grpcurl |curl -s http://127|openssl |printf ")
CALLS = re.compile(r"(?:^|[|&;(]|\$ |\s)((?:\S*/)?runwright) (?:--server \S+ |--tls-ca \S+ )*[a-z]")


@dataclass
class Ports:
    """A folder in which a page's commands can be typed as they are, but for their ports."""

    folder: Path
    ports: Mapping[str, int]
    background: list[subprocess.Popen[str]] = field(default_factory=list)
    served: set[str] = field(default_factory=set)
    key: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """As in a new terminal; servers and clients find one another where the pages' usual port would be."""
        usual = f"127.0.0.1:{self.ports['7760']}"
        mine = {"RUNWRIGHT_SERVER": usual, "RUNWRIGHT_LISTEN": usual, "RUNWRIGHT": str(self.folder)}
        path = os.pathsep.join([str(ROOT / ".cache/bin"), os.environ["PATH"]])
        return {**os.environ, **mine, "PATH": path, "COLUMNS": "200"}

    def typed(self, command: str) -> str:
        """The command with this world's ports and keys; nothing is bound beyond loopback."""
        for usual, port in self.ports.items():
            command = command.replace(f":{usual}", f":{port}")
        if "workspace_tools.py ." in command:
            command = command.replace("workspace_tools.py .", f"workspace_tools.py . 127.0.0.1:{self.ports['7761']}")
        return command.replace("0.0.0.0", "127.0.0.1").replace("rwk_…", self.key)

    def run(self, command: str) -> None:
        """Runs it to its end, or, when it serves, until it says so."""
        assert "…" not in self.typed(command), command
        assert HARMLESS.match(command), (
            f"{command!r} is not run here: mark its block with who runs it, or why nobody does"
        )
        if INSTALLS.search(command) or command.endswith("pip install ./clients/python"):
            return  # it is installed: the test of the extras holds what is named
        if command.startswith("grpcurl") and not shutil.which("grpcurl", path=self.environment["PATH"]):
            return
        words: list[str] = ["bash", "-c", self.typed(command)]
        if re.search(r"runwright serve|workspace_tools\.py", command):
            self.serve(self.typed(command).partition(" #")[0].strip())
            return
        ended = subprocess.run(
            words, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, f"{command}\n{ended.stdout}\n{ended.stderr}"
        if found := re.search(r"rwk_\w+", ended.stdout):
            self.key = found[0]

    def serve(self, command: str) -> None:
        """Starts a server, and waits until it serves; one that an earlier page has started goes on."""
        if command in self.served:
            return
        self.served.add(command)
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=(self.folder / "log").open("a"), text=True,
        )  # fmt: skip
        self.background.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "serving on" in line, f"{command}\n{line}\n{(self.folder / 'log').read_text()}"


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    """What the first steps of the README start, in a folder that looks like a checkout with an installation."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / ".venv/bin").mkdir(parents=True)
    for name, words in {"python": "", "runwright": " -m runwright"}.items():
        script = folder / ".venv/bin" / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}"{words} "$@"\n')
        script.chmod(0o755)
    for name in ("examples", "constraints.txt", "clients", "proto"):
        (folder / name).symlink_to(ROOT / name)
    made = Ports(folder, {usual: free_port() for usual in STAND_INS})
    try:
        for command in FIRST.commands:
            made.run(command)
        yield made
    finally:
        for process in reversed(made.background):
            process.terminate()
        for process in made.background:
            process.communicate(timeout=SECONDS)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize("block", [block for block in HERE if block is not FIRST], ids=lambda block: block.place)
def test_the_commands_of_a_block_work_in_their_order(block: Block, ports: Ports) -> None:
    for command in block.commands:
        ports.run(command)


@pytest.mark.parametrize("block", ALL, ids=lambda block: block.place)
def test_a_block_is_run_by_a_test_or_says_why_not(block: Block) -> None:
    assert block.commands or block.not_run, "a block of commands has commands"
    if block.run_by:
        assert is_there(block.run_by), f"{block.run_by} is no test"
    if block.not_run:
        assert len(block.not_run.split()) > 3, "a reason is a sentence"


@pytest.mark.parametrize("block", ALL, ids=lambda block: block.place)
def test_a_block_calls_the_program_as_a_checkout_has_it(block: Block) -> None:
    wanted = "$RUNWRIGHT/.venv/bin/runwright" if block.page.startswith("clients/") else ".venv/bin/runwright"
    called = [name for command in block.commands for name in CALLS.findall(command.partition("  #")[0])]

    assert set(called) <= {wanted}


def test_whatever_names_an_extra_names_one_that_exists() -> None:
    files = [*pages(), *(str(path.relative_to(ROOT)) for path in (ROOT / "server/runwright").rglob("*.py"))]
    named = {
        (file, extra)
        for file in [*files, "Dockerfile", "Makefile"]
        for found in (*INSTALLS.findall((ROOT / file).read_text()), *ASKED_FOR.findall((ROOT / file).read_text()))
        for extra in found.split(",")
    }

    assert {extra for _, extra in named} >= {"metrics", "otel", "models"}
    assert not [file for file in files if re.search(r"pip install '?runwright", (ROOT / file).read_text())], (
        "nothing is published"
    )
    assert [each for each in named if each[1] not in EXTRAS] == []


def test_a_marker_is_read_and_a_block_without_one_is_run_here() -> None:
    text = "<!-- not run: it has no end at all -->\n\n```console\n$ a\n```\n"
    text += "<!-- run by tests/x.py -->\n```sh\n$ b \\\n    c\nout\n```\n"
    text += "```console\n$ d '{\n  e}' f\n$ g\n```\n"

    first, second, third = blocks_of("page", text)

    assert (first.not_run, first.commands) == ("it has no end at all", ["a"])
    assert (second.run_by, second.commands) == ("tests/x.py", ["b \\\n    c"])
    assert (third.not_run, third.run_by, third.commands) == ("", "", ["d '{\n  e}' f", "g"])
