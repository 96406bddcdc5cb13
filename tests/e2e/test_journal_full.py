"""The journal's size limit is reached: new runs are refused, health says so, reads go on, nothing hangs or is lost."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
import pytest
from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb

from tests.e2e.client import answer, error_info
from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor, Gate
from tests.e2e.packages import LOOK, one_call, package, says
from tests.e2e.reader import Reader, assert_whole
from tests.e2e.server_process import Server

LIMIT = ("--journal-max-bytes", "1000000")
RESULT_BYTES = 500_000  # more than can be left once a start of 60 kB does not fit any more
AT_MOST = 40


@dataclass
class Full:
    """A server whose journal is full, with a run that has ended and one that cannot write its result."""

    server: Server
    fillers: list[str]


async def is_refused(server: Server, run_id: str) -> bool:
    """True when a start with much input is refused because the journal is full."""
    try:
        await server.call.start(run_id, run_id.ljust(60_000, "."), package={"package_id": "words"})
    except grpc.aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, error
        assert error_info(error).reason == "JOURNAL_FULL"
        return True
    return False


@pytest.fixture
async def full(make_server: MakeServer, executor: Executor) -> AsyncIterator[Full]:
    executor.after = gate = Gate()
    executor.result_bytes = RESULT_BYTES
    words = package("words", [says("that was much")])
    server = make_server(words, one_call("looking", LOOK), options=(*LIMIT, "--grace", "1"))
    await server.start()
    await server.call.start("ended", package={"package_id": "words"})
    await server.call.settled("ended")
    await server.call.start("blocked", package={"package_id": "looking"})
    await executor.until_asked(1)
    fillers: list[str] = []
    while not await is_refused(server, f"filler-{len(fillers)}"):
        fillers.append(f"filler-{len(fillers)}")
        assert len(fillers) < AT_MOST, "the limit does not limit"
    gate.open()
    await server.call.not_serving()  # the result does not fit
    yield Full(server, fillers)


async def test_reads_go_on_and_every_refusal_says_why(full: Full) -> None:
    call = full.server.call
    assert await is_refused(full.server, "another")
    assert answer(await call.snapshot("ended")) == "that was much"
    reader = Reader(full.server, "ended")
    await asyncio.wait_for(reader.read(), 60)
    assert_whole(reader.frames, await call.frames("ended"))
    assert (await call.snapshot("blocked")).status == run_pb2.RUN_STATUS_RUNNING
    assert len(await call.frames("blocked")) == 7
    assert not (await call.start("ended", package={"package_id": "words"})).created
    waited = await call.stub.Wait(pb.WaitRequest(run_id="blocked", timeout={"nanos": 100_000_000}), timeout=60)
    assert not waited.done
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await call.snapshot("another")
    assert error_info(unknown.value).reason == "RUN_NOT_FOUND", "a refused start leaves nothing behind"


async def test_a_cancel_that_cannot_be_written_is_answered(full: Full) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await full.server.call.stub.Cancel(pb.CancelRequest(run_id="blocked"), timeout=60)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error_info(refused.value).reason == "JOURNAL_FULL"


@pytest.mark.parametrize("stopped_by", ["kill", "sigterm"])
async def test_the_open_runs_complete_after_a_restart_without_the_limit(
    full: Full, executor: Executor, stopped_by: str
) -> None:
    if stopped_by == "kill":
        full.server.kill()
    else:
        full.server.terminate()
    await full.server.ended(10)
    full.server.options = []

    await full.server.start()
    settled = await full.server.call.settled("blocked")
    assert settled.status == run_pb2.RUN_STATUS_COMPLETED
    assert settled.result.ref.size > RESULT_BYTES
    assert [requested.attempt for requested in executor.calls_of("blocked")] == [1, 2]
    for run_id in full.fillers:
        assert answer(await full.server.call.settled(run_id)) == "that was much"
    assert not await is_refused(full.server, "another")


async def test_beside_a_strange_reader_both_files_stay_within_the_bound_and_writing_goes_on_once_it_has_gone(
    make_server: MakeServer,
) -> None:
    server = make_server(package("words", [says("that was much")]), options=LIMIT)
    await server.start()
    files = [server.data / "journal.db", server.data / "journal.db-wal"]
    stranger = sqlite3.connect(f"file:{files[0]}?mode=ro", uri=True, isolation_level=None)
    stranger.execute("BEGIN")
    stranger.execute("SELECT COUNT(*) FROM events").fetchall()

    for number in range(AT_MOST):
        if await is_refused(server, f"held-{number}"):
            break
        assert sum(file.stat().st_size for file in files) <= int(LIMIT[1])
    else:
        raise AssertionError("the limit does not limit")
    stranger.close()

    assert number > 0
    assert not await is_refused(server, "afterwards")
    assert sum(file.stat().st_size for file in files) <= int(LIMIT[1])
