"""What an executor says of a lost call: used only when it is beyond doubt about that very attempt; nothing raises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from msgspec.structs import replace
from runwright._gen.runwright.callback.v1 import tool_executor_service_pb2 as pb
from runwright.adapters.clock import SystemClock
from runwright.adapters.remote.dialer import MAX_RECEIVE_BYTES
from runwright.adapters.remote.executors import DialledExecutors
from runwright.adapters.remote.reconcile_calls import read_reconciled
from runwright.core.ids import DEFAULT_NAMESPACE
from runwright.core.outcomes import ExecutorIdentity, ReconcileAnswer
from runwright.ports.tools import PlaceRequest, ReconcileOutcome, ToolInvocation

from tests.adapters.callback_hosts import (
    NAME,
    SECRET,
    Host,
    callback,
    dialling,
    executed,
    healthy,
    invocation,
    place_at,
    wanted,
)
from tests.adapters.raw_executor import RawExecutor
from tests.builders import SECOND, ListLog
from tests.runtime.watching import eventually

Answer = ReconcileAnswer
CALL = invocation()
ABOUT = {"idempotency_key": CALL.idempotency_key, "attempt": 1, "arguments_digest": CALL.arguments_digest}
RESULT = pb.ToolResult(data=b"seen", media_type="text/plain")


def said(**fields: Any) -> bytes:
    """An answer about the attempt, unless the fields say otherwise."""
    return pb.ReconcileToolResponse(**{**ABOUT, **fields}).SerializeToString()


PERFORMED = said(performed=RESULT)
NOT_PERFORMED = said(not_performed=pb.ToolNotPerformed(message="no such key"))
CANNOT_SAY = said(unknown=pb.ToolOutcomeUnknown(message="the ledger is away"))
INNER = pb.ToolResult(data=b"seen").SerializeToString() + b"\x78\x01"
DOUBTFUL = {
    "nothing": b"",
    "no message at all": b"\xff\xff\xff\xff",
    "cut off": PERFORMED[:-1],
    "no outcome": said(),
    "two outcomes": PERFORMED + pb.ReconcileToolResponse(not_performed=pb.ToolNotPerformed()).SerializeToString(),
    "the same outcome twice": PERFORMED + pb.ReconcileToolResponse(performed=RESULT).SerializeToString(),
    "another key": said(performed=RESULT, idempotency_key="default/run-1/c1.2"),
    "no key": said(performed=RESULT, idempotency_key=""),
    "another attempt": said(not_performed=pb.ToolNotPerformed(), attempt=2),
    "no attempt": said(not_performed=pb.ToolNotPerformed(), attempt=0),
    "other arguments": said(performed=RESULT, arguments_digest="sha256:11"),
    "other arguments, not performed": said(not_performed=pb.ToolNotPerformed(), arguments_digest="sha256:11"),
    "no arguments": said(performed=RESULT, arguments_digest=""),
    "an unknown field": PERFORMED + b"\x78\x01",
    "an unknown field in the result": said() + b"\x22" + bytes([len(INNER)]) + INNER,
    "an outcome of another type": said() + b"\x20\x01",
    "a group": PERFORMED + b"\x7b\x7c",
    "an answer to the call itself": pb.ExecuteToolResponse(result=RESULT).SerializeToString(),
    "millions of unknown fields": PERFORMED + b"\x78\x01" * 1_000_000,
}


@pytest.fixture
async def executor() -> AsyncIterator[RawExecutor]:
    """One that is up."""
    served = RawExecutor()
    await served.server.start()
    yield served
    await served.server.stop(0)


@pytest.fixture
async def tools(executor: RawExecutor) -> AsyncIterator[DialledExecutors]:
    """The port, dialling it."""
    dialled = DialledExecutors({NAME: f"billing@127.0.0.1:{executor.port}"}, SystemClock())
    yield dialled
    await dialled.close()


async def asked(tools: DialledExecutors, call: ToolInvocation = CALL, *, first: str = "") -> ReconcileOutcome:
    """What an ask came to."""
    call = replace(call, deadline=SystemClock().now() + 20 * SECOND)
    place = await place_at(tools, replace(wanted(NAME, call), first=first))
    try:
        return await tools.reconcile(place, call, 1)
    finally:
        place.release()


@pytest.mark.parametrize("answer", DOUBTFUL.values(), ids=DOUBTFUL)
def test_an_answer_that_is_not_beyond_doubt_is_not_used(answer: bytes) -> None:
    outcome, why = read_reconciled(answer, CALL)

    assert outcome.answer is Answer.UNREADABLE
    assert why


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (PERFORMED, ReconcileOutcome(Answer.PERFORMED, b"seen", "text/plain")),
        (said(performed=pb.ToolResult()), ReconcileOutcome(Answer.PERFORMED)),
        (NOT_PERFORMED, ReconcileOutcome(Answer.NOT_PERFORMED)),
        (said(not_performed=pb.ToolNotPerformed(), arguments_digest=""), ReconcileOutcome(Answer.NOT_PERFORMED)),
        (CANNOT_SAY, ReconcileOutcome(Answer.CANNOT_SAY)),
    ],
)
def test_an_answer_about_the_attempt_is_used(answer: bytes, outcome: ReconcileOutcome) -> None:
    assert read_reconciled(answer, CALL)[0] == outcome


async def test_the_answer_says_who_was_asked(executor: RawExecutor, tools: DialledExecutors) -> None:
    executor.answer = executor.says(PERFORMED)

    came = await asked(tools)

    identity = ExecutorIdentity("", "billing", f"127.0.0.1:{executor.port}")
    assert came == ReconcileOutcome(Answer.PERFORMED, b"seen", "text/plain", identity)


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    ],
)
async def test_any_status_is_no_answer(executor: RawExecutor, tools: DialledExecutors, code: grpc.StatusCode) -> None:
    async def refuses(context: Any) -> bytes:
        await context.abort(code, "the call was not performed")
        raise AssertionError

    executor.answer = refuses

    assert (await asked(tools)).answer is Answer.NO_ANSWER


async def test_an_answer_that_is_too_large_to_be_received_is_none(
    executor: RawExecutor, tools: DialledExecutors
) -> None:
    executor.answer = executor.says(said(performed=pb.ToolResult(data=b"\x00" * MAX_RECEIVE_BYTES)))

    assert (await asked(tools)).answer is Answer.NO_ANSWER


async def test_an_ask_that_is_not_answered_in_time_is_given_up(executor: RawExecutor, tools: DialledExecutors) -> None:
    async def hangs(context: Any) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError

    executor.answer = hangs
    place = await place_at(tools, wanted(NAME, CALL))

    came = await tools.reconcile(place, replace(CALL, deadline=SystemClock().now() + SECOND // 5), 1)

    place.release()
    assert came.answer is Answer.NO_ANSWER


async def test_an_ask_whose_channel_is_closed_under_it_has_no_answer(
    executor: RawExecutor, tools: DialledExecutors
) -> None:
    begun = asyncio.Event()

    async def hangs(context: Any) -> bytes:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    executor.answer = hangs
    asking = asyncio.create_task(asked(tools))
    await begun.wait()

    await tools.close()

    assert (await asking).answer is Answer.NO_ANSWER


async def test_the_executor_gets_all_that_it_needs_with_its_credential_and_the_trace() -> None:
    host = Host(accepts=f"Bearer {SECRET}")
    await host.start(has_health=True)
    log = ListLog()
    async with dialling(log=log) as tools:
        await healthy(tools, callback(host, "a", credential=SECRET))
        came = await asked(tools)
    await host.stop()

    assert (came.answer, came.data) == (Answer.PERFORMED, str(host.port).encode())
    assert came.executor_identity == ExecutorIdentity("a", "tools", f"127.0.0.1:{host.port}")
    [request] = host.asked
    assert (request.run_id, request.turn_id, request.round, request.call_id) == ("run-1", "t1", 1, "c1.1")
    assert (request.attempt, request.ask, request.idempotency_key) == (1, 1, CALL.idempotency_key)
    assert (request.tool, request.arguments_json, request.arguments_digest) == ("look", b"{}", "sha256:00")
    assert set(host.shown) == {f"Bearer {SECRET}"}
    assert log.lines == []


async def test_what_cannot_be_said_is_told_to_the_operator_in_the_hosts_words(executor: RawExecutor) -> None:
    log = ListLog()
    executor.answer = executor.says(CANNOT_SAY)
    async with dialling(configured={NAME: f"127.0.0.1:{executor.port}"}, log=log) as tools:
        await asked(tools)

    [line] = log.lines
    assert line.event == "executor was asked once what became of a call"
    assert (line.fields["answer"], line.fields["said"]) == ("CANNOT_SAY", "the ledger is away")
    assert (line.fields["run_id"], line.fields["call_id"], line.fields["attempt"]) == ("run-1", "c1.1", 1)


async def test_whoever_got_the_attempt_is_asked_first_and_another_one_if_it_is_away() -> None:
    hosts = {"a": Host(), "b": Host()}
    for host in hosts.values():
        await host.start(has_health=True)
    registrations = {name: callback(host, name) for name, host in hosts.items()}
    async with dialling() as tools:
        await healthy(tools, *registrations.values())
        got_it = (await executed(tools)).executor_identity
        assert got_it is not None
        other = next(name for name in hosts if name != got_it.callback_id)
        at_first = [(await asked(tools, first=got_it.callback_id)).executor_identity for _ in range(3)]
        tools.callbacks.drop(DEFAULT_NAMESPACE, got_it.callback_id)
        then = (await asked(tools, first=got_it.callback_id)).executor_identity
    for host in hosts.values():
        await host.stop()

    assert [each.callback_id for each in at_first if each] == [got_it.callback_id] * 3
    assert then is not None
    assert then.callback_id == other


async def test_a_place_whose_executor_has_gone_asks_nobody(tools: DialledExecutors, executor: RawExecutor) -> None:
    request = PlaceRequest(wanted(NAME).run, "c1.1", NAME, "look")
    place = await place_at(tools, request)
    await executor.server.stop(0)
    await eventually(lambda: not tools.is_reachable(request))

    came = await tools.reconcile(place, CALL, 1)

    place.release()
    assert came.answer is Answer.NOT_ASKED
