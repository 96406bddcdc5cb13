"""A run's export, checked by this project and by a program that shares no code with it."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor
from tests.e2e.packages import LOOK, one_call
from tests.e2e.test_keys_and_tls import ended, runwright

INDEPENDENT = Path(__file__).parents[2] / "examples" / "verify_export.py"


def flipped(text: str) -> str:
    data = bytearray(base64.b64decode(text))
    data[len(data) // 2] ^= 1
    return base64.b64encode(data).decode()


def change_event(lines: list[dict[str, Any]]) -> None:
    lines[3]["event"]["data"] = flipped(lines[3]["event"]["data"])


def cut_tail(lines: list[dict[str, Any]]) -> None:
    last = max(index for index, line in enumerate(lines) if "event" in line)
    del lines[last]


def swap_events(lines: list[dict[str, Any]]) -> None:
    lines[2], lines[3] = lines[3], lines[2]


def change_content(lines: list[dict[str, Any]]) -> None:
    lines[-1]["content"]["data"] = flipped(lines[-1]["content"]["data"])


def rechain(lines: list[dict[str, Any]]) -> None:
    """Another namespace cannot claim the run."""
    lines[0]["header"]["namespace"] = "another"


def another_form(lines: list[dict[str, Any]]) -> None:
    """Its chain may be made in another way."""
    lines[0]["header"]["format"] = 2


def second_header(lines: list[dict[str, Any]]) -> None:
    lines.append(lines[0])


def nothing_known(lines: list[dict[str, Any]]) -> None:
    lines.append({})


@pytest.fixture
async def exported(make_server: MakeServer, executor: Executor, tmp_path: Path) -> Path:
    """The export of a run with a tool call."""
    server = make_server(one_call("one", LOOK))
    await server.start()
    at = ("--server", server.address)
    assert (await runwright(*at, "run", "hello", "--id", "r1"))[0] == 0
    assert (await runwright(*at, "export", "r1", "-o", str(tmp_path / "r1.jsonl")))[0] == 0
    return tmp_path / "r1.jsonl"


async def test_an_export_is_whole(exported: Path) -> None:
    ours = await runwright("verify", str(exported))
    theirs = await ended(sys.executable, str(INDEPENDENT), str(exported))

    assert (ours[0], theirs[0]) == (0, 0), (ours, theirs)
    assert sum("event" in json.loads(line) for line in exported.read_text().splitlines()) == 12


@pytest.mark.parametrize(
    "tamper",
    [
        change_event,
        cut_tail,
        swap_events,
        change_content,
        rechain,
        another_form,
        second_header,
        nothing_known,
    ],
)
async def test_a_changed_export_is_found_out(exported: Path, tamper: Any) -> None:
    lines = [json.loads(line) for line in exported.read_text().splitlines()]
    tamper(lines)
    exported.write_text("".join(json.dumps(line) + "\n" for line in lines))

    ours = await runwright("verify", str(exported))
    theirs = await ended(sys.executable, str(INDEPENDENT), str(exported))

    assert (ours[0], theirs[0]) == (1, 1), (ours, theirs)
    assert "BROKEN" in ours[1]


async def test_what_is_no_export_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "other.jsonl").write_text('{"run": 1}\n')

    code, _, message = await runwright("verify", str(tmp_path / "other.jsonl"))

    assert code == 2
    assert "is not an export" in message


async def test_an_export_holds_what_a_run_saw_of_its_session(
    make_server: MakeServer, executor: Executor, tmp_path: Path
) -> None:
    server = make_server(one_call("one", LOOK))
    await server.start()
    at = ("--server", server.address)
    for run_id, said in (("r1", "I am Ada."), ("r2", "Who am I?")):
        assert (await runwright(*at, "run", said, "--id", run_id, "--session", "s"))[0] == 0
    file = tmp_path / "r2.jsonl"
    assert (await runwright(*at, "export", "r2", "-o", str(file)))[0] == 0

    lines = [json.loads(line) for line in file.read_text().splitlines()]
    parts = {line["content"]["digest"]: line["content"]["data"] for line in lines if "content" in line}
    [earlier] = [digest for digest, data in parts.items() if base64.b64decode(data) == b"I am Ada."]
    whole = await runwright("verify", str(file)), await ended(sys.executable, str(INDEPENDENT), str(file))
    left = [line for line in lines if line.get("content", {}).get("digest") != earlier]
    file.write_text("".join(json.dumps(line) + "\n" for line in left))
    cut = await runwright("verify", str(file))

    assert [code for code, *_ in whole] == [0, 0], whole
    assert (cut[0], f"content {earlier}: it is missing" in str(cut)) == (1, True)
