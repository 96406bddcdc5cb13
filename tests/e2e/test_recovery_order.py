"""Nothing is sent to anybody while the journal does not yet say what has become of it."""

from __future__ import annotations

import asyncio
import signal

import pytest
from runwright._gen.runwright.v1 import run_pb2

from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor, Gate, StartCaller, pass_by
from tests.e2e.journal_file import held
from tests.e2e.packages import BOOK, LOOK, Spec, asks, one_call, package, says

LONG_ENOUGH_SECONDS = 1.0  # for a server that does it wrong to reach an executor that is there


@pytest.mark.parametrize("tool", [BOOK, LOOK], ids=["not-idempotent", "idempotent"])
async def test_an_open_call_is_not_sent_again_before_its_recovery_is_on_disk(
    make_server: MakeServer, executor: Executor, tool: Spec
) -> None:
    executor.after = Gate()  # the effect has happened, the answer is not given
    server = make_server(one_call("one", tool))
    await server.start()
    await server.call.start("run-1")
    await executor.until_asked(1)
    server.kill()
    assert await server.ended() == -signal.SIGKILL
    executor.after = pass_by

    with held(server.data):  # a start writes before anything else, and waits for that
        starting = asyncio.create_task(server.start())
        with pytest.raises(TimeoutError):
            await executor.news.until(lambda: len(executor.requested) > 1, LONG_ENOUGH_SECONDS)
    await starting

    settled = await server.call.settled("run-1")
    if tool is BOOK:
        assert settled.status == run_pb2.RUN_STATUS_REPAIR_NEEDED
        assert [requested.attempt for requested in executor.requested] == [1]
    else:
        assert settled.status == run_pb2.RUN_STATUS_COMPLETED
        assert [requested.attempt for requested in executor.requested] == [1, 2]


async def test_a_call_that_has_answered_is_not_sent_again_while_another_result_is_written(
    make_server: MakeServer, executor: Executor
) -> None:
    """The second answer comes while the append of the first is under way."""
    calls = [("book", {"seat": seat}) for seat in (1, 2)]
    server = make_server(package("pair", [asks(*calls), says("done: {results}")], BOOK))
    await server.start()
    first, second = Gate(), Gate()

    async def answer_in_turn(requested: StartCaller) -> None:
        await (first if requested.call_id == "c1.1" else second)(requested)

    executor.after = answer_in_turn
    await server.call.start("run-1")
    await executor.until_asked(2)
    with held(server.data):
        first.open()
        await executor.until_answered(1)
        second.open()
        await executor.until_answered(2)
        with pytest.raises(TimeoutError):
            await executor.news.until(lambda: len(executor.requested) > 2, LONG_ENOUGH_SECONDS)

    settled = await server.call.settled("run-1")
    assert settled.status == run_pb2.RUN_STATUS_COMPLETED
    assert sorted(executor.effects.values()) == [1, 1]
