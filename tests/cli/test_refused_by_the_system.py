"""What the system, a file or a variable makes impossible is one line and code 2, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Program
from tests.cli.fake_runtime import FakeRuntime, serving
from tests.cli.story import RUN, one_tool


@pytest.mark.parametrize("words", [("get", "\udcff"), ("cancel", RUN, "--reason", "\udcff"), ("watch", "\udcff")])
def test_words_that_are_not_unicode_are_refused(program: Program, words: tuple[str, ...]) -> None:
    with serving(FakeRuntime(one_tool())) as server:
        assert program("--server", server, *words) == (
            2,
            "",
            "error: USAGE: The arguments must be valid UTF-8. Encode what is not text, such as in base64.\n",
        )


@pytest.mark.parametrize("key", ["a b", "clé", "a\nb", "\udcff"])
def test_a_key_that_cannot_be_sent_is_refused_without_being_shown(
    program: Program, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("RUNWRIGHT_KEY", key)

    code, out, err = program("get", RUN)

    assert (code, out) == (2, "")
    assert "error: USAGE: --key or RUNWRIGHT_KEY: must be a key as `keys add` printed it." in err
    assert key not in err


def test_white_space_around_a_key_is_not_part_of_it(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNWRIGHT_KEY", " rwk_1_2\n")  # as it comes out of a file

    with serving(FakeRuntime(one_tool())) as server:
        assert program("--server", server, "get", RUN)[0] == 0


def test_a_refused_export_leaves_the_file_as_it_was(program: Program, tmp_path: Path) -> None:
    file = tmp_path / "precious.jsonl"
    file.write_text("precious")

    with serving(FakeRuntime(one_tool())) as server:
        code, _, _ = program("--server", server, "export", "nope", "-o", str(file))

    assert code == 5
    assert file.read_text() == "precious"


@pytest.mark.parametrize(
    "words", [("keys", "add", "billing", "--role", "caller", "--file"), ("keys", "revoke", "1a2b3c4d", "--file")]
)
def test_a_file_that_cannot_be_used_is_named(program: Program, tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "file").write_text("no directory")
    path = tmp_path / "file" / "below"

    code, out, err = program(*words, str(path))

    assert (code, out) == (2, "")
    assert str(tmp_path / "file") in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is full")
def test_output_that_finds_no_room_is_said_and_is_not_the_code_of_a_failed_run() -> None:
    with serving(FakeRuntime(one_tool())) as server, Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "runwright", "--server", server, "get", RUN],
            stdout=full,
            stderr=subprocess.PIPE,
            env={**os.environ, "COLUMNS": "80"},
            check=False,
            timeout=60,
        )

    assert (ended.returncode, ended.stderr) == (
        2,
        b"error: USAGE: standard output: No space left on device. Make room there.\n",
    )
