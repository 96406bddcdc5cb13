"""A real process: a run that kills it is found, runs that were only there are not, and a damaged one has a way out."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import apsw
import grpc
import pytest
from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb

from tests.e2e.client import answer, error_info, run_request
from tests.e2e.conftest import SOAK
from tests.e2e.executor import EXECUTOR, Executor, Gate, pass_by
from tests.e2e.killing_provider import HOLD
from tests.e2e.packages import BOOK, LOOK, one_call, package, says, write
from tests.e2e.server_process import Server

INNOCENTS = 6
STORM = 40 if SOAK else 6


def killing(tmp_path: Path, executor: Executor) -> Server:
    """A server with the tests' own provider beside the built-in ones."""
    calls = tmp_path / "model-calls"
    calls.mkdir(exist_ok=True)
    spec = package("plain", [says("done")], adapter="killing")
    return Server(
        tmp_path / "data",
        [write(tmp_path, spec), write(tmp_path, one_call("looking", LOOK)), write(tmp_path, one_call("booking", BOOK))],
        {EXECUTOR: executor.address},
        *("--model-calls", str(calls)),
        program=("tests.e2e.server_main",),
    )


async def held(server: Server) -> list[str]:
    """The held runs."""
    wanted = pb.RunFilter(statuses=[run_pb2.RUN_STATUS_HELD])
    return [run.run_id for run in (await server.call.stub.ListRuns(pb.ListRunsRequest(filter=wanted))).runs]


async def test_a_run_that_kills_every_start_is_quarantined_and_the_others_complete(
    tmp_path: Path, executor: Executor
) -> None:
    executor.after = gate = Gate()
    server = killing(tmp_path, executor)
    try:
        await server.start()
        for number in range(INNOCENTS):
            await server.call.start(f"innocent-{number}", package={"package_id": "looking"})
        await executor.until_asked(INNOCENTS)
        request = run_request("guilty", "kill before every model call", package={"package_id": "plain"})
        with pytest.raises(grpc.aio.AioRpcError):
            await server.call.send(request)
            await server.call.settled("guilty")
        deaths = 0
        assert await server.ended() == -signal.SIGKILL
        gate.open()
        while deaths < 8:
            await server.start()
            try:
                settled = await server.call.settled("guilty")
            except grpc.aio.AioRpcError:
                assert await server.ended() == -signal.SIGKILL
                deaths += 1
                continue
            break

        assert settled.status == run_pb2.RUN_STATUS_HELD
        assert settled.done
        assert settled.error.metadata["cause"] == "QUARANTINED"
        assert deaths <= 4
        for number in range(INNOCENTS):
            assert answer(await server.call.settled(f"innocent-{number}"))
        assert await held(server) == ["guilty"]
        assert answer(await server.call.settled("innocent-0"))
        cancelled = await server.call.cancel("guilty")
        assert cancelled.run.status == run_pb2.RUN_STATUS_CANCELLED
    finally:
        await server.close()


async def test_a_storm_of_kills_from_outside_holds_and_fails_nobody(tmp_path: Path, executor: Executor) -> None:
    moment = random.Random(7)
    server = killing(tmp_path, executor)
    runs = [f"run-{number}" for number in range(20)]
    try:
        (tmp_path / "model-calls" / HOLD).touch()
        await server.start()
        for run_id in runs:
            await server.call.start(run_id, "hold while told", package={"package_id": "plain"})
        for _ in range(STORM):
            for _ in range(moment.randrange(60)):  # calls: a kill comes when some have been taken up, or none, or all
                await server.call.snapshot(runs[0])
            await server.restart()
        server.kill()
        await server.ended()
        (tmp_path / "model-calls" / HOLD).unlink()
        await server.start()
        for run_id in runs:
            assert answer(await server.call.settled(run_id)) == "done"
        assert await held(server) == []
    finally:
        await server.close()


async def test_a_damaged_run_is_held_the_others_are_served_and_it_can_be_removed(
    tmp_path: Path, executor: Executor
) -> None:
    executor.after = Gate()
    server = killing(tmp_path, executor)
    try:
        await server.start()
        for run_id in ("damaged", "sound"):
            await server.call.start(run_id, package={"package_id": "booking"})
        await executor.until_asked(2)
        server.kill()
        await server.ended()
        damage(server.data)
        executor.after = pass_by

        await server.start()
        assert (await server.call.settled("sound")).status == run_pb2.RUN_STATUS_REPAIR_NEEDED
        seen = await server.call.snapshot("damaged")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await server.call.cancel("damaged")
        left = await server.call.stub.RemoveRun(pb.RemoveRunRequest(run_id="damaged", reason="restored"))

        assert (seen.status, seen.last_seq, seen.error.metadata["first_bad"]) == (run_pb2.RUN_STATUS_HELD, 2, "3")
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert error_info(refused.value).reason == "RUN_HELD"
        assert left.run.HasField("removed_at")
        assert await held(server) == []
        assert len(executor.calls_of("damaged")) == 1
        await server.restart()
        assert await held(server) == []
    finally:
        await server.close()


def damage(data: Path) -> None:
    """The third event of a run, and the row that would spare reading it."""
    db = apsw.Connection(str(data / "journal.db"))
    number = "(SELECT run_no FROM runs WHERE run_id = 'damaged')"
    db.execute(f"UPDATE events SET data = x'ff' WHERE seq = 3 AND run_no = {number}")
    db.execute("UPDATE runs SET snapshot = x'00' WHERE run_id = 'damaged'")
    db.close()
