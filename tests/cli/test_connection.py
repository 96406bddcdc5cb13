"""How a server is reached: wrong TLS options are a sentence, and a key that can be read on its way is warned of."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from runwright.cli.client import Client
from runwright.cli.commands import command
from runwright.cli.connection import Connection

from tests.cli.conftest import Program
from tests.cli.fake_runtime import FakeRuntime, serving
from tests.cli.story import RUN, one_tool
from tests.transport.known import certificate

GARBAGE = b"-----BEGIN CERTIFICATE-----\ngarbage\n-----END CERTIFICATE-----\n"
FILES = ("--tls-ca", "--tls-cert", "--tls-key")


@pytest.fixture
def pems(tmp_path: Path) -> dict[str, Path]:
    """A certificate that is its own authority, and its key, by option."""
    cert, key = certificate(tmp_path, "client")
    return {"--tls-ca": cert, "--tls-cert": cert, "--tls-key": key}


def called(*words: str) -> tuple[int, str]:
    """Exit code and standard error of the program as a process: what is wrong here used to abort it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RUNWRIGHT_")}
    command = [sys.executable, "-m", "runwright", "--server", "127.0.0.1:1", *words, "get", RUN]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env={**environment, "COLUMNS": "200"}
    )
    assert ended.stdout == ""
    return ended.returncode, " ".join(ended.stderr.replace("│", " ").split())


@pytest.mark.parametrize("value", range(1, 8))
def test_every_combination_of_tls_options_connects_or_is_one_sentence(pems: dict[str, Path], value: int) -> None:
    options = [option for number, option in enumerate(FILES) if value & 1 << number]
    code, message = called(*(word for option in options for word in (option, str(pems[option]))))

    if options in (["--tls-ca"], list(FILES)):
        assert (code, "No Runwright server answers" in message) == (5, True)
    else:
        missing = ({*FILES[1:]} - {*options}) or {"--tls-ca"}
        assert code == 2
        assert [option for option in missing if f"needs {option}" in message], message


@pytest.mark.parametrize("broken", FILES)
@pytest.mark.parametrize("content", [None, b"", b"garbage", GARBAGE, b"\xff\xfe\x00", "a key of another certificate"])
def test_a_file_that_cannot_be_used_is_named(
    pems: dict[str, Path], tmp_path: Path, broken: str, content: bytes | str | None
) -> None:
    pems[broken] = tmp_path / "broken"
    if isinstance(content, bytes):
        pems[broken].write_bytes(content)
    elif content is not None:
        pems[broken] = certificate(tmp_path, "other")[1]

    code, message = called(*(word for option, path in pems.items() for word in (option, str(path))))

    assert code == 2
    assert str(pems[broken]) in message
    assert broken in message


def test_an_authority_with_a_byte_order_mark_is_one(pems: dict[str, Path]) -> None:
    pems["--tls-ca"].write_bytes(b"\xef\xbb\xbf" + pems["--tls-ca"].read_bytes())

    code, message = called("--tls-ca", str(pems["--tls-ca"]))

    assert (code, "No Runwright server answers" in message) == (5, True)


@pytest.mark.parametrize(
    ("server", "key", "ca", "shown"),
    [
        ("runs.internal:7760", "rwk_1_2", None, True),
        ("10.0.0.9:7760", "rwk_1_2", None, True),
        ("[fd00::9]:7760", "rwk_1_2", None, True),
        ("localhost.internal:7760", "rwk_1_2", None, True),
        ("runs.internal:7760", "rwk_1_2", Path("ca.pem"), False),
        ("runs.internal:7760", "", None, False),
        ("127.0.0.1:7760", "rwk_1_2", None, False),
        ("[::1]:7760", "rwk_1_2", None, False),
        ("localhost:7760", "rwk_1_2", None, False),
    ],
)
def test_a_key_is_shown_in_plaintext_to_other_hosts_alone(server: str, key: str, ca: Path | None, shown: bool) -> None:
    assert Connection(server, key, ca).shows_its_key is shown


def test_a_key_in_plaintext_to_another_host_is_warned_of_once_on_standard_error(program: Program) -> None:
    with serving(FakeRuntime(one_tool())) as server:
        another = server.replace("127.0.0.1", "0.0.0.0")  # leads here, and is no loopback address
        code, out, err = program("--server", another, "--key", "rwk_1_secret", "events", RUN)

    assert err.count(f"warning: the key goes to {another} in plaintext") == 1
    assert "secret" not in out + err
    assert (code, "run started" in out) == (0, True)


def test_nothing_is_said_of_a_key_for_this_machine(program: Program) -> None:
    with serving(FakeRuntime(one_tool())) as server:
        code, _, err = program("--server", server, "--key", "rwk_1_secret", "events", RUN)

    assert (code, "warning" in err) == (0, False)


def test_a_private_key_that_others_may_read_is_warned_of(pems: dict[str, Path]) -> None:
    words = [word for option, path in pems.items() for word in (option, str(path))]
    pems["--tls-key"].chmod(0o600)
    _, quiet = called(*words)
    pems["--tls-key"].chmod(0o644)
    _, message = called(*words)

    assert "warning" not in quiet
    assert f"warning: others may read {pems['--tls-key']} (0644): chmod 600" in message


def test_a_key_that_was_read_from_a_file_may_have_what_stands_around_it(program: Program) -> None:
    with serving(FakeRuntime(one_tool())) as server:
        code, _, _ = program("--server", server, "--key", "\ufeffrwk_1_secret\r\n", "events", RUN)

    assert code == 0


def test_a_command_that_is_told_reaches_the_same_server(pems: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/opt/bin/runwright"])
    monkeypatch.setenv("PATH", "")
    reached = Connection("localhost:7770", "rwk_secret", *pems.values())
    message = command(Client(reached).options, "get", RUN)

    expected = [
        "/opt/bin/runwright",
        "--server",
        "localhost:7770",
        *(str(word) for pair in pems.items() for word in pair),
    ]
    assert shlex.split(message) == [*expected, "get", RUN]
    assert command(Connection().options, "ls") == "/opt/bin/runwright ls"
