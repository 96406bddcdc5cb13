"""A server that forgets: old runs go while it works, also when it is killed in the middle; and what it says of that."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import grpc
import pytest
from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb

from tests.e2e.client import Caller, error_info
from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor, Gate, pass_by
from tests.e2e.packages import LOOK, one_call
from tests.e2e.test_keys_and_tls import runwright

SOON = ("--retention-days", "0.00001")  # 0.9 seconds
RUNS = [f"run-{number}" for number in range(8)]


async def listed(call: Caller) -> set[str]:
    """The runs there are."""
    response = await call.stub.ListRuns(pb.ListRunsRequest(), timeout=60)
    return {run.run_id for run in response.runs}


async def until_gone(call: Caller, *names: str) -> None:
    """Returns once the server lists none of them any more."""
    async with asyncio.timeout(60):
        while await listed(call) & set(names):
            await call.snapshot(names[0])


async def test_old_runs_go_also_when_the_server_is_killed_meanwhile(
    make_server: MakeServer, executor: Executor
) -> None:
    server = make_server(one_call("one", LOOK), options=SOON)
    await server.start()
    for run_id in RUNS:
        await server.call.start(run_id)
        await server.call.settled(run_id)
    executor.after = Gate()
    await server.call.start("open")
    await executor.until_asked(len(RUNS) + 1)
    await until_gone(server.call, RUNS[0])

    executor.after = pass_by
    await server.restart()
    await until_gone(server.call, *RUNS)

    again = await server.call.start(RUNS[3])
    assert (again.created, again.run.status) == (False, run_pb2.RUN_STATUS_COMPLETED)
    assert again.run.HasField("removed_at")
    assert not again.run.HasField("result")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await server.call.frames(RUNS[3])
    assert (refused.value.code(), error_info(refused.value).reason) == (grpc.StatusCode.NOT_FOUND, "RUN_REMOVED")
    assert (await server.call.settled("open")).status == run_pb2.RUN_STATUS_COMPLETED
    server.terminate()
    assert await server.ended() == 0
    code, out, _ = await runwright("doctor", "--data", str(server.data), "-o", "json")
    bad = [check for check in json.loads(out) if check["status"] == "FAIL"]
    assert (code, bad) == (0, [])


async def test_removals_and_refusals_are_in_the_audit_of_the_command_line(make_server: MakeServer) -> None:
    server = make_server(one_call("one", LOOK), options=SOON)
    await server.start()
    for run_id in ("first", "second"):
        await server.call.start(run_id)
        await server.call.settled(run_id)
    await server.call.cancel("second")
    await until_gone(server.call, "first")
    async with asyncio.timeout(60):
        kinds: set[str] = set()
        while not {"AUDIT_KIND_RUNS_REMOVED", "AUDIT_KIND_CANCEL_IGNORED"} <= kinds:
            _, out, _ = await runwright("--server", server.address, "audit", "-o", "json")
            kinds = {event["kind"] for event in json.loads(out).get("events", [])}

    table = await runwright("--server", server.address, "audit")
    yaml = await runwright("--server", server.address, "audit", "--limit", "1", "-o", "yaml")

    assert (table[0], yaml[0]) == (0, 0)
    assert table[1].splitlines()[0].split() == [
        *("TIME", "KIND", "COUNT", "PRINCIPAL", "NAMESPACE", "METHOD", "REASON", "SUBJECTS")
    ]
    assert any("CANCEL_IGNORED" in line and line.endswith("second") for line in table[1].splitlines())
    assert yaml[1].startswith("events:\n- number:")


async def test_a_server_does_not_start_on_a_journal_that_lost_its_end(make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(one_call("one", LOOK))
    await server.start()
    await server.call.start("first")
    await server.call.settled("first")
    server.terminate()
    await server.ended()
    shutil.copy(server.data / "journal.db", tmp_path / "older.db")
    await server.start()
    await server.call.start("second")
    await server.call.settled("second")
    server.terminate()
    await server.ended()
    shutil.copy(tmp_path / "older.db", server.data / "journal.db")

    package = str(server.packages[0])
    code, _, said = await runwright(
        "serve",
        "--data",
        str(server.data),
        "--listen",
        "127.0.0.1:0",
        "--package",
        package,
        "--executor",
        "box=[::1]:9",
    )
    examined, message, _ = await runwright("doctor", "--data", str(server.data))

    assert code == 2
    assert "has lost events that were acknowledged" in said
    assert "runwright restore" in said
    assert examined == 1
    assert "FAIL head anchor" in message
