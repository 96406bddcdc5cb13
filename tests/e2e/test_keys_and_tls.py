"""A server with keys and TLS, used through the command line as an operator would."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor
from tests.e2e.packages import LOOK, one_call
from tests.e2e.scraping import log_lines
from tests.transport.known import certificate

CLI_SECONDS = 30


async def ended(*command: str, **environment: str) -> tuple[int, str, str]:
    """Runs a program to its end: exit code, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), CLI_SECONDS)
    return process.returncode or 0, out.decode(), err.decode()


async def runwright(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Runs one command of the command line."""
    return await ended(sys.executable, "-m", "runwright", *arguments, **environment)


async def test_keys_are_handed_out_used_and_taken_back(
    make_server: MakeServer, executor: Executor, tmp_path: Path
) -> None:
    keys = str(tmp_path / "keys.json")
    cert, key_file = certificate(tmp_path / "tls", "localhost")
    _, caller, _ = await runwright("keys", "add", "billing", "--file", keys, "--role", "caller")
    _, reader, _ = await runwright("keys", "add", "desk", "--file", keys, "--role", "observer")
    tls = ("--tls-cert", str(cert), "--tls-key", str(key_file))
    server = make_server(one_call("one", LOOK), options=("--keys", keys, *tls))
    await server.start()
    at = ("--server", f"localhost:{server.address.rpartition(':')[2]}", "--tls-ca", str(cert))

    ran = await runwright(*at, "run", "hello", "--id", "r1", RUNWRIGHT_KEY=caller.strip())
    read = await runwright(*at, "get", "r1", RUNWRIGHT_KEY=reader.strip())
    refused = await runwright(*at, "run", "hello", RUNWRIGHT_KEY=reader.strip())
    stranger = await runwright(*at, "get", "r1")
    _, listed, _ = await runwright("keys", "ls", "--file", keys)
    await runwright("keys", "revoke", listed.split()[0], "--file", keys)
    revoked = await runwright(*at, "get", "r1", RUNWRIGHT_KEY=caller.strip())

    assert ran[0] == 0, ran
    assert "COMPLETED" in read[1]
    assert "ROLE_MISSING" in refused[2]
    assert "UNAUTHENTICATED" in stranger[2]
    assert "UNAUTHENTICATED" in revoked[2]
    assert caller.strip() not in listed + Path(keys).read_text()
    assert Path(keys).stat().st_mode & 0o777 == 0o600


async def test_a_remote_address_is_bound_with_keys_and_tls(make_server: MakeServer, tmp_path: Path) -> None:
    keys = str(tmp_path / "keys.json")
    cert, key_file = certificate(tmp_path / "tls", "localhost")
    await runwright("keys", "add", "billing", "--file", keys, "--role", "caller")
    guarded = ("--keys", keys, "--tls-cert", str(cert), "--tls-key", str(key_file), "--listen", "0.0.0.0:0")
    server = make_server(one_call("one", LOOK), options=guarded)

    await server.start()

    assert server.address.startswith("0.0.0.0:")


async def test_secrets_that_others_may_read_are_warned_of_at_the_start(make_server: MakeServer, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    cert, key_file = certificate(tmp_path / "tls", "localhost")
    await runwright("keys", "add", "billing", "--file", str(keys), "--role", "caller")
    guarded = ("--keys", str(keys), "--tls-cert", str(cert), "--tls-key", str(key_file))
    server = make_server(one_call("one", LOOK), options=guarded)
    key_file.chmod(0o600)
    await server.start()
    quiet = [line for line in log_lines(server) if line["level"] == "warning"]
    for secret in (keys, key_file):
        secret.chmod(0o644)

    await server.restart()

    message = [(line["message"], line["remedy"]) for line in log_lines(server) if line["level"] == "warning"]
    assert quiet == []
    assert message == [(f"Others may read {file} (0644).", f"chmod 600 {file}") for file in (keys, key_file)]
