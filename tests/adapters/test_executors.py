"""Dialled executors: what is known of a call after each way in which it can go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from msgspec import structs
from runwright._gen.runwright.callback.v1 import tool_executor_service_pb2 as pb
from runwright._gen.runwright.callback.v1 import tool_executor_service_pb2_grpc as pb_grpc
from runwright.adapters.clock import SystemClock
from runwright.adapters.remote import tool_calls
from runwright.adapters.remote.executors import DialledExecutors
from runwright.core.ids import DEFAULT_NAMESPACE
from runwright.ports.tools import Place, ToolInvocation, ToolOutcome, ToolOutcomeKind
from runwright.wire.values import micros

from tests.adapters.callback_hosts import performed, place_at, wanted
from tests.builders import SECOND
from tests.runtime.watching import eventually

Kind = ToolOutcomeKind
Answer = Callable[[pb.ExecuteToolRequest, Any], Awaitable[pb.ExecuteToolResponse]]
FOREVER = 10 * SECOND


def invocation(*, within: int = FOREVER) -> ToolInvocation:
    """An attempt with a deadline."""
    return ToolInvocation(
        namespace=DEFAULT_NAMESPACE,
        run_id="run-1",
        turn_id="t1",
        round=2,
        call_id="c2.1",
        attempt=3,
        idempotency_key="default/run-1/c2.1",
        tool="look",
        arguments_json=b'{"n":1}',
        arguments_digest="sha256:00",
        deadline=SystemClock().now() + within,
        package_fingerprint="sha256:p:11",
    )


class Executor(pb_grpc.ToolExecutorServiceServicer):
    """An executor that answers by a function and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer: Answer = results
        self.requested: list[pb.ExecuteToolRequest] = []
        self.begun = asyncio.Event()
        self.gave_up = asyncio.Event()
        self.server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        pb_grpc.add_ToolExecutorServiceServicer_to_server(self, self.server)

    async def ExecuteTool(self, request: pb.ExecuteToolRequest, context: Any) -> pb.ExecuteToolResponse:
        """See the class."""
        self.requested.append(request)
        self.begun.set()
        try:
            return await self.answer(request, context)
        except asyncio.CancelledError:
            self.gave_up.set()
            raise


async def results(request: pb.ExecuteToolRequest, context: Any) -> pb.ExecuteToolResponse:
    return pb.ExecuteToolResponse(result=pb.ToolResult(data=b"seen", media_type="text/plain"))


async def never(request: pb.ExecuteToolRequest, context: Any) -> pb.ExecuteToolResponse:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.fixture
async def executor() -> AsyncIterator[Executor]:
    """An executor that is up."""
    served = Executor()
    yield served
    await served.server.stop(0)


@pytest.fixture
async def tools(executor: Executor) -> AsyncIterator[DialledExecutors]:
    """The port, dialling it; `away` is an address where nobody is."""
    port = executor.server.add_insecure_port("127.0.0.1:0")
    await executor.server.start()
    dialled = DialledExecutors({"near": f"127.0.0.1:{port}", "away": "127.0.0.1:1"}, SystemClock())
    yield dialled
    await dialled.close()


async def outcome(tools: DialledExecutors, *, within: int = FOREVER) -> ToolOutcome:
    """What came of a call."""
    return await performed(tools, "near", invocation(within=within))


async def test_the_executor_gets_the_whole_invocation(executor: Executor, tools: DialledExecutors) -> None:
    sent = invocation()

    await performed(tools, "near", sent)

    [got] = executor.requested
    assert (got.run_id, got.turn_id, got.round, got.call_id, got.attempt) == ("run-1", "t1", 2, "c2.1", 3)
    assert (got.idempotency_key, got.tool, got.arguments_json) == ("default/run-1/c2.1", "look", b'{"n":1}')
    assert (got.arguments_digest, got.package_fingerprint) == ("sha256:00", "sha256:p:11")
    assert micros(got.deadline) == sent.deadline


async def test_a_result_comes_back_as_it_was(tools: DialledExecutors) -> None:
    came = await outcome(tools)

    assert (came.kind, came.data, came.media_type) == (Kind.RESULT, b"seen", "text/plain")


async def test_a_failure_of_the_tool_is_certain(executor: Executor, tools: DialledExecutors) -> None:
    async def fails(request: Any, context: Any) -> pb.ExecuteToolResponse:
        return pb.ExecuteToolResponse(error=pb.ToolError(message="no such file"))

    executor.answer = fails

    came = await outcome(tools)

    assert (came.kind, came.data) == (Kind.ERROR, b"no such file")


async def test_what_a_host_has_not_begun_may_be_sent_again(executor: Executor, tools: DialledExecutors) -> None:
    async def stopping(request: Any, context: Any) -> pb.ExecuteToolResponse:
        return pb.ExecuteToolResponse(not_performed=pb.ToolNotPerformed(message="It is stopping."))

    executor.answer = stopping

    assert (await outcome(tools)).kind is Kind.NOT_SENT


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
async def test_a_status_leaves_the_outcome_unknown(
    executor: Executor, tools: DialledExecutors, code: grpc.StatusCode
) -> None:
    async def refuses(request: Any, context: Any) -> pb.ExecuteToolResponse:
        await context.abort(code, "no")
        raise AssertionError

    executor.answer = refuses
    expected = {grpc.StatusCode.UNIMPLEMENTED: Kind.ERROR, grpc.StatusCode.DEADLINE_EXCEEDED: Kind.TIMED_OUT}

    assert (await outcome(tools)).kind is expected.get(code, Kind.LOST)
    assert len(executor.requested) == 1, "a repeated call is the machine's decision"


@pytest.mark.parametrize(
    "words",
    [
        "Stream removed (GOAWAY received; Error code: 0; Debug Text: )",
        "Stream removed (RST_STREAM (Received RST_STREAM with error code 7))",
        "failed to connect to all addresses; last error: UNKNOWN: Connection refused",
    ],
)
async def test_words_that_a_host_passes_on_from_behind_it_do_not_say_that_nothing_was_done(
    executor: Executor, tools: DialledExecutors, words: str
) -> None:
    async def passes_on(request: pb.ExecuteToolRequest, context: Any) -> pb.ExecuteToolResponse:
        await context.abort(grpc.StatusCode.UNAVAILABLE, words)
        raise AssertionError

    executor.answer = passes_on

    assert (await outcome(tools)).kind is Kind.LOST


async def test_an_exception_of_the_executor_leaves_the_outcome_unknown(
    executor: Executor, tools: DialledExecutors
) -> None:
    async def breaks(request: Any, context: Any) -> pb.ExecuteToolResponse:
        raise ZeroDivisionError

    executor.answer = breaks

    assert (await outcome(tools)).kind is Kind.LOST


async def test_an_executor_that_goes_down_in_a_call_leaves_the_outcome_unknown(
    executor: Executor, tools: DialledExecutors
) -> None:
    executor.answer = never
    calling = asyncio.create_task(outcome(tools))
    await executor.begun.wait()

    await executor.server.stop(0)

    assert (await calling).kind is Kind.LOST


async def test_an_executor_that_does_not_answer_in_time_has_timed_out(
    executor: Executor, tools: DialledExecutors
) -> None:
    executor.answer = never

    assert (await outcome(tools, within=2 * SECOND)).kind is Kind.TIMED_OUT
    await asyncio.wait_for(executor.gave_up.wait(), 60)


@pytest.mark.parametrize(("is_late", "kind"), [(True, Kind.TIMED_OUT), (False, Kind.LOST)])
def test_a_host_may_be_the_first_to_see_the_deadline(is_late: bool, kind: Kind) -> None:
    metadata = grpc.aio.Metadata()
    cancelled = grpc.aio.AioRpcError(grpc.StatusCode.CANCELLED, metadata, metadata)

    assert tool_calls._failed(cancelled, is_late=is_late).kind is kind


async def test_a_call_whose_time_is_over_is_not_sent(executor: Executor, tools: DialledExecutors) -> None:
    assert (await outcome(tools, within=-1)).kind is Kind.NOT_SENT
    assert executor.requested == []


async def test_a_call_that_may_not_begin_any_more_is_not_sent(executor: Executor, tools: DialledExecutors) -> None:
    late = structs.replace(invocation(), may_begin=lambda: False)

    assert (await performed(tools, "near", late)).kind is Kind.NOT_SENT
    assert executor.requested == []


async def test_giving_a_call_up_tells_the_executor(executor: Executor, tools: DialledExecutors) -> None:
    executor.answer = never
    calling = asyncio.create_task(outcome(tools))
    await executor.begun.wait()

    calling.cancel()

    await asyncio.wait_for(executor.gave_up.wait(), 60)


async def test_an_executor_nobody_reaches_was_certainly_not_asked(tools: DialledExecutors) -> None:
    assert (await performed(tools, "away", invocation())).kind is Kind.NOT_SENT
    assert (await performed(tools, "unheard of", invocation())).kind is Kind.NOT_SENT
    assert (tools.knows(DEFAULT_NAMESPACE, "away"), tools.knows(DEFAULT_NAMESPACE, "unheard of")) == (True, False)


async def test_a_proxy_for_the_web_is_none_for_executors(
    tools: DialledExecutors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    for variable in ("grpc_proxy", "https_proxy", "http_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")

    assert (await outcome(tools)).kind is Kind.RESULT


async def test_an_executor_is_reachable_once_it_is_up() -> None:
    executor = Executor()
    port = executor.server.add_insecure_port("127.0.0.1:0")  # bound, but nobody serves yet
    tools = DialledExecutors({"near": f"127.0.0.1:{port}"}, SystemClock())
    reaching = asyncio.create_task(place_at(tools, wanted("near", invocation())))
    await asyncio.sleep(0)
    early = reaching.done()

    await executor.server.start()
    (await asyncio.wait_for(reaching, 60)).release()

    assert not early
    assert (await outcome(tools)).kind is Kind.RESULT
    await tools.close()
    await executor.server.stop(0)


def numbered(number: int) -> ToolInvocation:
    """An attempt of a call of its own."""
    return structs.replace(invocation(), call_id=f"c1.{number}", idempotency_key=f"default/run-1/c1.{number}")


async def test_a_configured_executor_has_so_many_places_and_no_more(executor: Executor) -> None:
    port = executor.server.add_insecure_port("127.0.0.1:0")
    await executor.server.start()
    tools = DialledExecutors({"near": f"127.0.0.1:{port}"}, SystemClock(), most_calls=3)
    executor.answer = never

    calls = [asyncio.create_task(performed(tools, "near", numbered(1)))]
    await executor.begun.wait()
    places = [tools.take_place(wanted("near", numbered(number))) for number in (2, 3, 4)]
    next_one = asyncio.create_task(place_at(tools, wanted("near", numbered(5))))
    await asyncio.sleep(0)
    was_early = next_one.done()
    calls[0].cancel()
    await asyncio.wait_for(next_one, 10)

    assert [place is not None for place in places] == [True, True, False]
    assert not was_early
    assert tools.take_place(wanted("near", numbered(6))) is None
    await tools.close()


async def test_an_executor_that_is_not_connected_has_no_places_but_may_be_there(tools: DialledExecutors) -> None:
    near, away, nobody = (wanted(name, invocation()) for name in ("near", "away", "unheard of"))

    early = [tools.take_place(each) for each in (near, away, nobody)]
    may_be_there = [tools.is_reachable(each) for each in (near, nobody)]
    (await asyncio.wait_for(place_at(tools, near), 10)).release()
    async with asyncio.timeout(10):
        while tools.is_reachable(away):  # noqa: ASYNC110 - until the system has said that nobody is there
            await asyncio.sleep(0.01)

    assert early == [None, None, None]
    assert may_be_there == [True, False]
    assert tools.is_reachable(near)


async def test_however_many_calls_wait_for_a_configured_executor_one_task_looks_for_it(tools: DialledExecutors) -> None:
    before = len(asyncio.all_tasks())
    granted: list[Place] = []
    waits = [tools.wait_for_place(wanted("away", numbered(number)), granted.append) for number in range(50)]
    await asyncio.sleep(0)

    assert len(asyncio.all_tasks()) - before == 1
    assert granted == []
    for wait in waits:
        wait.leave()


async def test_the_call_whose_executor_comes_back_between_intent_and_sending_has_its_whole_time(
    executor: Executor,
) -> None:
    port = executor.server.add_insecure_port("127.0.0.1:0")
    await executor.server.start()
    tools = DialledExecutors({"near": f"127.0.0.1:{port}"}, SystemClock())
    place = await asyncio.wait_for(place_at(tools, wanted("near", invocation())), 10)
    await executor.server.stop(0)
    await eventually(lambda: not place.connection.is_ready)
    again = Executor()
    again.server.add_insecure_port(f"127.0.0.1:{port}")

    sent = invocation()
    calling = asyncio.create_task(tools.execute(place, sent))
    await again.server.start()
    outcome = await asyncio.wait_for(calling, 20)

    if outcome.kind is Kind.RESULT:  # else it was not there in time, and nothing was sent
        [got] = again.requested
        assert micros(got.deadline) > sent.deadline
    else:
        assert outcome.kind is Kind.NOT_SENT and again.requested == []
    await tools.close()
    await again.server.stop(0)
