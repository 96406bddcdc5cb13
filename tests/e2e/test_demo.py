"""The demo as `make demo` runs it: real processes, real answers, commands that work when pasted."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.e2e.terminal import in_terminal

ROOT = Path(__file__).parents[2]
DEMO = [sys.executable, str(ROOT / "scripts" / "demo.py")]
SECONDS = 60.0
_PID = re.compile(r"pid (\d+), ")


@pytest.fixture
def garden(tmp_path: Path) -> Path:
    """A directory with something in it."""
    folder = tmp_path / "garden"
    (folder / "beds").mkdir(parents=True)
    (folder / "README.md").write_text("# Garden\nRoses need water.\n")
    (folder / "beds" / "roses.txt").write_text("red roses\nwhite roses\n")
    (folder / ".secret").write_text("roses in hiding\n")
    (folder / "way-out.txt").symlink_to("/etc/passwd")
    return folder


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """Another directory with something else in it."""
    folder = tmp_path / "engine"
    folder.mkdir()
    (folder / "piston.go").write_text("package piston\n// moves up\n// moves down\n")
    return folder


def demo(tmp_path: Path, folder: Path, ask: str) -> subprocess.CompletedProcess[str]:
    """Runs the demo to its end."""
    words = [*DEMO, "--dir", str(folder), "--ask", ask, "--data", str(tmp_path / "data")]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)


def answer(ended: subprocess.CompletedProcess[str]) -> str:
    """The line of the output that is the answer."""
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return next(line for line in ended.stdout.splitlines() if line.startswith("You asked"))


def printed_commands(ended: subprocess.CompletedProcess[str]) -> list[str]:
    """The commands printed at the end, as they would be pasted."""
    end = ended.stdout.partition("The run is in the journal.")[2]
    return [line.strip() for line in end.splitlines() if line.startswith("  ")]


@contextmanager
def served(command: str) -> Iterator[dict[str, str]]:
    """Runs a printed `serve`, on a free port instead of the usual one; gives the environment for clients."""
    words = shlex.split(command)
    words[words.index("--listen") + 1] = "127.0.0.1:0"
    server = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split()[-1]
        yield {**os.environ, "RUNWRIGHT_SERVER": address}
        server.terminate()
        assert server.wait(SECONDS) == 0
    finally:
        server.kill()
        server.communicate()


def pasted(command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs a printed command in a shell."""
    return subprocess.run(
        command, shell=True, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def left_behind(tmp_path: Path) -> list[int]:
    """Processes whose command line names this test's directory."""
    processes = psutil.process_iter(["cmdline"])
    return [one.pid for one in processes if any(str(tmp_path) in word for word in one.info["cmdline"] or ())]


def test_the_answer_comes_from_the_directory_and_the_question(tmp_path: Path, garden: Path, engine: Path) -> None:
    roses = answer(demo(tmp_path, garden, "Where are the roses?"))
    white = answer(demo(tmp_path, garden, "What is white?"))
    pistons = answer(demo(tmp_path, engine, "Where are the roses?"))

    assert len({roses, white, pistons}) == 3
    for fact in ("2 files", '"roses" is found in 3 lines', "beds/roses.txt", '"red roses"'):
        assert fact in roses
    for fact in ("1 file ", "piston.go", "The .go files (1) have 3 lines", '"roses" is found nowhere'):
        assert fact in pistons


def test_the_tools_never_leave_the_directory(tmp_path: Path, garden: Path) -> None:
    said = answer(demo(tmp_path, garden, "Who is hiding?"))

    assert "2 files" in said  # neither the hidden file nor the link that leads out
    assert '"hiding" is found nowhere' in said


def test_every_event_is_shown_and_both_processes_end(tmp_path: Path, garden: Path) -> None:
    ended = demo(tmp_path, garden, "Where are the roses?")

    events = [line.split()[1] for line in ended.stderr.splitlines() if re.match(r"\d\d:\d\d:\d\d\.\d+ #", line)]
    assert events == [f"#{seq}" for seq in range(1, len(events) + 1)]
    assert "run completed" in ended.stderr
    assert "ended: server (code 0), executor (code 0)" in ended.stdout
    assert len(_PID.findall(ended.stdout)) == 2
    assert not left_behind(tmp_path)


def test_the_printed_commands_work_when_pasted(tmp_path: Path, garden: Path) -> None:
    ended = demo(tmp_path, garden, "Where are the roses?")
    said = answer(ended)
    serve, get, watch, events, grpcurl, *_ = printed_commands(ended)

    with served(serve) as environment:
        shown = pasted(get, environment)
        assert "status    COMPLETED (END_TURN)" in shown.stdout
        assert said in shown.stdout
        watched = pasted(watch, environment)
        assert (watched.returncode, said in watched.stdout) == (0, True)
        assert "run completed" in pasted(events, environment).stdout
        program = ROOT / shlex.split(grpcurl)[0]
        if program.exists():
            assert (
                "RUN_STATUS_COMPLETED"
                in pasted(grpcurl.replace("127.0.0.1:7760", environment["RUNWRIGHT_SERVER"]), environment).stdout
            )


def test_the_demo_ends_with_an_approval_and_what_was_approved_is_written(tmp_path: Path, garden: Path) -> None:
    ended = demo(tmp_path, garden, "")

    report = (garden / "runwright-report.md").read_text()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert json.dumps({"text": report}, ensure_ascii=False, separators=(",", ":")) in ended.stdout, "it was shown"
    assert re.search(r"runwright --server \S+ approvals approve demo-\S+/a\d\.1\.1 --digest sha256:", ended.stdout)
    size = len(report.encode())
    assert f"What second approved is what was written: runwright-report.md, {size} bytes" in ended.stdout
    assert "approved by second" in ended.stderr
    assert report.startswith("# Report\n\nYou asked: ")
    assert "README.md has 2 lines" in report
    assert not left_behind(tmp_path)


async def test_on_a_terminal_the_demo_asks_and_without_an_approval_nothing_is_written(
    tmp_path: Path, garden: Path
) -> None:
    words = ("--dir", str(garden), "--data", str(tmp_path / "data"))
    environment = {"CI": ""}
    async with in_terminal(*words, program=DEMO, environment=environment, columns=200) as terminal:
        await terminal.until("write_report, executor workspace", "started by you", "approve (a), deny (d)")
        assert not (garden / "runwright-report.md").exists()
        terminal.type("d\n")
        await terminal.until("what the model is told")
        terminal.type("Keep it to yourself.\n")
        assert await terminal.ended() == 0
        await terminal.until("write_report did not work", "Keep it to yourself.", "ended: server (code 0)")

    assert not (garden / "runwright-report.md").exists()
    assert not left_behind(tmp_path)


def test_a_server_that_cannot_start_is_a_clear_message_and_leaves_nothing_behind(tmp_path: Path, garden: Path) -> None:
    (tmp_path / "data").write_text("no directory\n")

    ended = demo(tmp_path, garden, "Where are the roses?")

    assert ended.returncode == 1
    assert "demo: The server ended with code" in ended.stderr
    assert "Its log (" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not left_behind(tmp_path)


def test_of_a_run_that_was_refused_nothing_is_said_to_be_there(tmp_path: Path, garden: Path) -> None:
    ended = demo(tmp_path, garden, "why? " * 15_000)  # more than an input may be

    assert ended.returncode not in (0, 1)
    assert "at most 65536 bytes" in ended.stderr
    assert re.search(r"The run demo-\S+ has not begun", ended.stdout)
    assert "To look at it again" not in ended.stdout
    assert not left_behind(tmp_path)


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    ended = demo(tmp_path, tmp_path / "nowhere", "")

    assert ended.returncode == 2
    assert "is not a directory" in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", ["1. tool executor", "2. server", "3. run"])
def test_a_demo_that_is_stopped_ends_what_it_started(
    tmp_path: Path, garden: Path, step: str, number: signal.Signals
) -> None:
    words = [*DEMO, "--dir", str(garden), "--data", str(tmp_path / "data")]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if line.startswith(step):
            process.send_signal(number)
            break

    seen += process.communicate(timeout=SECONDS)[0]

    assert process.returncode == 128 + number
    assert "Traceback" not in seen
    assert not left_behind(tmp_path)


def test_a_demo_to_crash_goes_on_over_kills(tmp_path: Path, garden: Path) -> None:
    words = [
        *DEMO,
        "--crash",
        "--words",
        "40",
        "--dir",
        str(garden),
        "--data",
        str(tmp_path / "data"),
        "--ask",
        "Where are the roses?",
    ]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    seen: list[str] = []
    kill = ""
    servers = killed = 0
    for line in process.stdout:
        seen.append(line)
        if line.strip().startswith("kill -9 "):
            kill, servers = line.strip(), 1
        servers += "is started again" in line
        if killed < min(servers, 2) and "model asked" in line:
            subprocess.run(["sh", "-c", kill], cwd=ROOT, check=True)
            killed += 1
    code = process.wait(SECONDS)
    message = "".join(seen)

    assert (code, killed) == (0, 2), message
    assert "The server was killed 2 times; the run is one, and every event above came once." in message
    numbers = [int(number) for number in re.findall(r"^\d\d:\d\d:\d\d\.\d+ #(\d+)", message, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert "You asked" in message
    assert not left_behind(tmp_path)


def test_what_a_demo_waits_for_while_it_installs_is_seen() -> None:
    makefile = (ROOT / "Makefile").read_text()

    installing = [line for line in makefile.splitlines() if "pip install" in line]
    assert installing
    assert not [line for line in installing if "--quiet" in line]
