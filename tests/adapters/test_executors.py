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
from runwright.ports.tools import ToolInvocation, ToolOutcome, ToolOutcomeKind
from runwright.wire.values import micros

from tests.builders import SECOND

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
        self.asked: list[pb.ExecuteToolRequest] = []
        self.begun = asyncio.Event()
        self.gave_up = asyncio.Event()
        self.server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        pb_grpc.add_ToolExecutorServiceServicer_to_server(self, self.server)

    async def ExecuteTool(self, request: pb.ExecuteToolRequest, context: Any) -> pb.ExecuteToolResponse:
        """See the class."""
        self.asked.append(request)
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
    return await asyncio.wait_for(tools.execute("near", invocation(within=within)), 20)


async def test_the_executor_gets_the_whole_invocation(executor: Executor, tools: DialledExecutors) -> None:
    sent = invocation()

    await tools.execute("near", sent)

    [got] = executor.asked
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
    assert len(executor.asked) == 1, "a repeated call is the machine's decision"


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
    assert executor.asked == []


async def test_a_call_that_may_not_begin_any_more_is_not_sent(executor: Executor, tools: DialledExecutors) -> None:
    late = structs.replace(invocation(), may_begin=lambda: False)

    assert (await tools.execute("near", late)).kind is Kind.NOT_SENT
    assert executor.asked == []


async def test_giving_a_call_up_tells_the_executor(executor: Executor, tools: DialledExecutors) -> None:
    executor.answer = never
    calling = asyncio.create_task(outcome(tools))
    await executor.begun.wait()

    calling.cancel()

    await asyncio.wait_for(executor.gave_up.wait(), 60)


async def test_an_executor_nobody_reaches_was_certainly_not_asked(tools: DialledExecutors) -> None:
    assert (await asyncio.wait_for(tools.execute("away", invocation()), 60)).kind is Kind.NOT_SENT
    assert (await tools.execute("unheard of", invocation())).kind is Kind.NOT_SENT
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
    reaching = asyncio.create_task(tools.reachable(DEFAULT_NAMESPACE, "near", "look"))
    await asyncio.sleep(0)
    early = reaching.done()

    await executor.server.start()
    await asyncio.wait_for(reaching, 60)

    assert not early
    assert (await outcome(tools)).kind is Kind.RESULT
    await tools.close()
    await executor.server.stop(0)
