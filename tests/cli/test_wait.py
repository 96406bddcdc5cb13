"""`runwright wait`: one answer over many calls and restarts, with the exit codes of `run`."""

from __future__ import annotations

import pytest
from google.protobuf.json_format import Parse
from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.cli.client import Client
from runwright.cli.connection import Connection
from runwright.cli.errors import Problem
from runwright.cli.wait import wait_run

from tests.cli.conftest import Program
from tests.cli.fake_runtime import FakeRuntime, serving
from tests.cli.story import RUN, one_tool


def answering(status: run_pb2.RunStatus.ValueType, *waits: bool | None) -> FakeRuntime:
    """A runtime whose run has that status, after these waits."""
    run = run_pb2.RunSnapshot(run_id=RUN, status=status)
    run.result.text = "Done."
    runtime = FakeRuntime(one_tool(), run=run)
    runtime.waits = list(waits)
    return runtime


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (run_pb2.RUN_STATUS_COMPLETED, 0),
        (run_pb2.RUN_STATUS_FAILED, 1),
        (run_pb2.RUN_STATUS_CANCELLED, 3),
        (run_pb2.RUN_STATUS_REPAIR_NEEDED, 4),
    ],
)
def test_the_exit_code_is_that_of_run(program: Program, status: run_pb2.RunStatus.ValueType, code: int) -> None:
    with serving(answering(status)) as server:
        assert program("--server", server, "wait", RUN)[:2] == (code, "Done.\n")


def test_a_run_that_goes_on_after_the_time_has_a_code_of_its_own(program: Program) -> None:
    runtime = answering(run_pb2.RUN_STATUS_RUNNING, False)
    with serving(runtime) as server:
        code, out, err = program("--server", server, "wait", RUN, "--timeout", "0")

    assert (code, out) == (6, "")
    assert f"run {RUN} goes on; to watch it:" in err
    (request,) = runtime.requests
    assert (request.run_id, request.timeout.seconds) == (RUN, 0)


def test_a_run_that_was_removed_is_no_run_without_an_answer(program: Program) -> None:
    run = run_pb2.RunSnapshot(run_id=RUN, status=run_pb2.RUN_STATUS_COMPLETED)
    run.removed_at.FromSeconds(1_700_000_000)
    with serving(FakeRuntime(one_tool(), run=run)) as server:
        code, out, err = program("--server", server, "wait", RUN)

    assert (code, out) == (0, "")
    assert err == (
        f"run {RUN} COMPLETED; it was removed at 2023-11-14 22:13:20Z, with its answer, error, labels and usage\n"
    )


def test_json_output_is_the_response(program: Program) -> None:
    with serving(answering(run_pb2.RUN_STATUS_COMPLETED)) as server:
        _, out, _ = program("--server", server, "wait", RUN, "-o", "json")

    assert Parse(out, pb.WaitResponse()).done


def test_it_waits_on_over_long_runs_and_restarts() -> None:
    runtime = answering(run_pb2.RUN_STATUS_COMPLETED, False, None, None, False)
    pauses: list[float] = []
    with serving(runtime) as server:
        response = wait_run(Client(Connection(server)), RUN, None, pause=pauses.append)

    assert response.done
    assert len(runtime.requests) == 5
    assert pauses == [0.25, 0.5]


def test_a_server_that_never_answered_is_not_waited_for() -> None:
    with serving(answering(run_pb2.RUN_STATUS_COMPLETED, None)) as server, pytest.raises(Problem):
        wait_run(Client(Connection(server)), RUN, None)


def test_the_time_bounds_every_call_together() -> None:
    runtime = answering(run_pb2.RUN_STATUS_RUNNING, False, False, False, False)
    moments = iter([0.0, 0.0, 60.0, 60.0, 100.0])
    with serving(runtime) as server:
        response = wait_run(Client(Connection(server)), RUN, 100.0, clock=lambda: next(moments))

    assert not response.done
    assert [request.timeout.seconds for request in runtime.requests] == [60, 40]
