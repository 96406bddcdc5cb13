"""What `ls --watch` and `get --watch` follow: no change is lost when a question in between is."""

from __future__ import annotations

import grpc
import pytest
from runwright._gen.runwright.v1 import error_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.cli.changes import runs_and_changes, snapshots
from runwright.cli.client import Client
from runwright.cli.connection import Connection
from runwright.cli.errors import Problem

from tests.cli.fake_runtime import FakeRuntime, fail, serving
from tests.cli.story import RUN, one_tool


class Faltering(FakeRuntime):
    """Answers `Snapshot` with what is left of `answers`; None for a server that stops just then."""

    def __init__(self, *answers: run_pb2.RunSnapshot | None) -> None:
        super().__init__(one_tool(), run_pb2.RunSnapshot(run_id=RUN, status=run_pb2.RUN_STATUS_RUNNING))
        self.answers = list(answers)

    def Snapshot(self, request: pb.SnapshotRequest, context: grpc.ServicerContext) -> pb.SnapshotResponse:
        """The next answer."""
        run = self.answers.pop(0)
        if run is None:
            fail(context, grpc.StatusCode.UNAVAILABLE, error_pb2.ERROR_REASON_DRAINING, "The server stops.", "Again.")
        return pb.SnapshotResponse(run=run)


def snapshot(status: run_pb2.RunStatus.ValueType, last_seq: int) -> run_pb2.RunSnapshot:
    return run_pb2.RunSnapshot(run_id=RUN, status=status, last_seq=last_seq, last_cursor="cursor-0")


ENDED = snapshot(run_pb2.RUN_STATUS_COMPLETED, 100)


def test_the_end_of_a_run_is_printed_although_the_server_stopped_as_it_was_asked_for() -> None:
    runtime = Faltering(None, None, *[ENDED] * 50)
    waits: list[float] = []
    with serving(runtime) as server:
        changes = runs_and_changes(Client(Connection(server)), pb.RunFilter(), 10, wait=waits.append)
        seen = [run.status for run in changes if run is not None and run.run_id == RUN]

    assert seen == [run_pb2.RUN_STATUS_RUNNING, run_pb2.RUN_STATUS_COMPLETED]
    assert len(waits) == 2


def test_a_run_is_printed_to_its_end_although_the_server_stopped_meanwhile() -> None:
    runtime = Faltering(snapshot(run_pb2.RUN_STATUS_RUNNING, 0), None, ENDED)
    waits: list[float] = []
    with serving(runtime) as server:
        seen = [each.run.status for each in snapshots(Client(Connection(server)), RUN, wait=waits.append)]

    assert seen == [run_pb2.RUN_STATUS_RUNNING, run_pb2.RUN_STATUS_COMPLETED]
    assert len(waits) == 1


def test_what_the_first_question_fails_with_is_told_at_once() -> None:
    with serving(Faltering(None)) as server, pytest.raises(Problem, match="DRAINING"):
        next(snapshots(Client(Connection(server)), RUN))
