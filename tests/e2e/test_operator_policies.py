"""The operator's policies of a real server: read at the start, read again on SIGHUP, and a bad file changes nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from tests.e2e.conftest import MakeServer
from tests.e2e.packages import package, says
from tests.e2e.server_process import Server
from tests.e2e.test_keys_and_tls import runwright
from tests.e2e.test_refusals import refusal

SECONDS = 20.0
CLOSED = """format: runwright-policies-v0
namespaces:
  default:
    - rules: [{stage: run_start, when: 'run.labels.size() == 0', then: deny, code: closed}]
"""
OPEN = CLOSED.replace("then: deny", "then: allow")


async def reloaded(server: Server, message: str) -> None:
    """Has the server read its files again, until its log says that it has."""
    os.kill(server.pid, signal.SIGHUP)
    async with asyncio.timeout(SECONDS):
        while message not in server.log.read_text():
            await runwright("--server", server.address, "ls")


async def test_the_file_is_read_at_the_start_and_again_on_sighup(make_server: MakeServer, tmp_path: Path) -> None:
    rules = tmp_path / "policies.yaml"
    rules.write_text(CLOSED)
    server = make_server(package("words", [says("hello")]), options=("--policies", str(rules)))
    await server.start()
    at = ("--server", server.address)

    code, _, said = await runwright(*at, "run", "--id", "one", "hello")
    assert code != 0 and "POLICY_DENIED" in said and "closed" in said

    rules.write_text(OPEN)
    await reloaded(server, "policies read again")
    assert (await server.call.start("two")).created

    rules.write_text(CLOSED.replace("run.labels", "args.labels"))
    await reloaded(server, "policies cannot be used")
    assert (await server.call.start("three")).created, "the last good ones stay in force"

    code, audited, _ = await runwright(*at, "audit")
    assert code == 0
    assert "RELOAD_FAILED" in audited and "START_REFUSED" in audited and "operator.policies.0.rules.0" in audited
    assert server.is_running


async def test_a_server_does_not_start_with_policies_that_cannot_be_used(
    make_server: MakeServer, tmp_path: Path
) -> None:
    rules = tmp_path / "policies.yaml"
    rules.write_text(CLOSED.replace("run.labels", "args.labels"))

    said = await refusal(make_server(package("words", [says("hello")]), options=("--policies", str(rules))))

    assert "namespaces.default.0.rules.0.when, line 4" in said
    assert "there is no variable args" in said
