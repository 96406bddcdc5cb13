"""A run whose call was lost gets going again by a decision that no kill takes back; the executor's ledger agrees."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any

from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb

from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor, Gate, pass_by
from tests.e2e.packages import BOOK, one_call
from tests.e2e.server_process import Server

CALL_SECONDS = 20.0
HAPPENED, TRY_AGAIN = run_pb2.RESOLUTION_HAPPENED, run_pb2.RESOLUTION_TRY_AGAIN


def decision(resolution: run_pb2.Resolution.ValueType, **fields: Any) -> pb.ResolveEffectRequest:
    """A decision about the only call of run-1."""
    said = {"effect_id": "c1.1", "attempt": 1, "request_id": "decision-1", "resolution": resolution, **fields}
    if resolution == HAPPENED:
        said["result"] = pb.ResolvedResult(data=b'{"seat": 7}')
    return pb.ResolveEffectRequest(run_id="run-1", **said)


async def killed_in_a_call(server: Server, executor: Executor, *, performs: bool) -> None:
    """The server ends in the middle of the call, which has performed or not, and is back: the run needs repair."""
    gate = Gate()
    executor.after, executor.before = (gate, pass_by) if performs else (pass_by, gate)
    await server.start()
    await server.call.start("run-1")
    await executor.until_asked(1)
    if performs:
        await executor.news.until(lambda: sum(executor.effects.values()) == 1)
    await kill_and_start(server)
    executor.after = executor.before = pass_by
    assert (await server.call.settled("run-1")).status == run_pb2.RUN_STATUS_REPAIR_NEEDED


async def kill_and_start(server: Server) -> None:
    """A kill -9, and a start on the same journal."""
    server.kill()
    assert await server.ended() == -signal.SIGKILL
    await server.start()


async def test_a_decision_stands_over_a_kill_and_its_repetition_is_answered_alike(
    make_server: MakeServer, executor: Executor
) -> None:
    server = make_server(one_call("one", BOOK))
    await killed_in_a_call(server, executor, performs=True)

    first = await server.call.stub.ResolveEffect(decision(HAPPENED), timeout=CALL_SECONDS)
    await kill_and_start(server)
    ended = await server.call.settled("run-1")
    again = await server.call.stub.ResolveEffect(decision(HAPPENED), timeout=CALL_SECONDS)

    assert ended.status == run_pb2.RUN_STATUS_COMPLETED
    assert '"seat": 7' in ended.result.text
    assert (first.resolved, again.resolved, first.resolution) == (True, False, again.resolution)
    assert [called.attempt for called in executor.requested] == [1]
    assert executor.effects_of("run-1", "c1.1") == 1


async def test_a_call_that_did_not_happen_is_performed_once_over_a_kill_of_its_second_attempt(
    make_server: MakeServer, executor: Executor
) -> None:
    server = make_server(one_call("one", BOOK))
    await killed_in_a_call(server, executor, performs=False)
    executor.before = Gate()

    await server.call.stub.ResolveEffect(decision(TRY_AGAIN), timeout=CALL_SECONDS)
    await executor.until_asked(2)
    await kill_and_start(server)  # of the second attempt nobody knows either
    executor.before = pass_by
    unknown = await server.call.settled("run-1")
    more = decision(TRY_AGAIN, attempt=2, request_id="decision-2")
    await server.call.stub.ResolveEffect(more, timeout=CALL_SECONDS)

    assert [(effect.attempt, effect.state) for effect in unknown.open_effects] == [(2, run_pb2.EFFECT_STATE_UNKNOWN)]
    assert (await server.call.settled("run-1")).status == run_pb2.RUN_STATUS_COMPLETED
    assert executor.effects_of("run-1", "c1.1") == 1
    assert len({called.key for called in executor.requested}) == 1
    assert [called.attempt for called in executor.requested] == [1, 2, 3]


async def test_the_commands_of_the_page_settle_a_run(make_server: MakeServer, executor: Executor) -> None:
    server = make_server(one_call("one", BOOK))
    await killed_in_a_call(server, executor, performs=True)

    listed = await command(server, "effects", "ls")
    explained = await command(server, "explain", "run-1")
    words = ("--attempt", "1", "--as", "happened", "--reason", "ledger", "--tell", '{"seat": 7}')
    resolved = await command(server, "effects", "resolve", "run-1", "c1.1", *words)

    key = executor.requested[0].key
    assert "run-1 c1.1 book, attempt 1, unknown since" in listed
    assert key in listed and key in explained
    assert "effects resolve run-1 c1.1 --attempt 1 --as happened --tell RESULT" in explained
    assert "c1.1, attempt 1, is resolved as HAPPENED by local" in resolved
    assert (await server.call.settled("run-1")).status == run_pb2.RUN_STATUS_COMPLETED


async def command(server: Server, *words: str) -> str:
    """What the program prints."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "runwright", "--server", server.address, *words, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await program.communicate()
    assert program.returncode == 0
    return out.decode()
