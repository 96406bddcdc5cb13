"""What `runwright init` writes in an empty folder runs: the package is put, its tool is served, and a run calls it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as callback_pb
from runwright._gen.runwright.callback.v1.callback_registry_service_pb2_grpc import CallbackRegistryServiceStub
from runwright._gen.runwright.v1 import package_service_pb2 as pb
from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1.package_service_pb2_grpc import PackageServiceStub
from runwright.cli.beginnings import BEGINNINGS

from tests.clients.program import running
from tests.clients.test_quick_starts import BUILD_SECONDS, LANGUAGES
from tests.e2e.client import SECONDS, answer
from tests.e2e.conftest import MakeServer


def init(folder: Path, language: str) -> subprocess.CompletedProcess[str]:
    """The command, as somebody types it."""
    words = ("-m", "runwright", "init", str(folder), "--language", language)
    return subprocess.run((sys.executable, *words), check=False, capture_output=True, text=True, timeout=60)


@pytest.mark.timeout(BUILD_SECONDS + 60)
@pytest.mark.parametrize("language", LANGUAGES)
async def test_what_it_writes_runs(language: str, make_server: MakeServer, tmp_path: Path) -> None:
    _, tool_chain, prepare = LANGUAGES[language]
    if shutil.which(tool_chain) is None:
        assert "RUNWRIGHT_CI" not in os.environ, f"{tool_chain} is missing"
        pytest.skip(f"{tool_chain} is missing")
    folder = tmp_path / "words"
    written = init(folder, language)
    assert (written.returncode, written.stderr) == (0, "")
    command, words, environment = prepare(folder)
    words = [word.replace("walk.", "tools.") for word in words]
    server = make_server(executors={})
    await server.start()
    put = pb.PutPackageRequest(document=(folder / "package.yaml").read_text())
    made = await PackageServiceStub(server.call.channel).PutPackage(put, timeout=SECONDS)

    async with running(command, *words, server.address, **environment) as tools:
        selected = run_pb2.PackageSelector(package_id=made.package.package_id)
        await server.call.start("run-1", package=selected)
        run = await server.call.settled("run-1")

        assert answer(run) == 'The tool says {"words":2}.', tools.message
        stub = CallbackRegistryServiceStub(server.call.channel)
        [callback] = (await stub.ListCallbacks(callback_pb.ListCallbacksRequest(), timeout=SECONDS)).callbacks
        address = callback.spec.address
        assert {digest.tool for digest in callback.spec.tool_digests} == {"count_words"}
        package = folder / "package.yaml"
        described = await said("package", "tools", "--from", address, "--executor", "words")
        assert yaml.safe_load(described) == {"tools": yaml.safe_load(package.read_text())["tools"]}
        compared = await said("package", "validate", str(package), "--tools", f"words={address}")
        assert "valid, package words" in compared


async def said(*words: str) -> str:
    """What a command prints that has nothing to complain of."""
    async with running(Path(sys.executable), "-m", "runwright", *words) as command:
        code = await command.ended()
        assert (code, command.message) == (0, []), command.out
        return "\n".join(command.out)


@pytest.mark.parametrize("language", BEGINNINGS)
def test_nothing_that_is_there_is_written_over(language: str, tmp_path: Path) -> None:
    (tmp_path / "package.yaml").write_text("mine")

    refused = init(tmp_path, language)

    assert refused.returncode == 2
    assert "has package.yaml already" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["package.yaml"]
    assert (tmp_path / "package.yaml").read_text() == "mine"


def test_the_commands_it_says_are_for_the_folder_it_has_written(tmp_path: Path) -> None:
    program = Path(sys.executable).parent / "runwright"
    (tmp_path / "bin").symlink_to(program.parent)
    words = ("bin/runwright", "init", "words", "--language", "python")

    said = subprocess.run(
        words, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60, env={"PATH": "/usr/bin:/bin"}
    ).stdout

    assert f"  {tmp_path}/bin/runwright serve " in said and f"  {tmp_path}/bin/runwright run " in said
