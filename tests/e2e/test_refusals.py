"""What a server cannot be started with: it says so in a line or two, with the remedy, and exits."""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeServer
from tests.e2e.packages import LOOK, one_call
from tests.e2e.server_process import ROOT, Server

SPEC = one_call("one", LOOK)
SOON_SECONDS = 60.0


async def refusal(server: Server, *, listen: str = "127.0.0.1:0") -> str:
    """Starts a server that must exit soon, with a code that is not 0 and without a traceback; what it says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *server.arguments(listen),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        async with asyncio.timeout(SOON_SECONDS):
            output, message = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode != 0
    assert output == b"", "it never says that it serves"
    assert b"Traceback" not in message, message.decode()
    return message.decode()


async def test_a_second_server_on_the_data_directory_names_the_holder(make_server: MakeServer) -> None:
    first = make_server(SPEC)
    await first.start()
    message = await refusal(make_server(SPEC))
    assert f"process {first.pid} " in message
    assert str(first.data) in message
    assert (await first.call.start("run-1")).created, "the first one is not disturbed"


async def test_a_second_server_on_the_port_names_the_address(make_server: MakeServer, tmp_path: Path) -> None:
    first = make_server(SPEC)
    await first.start()
    second = make_server(SPEC)
    second.data = tmp_path / "other"
    assert first.address in await refusal(second, listen=first.address)
    assert (await first.call.start("run-1")).created


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0"])
async def test_another_address_than_loopback_needs_a_flag_that_is_named(make_server: MakeServer, listen: str) -> None:
    message = await refusal(make_server(SPEC), listen=listen)
    assert "--insecure-allow-remote" in message
    assert "--listen" in message


@pytest.mark.parametrize(
    ("change", "inside", "rule"),
    [
        ({"polcy": "builtin:read-only"}, "polcy", "no key that is known here. Did you mean policy?"),
        ({"policy": "builtin:everything"}, "policy", "builtin:read-only"),
        ({"tools": [LOOK, LOOK]}, "tools.1.name", "another name than the tools before it"),
        ({"tools": [{**LOOK, "parameters": {"type": "objekt"}}]}, "tools.0.parameters", '"type": "object"'),
        ({"tools": [{**LOOK, "timeout_ms": 0}]}, "tools.0.timeout_ms", "at least 1"),
    ],
    ids=["unknown-key", "unknown-policy", "same-tool-twice", "bad-schema", "no-time"],
)
async def test_a_bad_package_file_names_file_place_and_rule(
    make_server: MakeServer, change: dict[str, object], inside: str, rule: str
) -> None:
    server = make_server({**SPEC, **change})
    message = await refusal(server)
    assert inside in message.replace("[0]", ".0")
    assert rule in message
    assert str(server.packages[0]) in message


@pytest.mark.parametrize(
    ("text", "said"),
    [("tools: [", "YAML"), ("id: one\nid: two\n", "repeated"), ("", "it is empty"), (None, "does not exist")],
    ids=["not-yaml", "repeated-key", "empty", "missing"],
)
async def test_a_file_that_is_no_package_is_named(make_server: MakeServer, text: str | None, said: str) -> None:
    server = make_server(SPEC)
    (path,) = server.packages
    path.unlink()
    if text is not None:
        path.write_text(text)
    message = await refusal(server)
    assert str(path) in message
    assert said in message


async def test_a_journal_of_random_bytes_is_refused_in_one_line_and_left_alone(make_server: MakeServer) -> None:
    server = make_server(SPEC)
    server.data.mkdir()
    noise = random.Random(1).randbytes(100_000)
    (server.data / "journal.db").write_bytes(noise)
    message = await refusal(server)
    assert len(message.splitlines()) == 1
    assert "journal" in message
    assert (server.data / "journal.db").read_bytes() == noise


async def test_a_data_directory_that_is_a_file_is_refused_in_one_line(make_server: MakeServer) -> None:
    server = make_server(SPEC)
    server.data.write_text("not a directory")
    message = await refusal(server)
    assert len(message.splitlines()) == 1
    assert str(server.data) in message


@pytest.mark.parametrize("option", ["--executor=desk", "--executor=desk=nowhere", "--default-package=unknown"])
async def test_an_option_that_cannot_be_used_is_named(make_server: MakeServer, option: str) -> None:
    message = await refusal(make_server(SPEC, options=(option,)))
    assert option.split("=", maxsplit=1)[0] in message or "unknown" in message
