"""`runwright ls`: a table for people, one response for programs, pages followed, filters sent."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from google.protobuf.json_format import Parse
from google.protobuf.timestamp_pb2 import Timestamp
from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.cli.main import main

from tests.cli.fake_runtime import FakeRuntime, serving
from tests.cli.story import one_tool

Program = Callable[..., tuple[int, str, str]]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    """Calls the program with words; gives its exit code, output and errors."""
    monkeypatch.delenv("RUNWRIGHT_SERVER", raising=False)

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["runwright", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def runtime() -> FakeRuntime:
    run = run_pb2.RunSnapshot(status=run_pb2.RUN_STATUS_COMPLETED, agent_id="helper\x1b[31m", labels={"a": "b"})
    run.started_at.CopyFrom(Timestamp(seconds=1_700_000_000))
    run.ended_at.CopyFrom(Timestamp(seconds=1_700_000_002))
    return FakeRuntime(one_tool(), run=run)


def test_the_table_has_a_line_for_each_run_of_every_page(program: Program) -> None:
    with serving(runtime()) as server:
        code, out, err = program("--server", server, "ls")

    assert (code, err) == (0, "")
    headings, *lines = out.splitlines()
    assert headings.split() == ["RUN", "STATUS", "STARTED", "TOOK", "AGENT", "SESSION"]
    assert lines == [f"run-{n}  COMPLETED  2023-11-14 22:13:20Z  2.0s  helper[31m  -" for n in (1, 2, 3)]
    assert headings.index("AGENT") == lines[0].index("helper")


def test_the_filter_is_sent_and_the_limit_kept(program: Program) -> None:
    fake = runtime()
    with serving(fake) as server:
        words = ("ls", "--status", "RUNNING", "--status", "waiting", "--agent", "a", "--session", "s", "--limit", "2")
        code, out, err = program("--server", server, *words)

    assert (code, len(out.splitlines())) == (0, 3)
    assert "--limit above 2" in err
    statuses = [run_pb2.RUN_STATUS_RUNNING, run_pb2.RUN_STATUS_WAITING]
    wanted = pb.RunFilter(statuses=statuses, agent_id="a", session_id="s")
    assert [request.filter for request in fake.requests] == [wanted] * 3
    assert [request.page_size for request in fake.requests] == [2, 2, 1]


def test_json_is_one_response(program: Program) -> None:
    with serving(runtime()) as server:
        code, out, _ = program("--server", server, "ls", "-o", "json", "--limit", "2")

    listed = Parse(out, pb.ListRunsResponse())
    assert code == 0
    assert [run.run_id for run in listed.runs] == ["run-1", "run-2"]
    assert listed.next_page_token == "3"


def test_a_status_nobody_knows_is_wrong_usage(program: Program) -> None:
    code, out, err = program("ls", "--status", "ASLEEP")

    assert (code, out) == (2, "")
    assert "REPAIR_NEEDED" in err
