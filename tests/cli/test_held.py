"""`runwright held`: which runs are held and why, and the ways out."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from runwright._gen.runwright.v1 import error_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.cli.main import main

from tests.cli.fake_runtime import FakeRuntime, serving
from tests.cli.story import RUN, one_tool

Program = Callable[..., tuple[int, str, str]]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    """Calls the program with words; gives its exit code, output and errors."""

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["runwright", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def held() -> FakeRuntime:
    run = run_pb2.RunSnapshot(run_id=RUN, status=run_pb2.RUN_STATUS_HELD, agent_id="helper\x1b[31m", done=True)
    run.error.reason, run.error.message = error_pb2.ERROR_REASON_JOURNAL_CORRUPT, "An event does not decode."
    run.last_seq, run.last_cursor = 3, "cursor-3"
    run.open_effects.add(effect_id="c1.1", state=run_pb2.EFFECT_STATE_RUNNING)
    run.waiting_on.add(kind=run_pb2.WAIT_KIND_RELEASE, subject="UNREADABLE").since.FromSeconds(1_700_000_000)
    runtime = FakeRuntime(one_tool(), run=run)
    runtime.frames, runtime.ends = runtime.frames[:3], False
    return runtime


def test_held_runs_are_listed_with_the_reason(program: Program) -> None:
    runtime = held()
    with serving(runtime) as server:
        code, out, _ = program("--server", server, "held", "ls", "--limit", "1")

    assert code == 0
    assert out.splitlines() == [
        "run-1 UNREADABLE since 2023-11-14 22:13:20Z, agent helper[31m, last event #3",
        "  JOURNAL_CORRUPT: An event does not decode.",
    ]
    assert list(runtime.requests[0].filter.statuses) == [run_pb2.RUN_STATUS_HELD]


def test_releasing_sends_the_reason_and_says_what_came_of_it(program: Program) -> None:
    runtime = held()
    with serving(runtime) as server:
        code, out, _ = program("--server", server, "held", "release", RUN, "--reason", "new disk")

    assert (code, runtime.requests) == (0, [pb.ReleaseRunRequest(run_id=RUN, reason="new disk")])
    assert "is held again: JOURNAL_CORRUPT" in out


def test_removing_asks_first(program: Program) -> None:
    runtime = held()
    with serving(runtime) as server:
        refused, _, _ = program("--server", server, "held", "remove", RUN)
        code, out, _ = program("--server", server, "held", "remove", RUN, "--yes", "--reason", "old")

    assert refused != 0
    assert (code, runtime.requests) == (0, [pb.RemoveRunRequest(run_id=RUN, reason="old")])
    assert "is removed" in out


def test_cancelling_is_the_ordinary_cancel(program: Program) -> None:
    runtime = held()
    with serving(runtime) as server:
        program("--server", server, "held", "cancel", RUN, "--reason", "enough")

    assert runtime.requests == [pb.CancelRequest(run_id=RUN, reason="enough")]


@pytest.mark.parametrize("words", [("watch", RUN), ("wait", RUN)])
def test_whoever_watches_or_waits_leaves_with_the_code_of_what_needs_somebody(
    program: Program, words: tuple[str, ...]
) -> None:
    with serving(held()) as server:
        code, out, err = program("--server", server, *words)

    assert code == 4
    assert "is held: JOURNAL_CORRUPT" in out + err
    assert "explain" in out + err
