"""The worked example of docs/policy.md, from an empty folder: real tools, a real page, what the agent could not do."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from tests.bootstrap.leftovers import free_port
from tests.e2e.conftest import MakeServer
from tests.e2e.server_process import ROOT
from tests.e2e.test_keys_and_tls import runwright

EXAMPLE = ROOT / "examples/careful"
PAGE = "127.0.0.1:7763"
SECONDS = 30.0


async def test_the_careful_agent_reads_writes_below_its_folder_and_sends_nothing_after_a_strangers_page(
    make_server: MakeServer, tmp_path: Path
) -> None:
    folder, here = tmp_path / "empty", f"127.0.0.1:{free_port()}"
    folder.mkdir()
    (folder / "notes.txt").write_text("dentist at ten\n")
    package = tmp_path / "careful.yaml"
    package.write_text((EXAMPLE / "package.yaml").read_text().replace(PAGE, here))
    server = make_server()
    server.packages, server.executors = [package], {}
    await server.start()
    log = (tmp_path / "tools.log").open("w+")
    tools = await asyncio.create_subprocess_exec(
        sys.executable, str(EXAMPLE / "tools.py"), server.address, here, cwd=folder, stderr=log, stdout=log,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        async with asyncio.timeout(SECONDS):  # a call waits until its executor has registered
            code, said, error = await runwright("--server", server.address, "run", "--id", "run-1", "What is new?")
    finally:
        tools.terminate()
        await tools.wait()
        log.close()

    assert code == 0, error
    assert "The meeting is on Friday" in said and "the network is closed for this session" in said
    assert {path.name for path in folder.rglob("*.txt")} == {"notes.txt", "a.txt"}
    assert (folder / "out/a.txt").read_text() == "a"
    assert (folder / "notes.txt").read_text() == "dentist at ten\n", "only below out/"
    assert "GET /news" in (tmp_path / "tools.log").read_text()
    assert "GET /collect" not in (tmp_path / "tools.log").read_text()
