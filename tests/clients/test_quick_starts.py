"""The programs of clients/README.md, pasted into an empty folder: each goes on over a kill of the server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml
from runwright._gen.runwright.v1 import event_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb

from tests.clients.program import running
from tests.e2e.conftest import MakeServer
from tests.e2e.server_process import ROOT

README = (ROOT / "clients/README.md").read_text()
SPEC = yaml.safe_load(re.search(r"```yaml\n(format.*?)```", README, re.DOTALL)[1])
ADDRESS = "127.0.0.1:7760"
EVENT = re.compile(r"(\d+) (?:EVENT_KIND_)?([A-Z_]+)")
WALKED = re.compile(r"  walking: (\S+), attempt (\d+)")
BUILD_SECONDS = 300


def program(name: str, address: str) -> str:
    """A program of the page, with another address and shorter steps."""
    text = re.search(rf"```\w+\n((?:#|//) {re.escape(name)}\n.*?)```", README, re.DOTALL)[1]
    assert ADDRESS in text
    for slow, quick in (("sleep(2)", "sleep(0.5)"), ("2 * time.Second", "time.Second / 2"), ("(2000,", "(500,")):
        text = text.replace(slow, quick)
    return text.replace(ADDRESS, address)


def make(*command: str, folder: Path, **environment: str) -> None:
    """One command of a tool chain."""
    environment = {**os.environ, **environment}
    ended = subprocess.run(
        command, check=False, cwd=folder, env=environment, capture_output=True, text=True, timeout=BUILD_SECONDS
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def in_python(folder: Path) -> tuple[Path, list[str], Mapping[str, str]]:
    return Path(sys.executable), [str(folder / "walk.py")], {"PYTHONPATH": str(ROOT / "clients/python/src")}


def in_go(folder: Path) -> tuple[Path, list[str], Mapping[str, str]]:
    module = "github.com/runwright/runwright/clients/go"
    cache = ROOT / ".cache/go"
    environment = {"GOMODCACHE": str(cache / "mod"), "GOCACHE": str(cache / "build"), "GOFLAGS": "-modcacherw"}
    make("go", "mod", "init", "example.org/walk", folder=folder, **environment)
    make("go", "mod", "edit", "-replace", f"{module}={ROOT / 'clients/go'}", folder=folder, **environment)
    make("go", "mod", "tidy", folder=folder, **environment)
    make("go", "build", "-o", "walk", ".", folder=folder, **environment)
    return folder / "walk", [], {}


def in_typescript(folder: Path) -> tuple[Path, list[str], Mapping[str, str]]:
    # In place of `npm install`, which asks the registry for what the checkout has already.
    make("make", "conformance", folder=ROOT / "clients/typescript")
    (folder / "node_modules/@runwright").mkdir(parents=True)
    (folder / "node_modules/@runwright/client").symlink_to(ROOT / "clients/typescript")
    return Path(shutil.which("node") or ""), [str(folder / "walk.mjs")], {}


LANGUAGES: dict[str, tuple[str, str, Callable[[Path], tuple[Path, list[str], Mapping[str, str]]]]] = {
    "python": ("walk.py", "python3", in_python),
    "go": ("walk.go", "go", in_go),
    "typescript": ("walk.mjs", "npm", in_typescript),
}


@pytest.mark.timeout(BUILD_SECONDS + 60)
@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_pasted_program_goes_on_over_a_kill(language: str, make_server: MakeServer, tmp_path: Path) -> None:
    name, tool_chain, prepare = LANGUAGES[language]
    if shutil.which(tool_chain) is None:
        assert "RUNWRIGHT_CI" not in os.environ, f"{tool_chain} is missing"
        pytest.skip(f"{tool_chain} is missing")
    server = make_server(SPEC, executors={})
    await server.start()
    server.options += ["--listen", server.address]  # where its later lives serve, too
    folder = tmp_path / "empty"
    folder.mkdir()
    (folder / name).write_text(program(name, server.address))
    command, words, environment = prepare(folder)

    async with running(command, *words, **environment) as pasted:
        await pasted.until(lambda: sum("walking" in line for line in pasted.out) == 2)
        await server.restart()
        code = await pasted.ended()

    assert code == 0, pasted.message
    seen = [(int(found[1]), found[2]) for line in pasted.out if (found := EVENT.match(line))]
    (run,) = (await server.call.stub.ListRuns(pb.ListRunsRequest())).runs
    retained = [frame.event for frame in await server.call.frames(run.run_id)]
    assert seen == [(event.seq, event_pb2.EventKind.Name(event.kind).removeprefix("EVENT_KIND_")) for event in retained]
    walked = [found.groups() for line in pasted.out if (found := WALKED.match(line))]
    assert len({key for key, _ in walked}) == 5
    assert len(set(walked)) == len(walked), "no attempt is made twice"
    assert pasted.out[-1].startswith("Arrived:") and "step 5" in pasted.out[-1]
