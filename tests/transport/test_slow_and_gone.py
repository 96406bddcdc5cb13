"""Clients that do not read, leave, or run out of patience: the run does not care, and neither does anybody else."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright._gen.runwright.v1.runtime_service_pb2_grpc import RuntimeServiceStub
from runwright.core.outcomes import RunStatus
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.journals import GatedJournal
from tests.runtime.parts import HeldTool
from tests.runtime.watching import eventually, stood_still
from tests.transport.conftest import Serve
from tests.transport.serving import CALL_SECONDS, Served, refused, run_request, subscription
from tests.transport.slow_reader import LONG, SlowReader, talkative

MANY = 1000


@pytest.fixture
async def held(serve: Serve) -> tuple[Served, HeldTool]:
    """A server with a run in the middle of a call."""
    tool = HeldTool()
    served = await serve(b.Bench(tools=FunctionTools({"look": tool})))
    await served.start()
    await tool.begun.wait()
    return served, tool


async def test_a_subscriber_that_stalls_is_ended_and_nobody_else(serve: Serve) -> None:
    served = await serve(b.Bench(tools=talkative(), packages=(LONG,)), stall_seconds=0.1)
    await served.ended()
    reader = SlowReader(served)

    _, others = await asyncio.gather(
        reader.stall(), asyncio.gather(*(served.frames(view=pb.EVENT_VIEW_FULL) for _ in range(3)))
    )
    refusal = await reader.rest()

    head = served.bench.journal.head
    assert [len(frames) for frames in others] == [head + 1] * 3
    assert refusal.info.reason == "SUBSCRIBER_STALLED"
    assert len(reader.frames) < head


async def test_a_stalled_subscriber_can_go_on_where_it_was(serve: Serve) -> None:
    served = await serve(b.Bench(tools=talkative(), packages=(LONG,)), stall_seconds=0.1)
    await served.ended()
    reader = SlowReader(served)
    await reader.stall()
    refusal = await reader.rest()
    seen = [frame.event.seq for frame in reader.frames if frame.HasField("event")]

    request = subscription(after_cursor=refusal.info.metadata["last_cursor"])
    rest = [frame async for response in served.stub.Subscribe(request) for frame in response.frames]

    missing = set(range(1, served.bench.journal.head + 1)) - set(seen)
    assert missing <= {frame.event.seq for frame in rest}
    assert rest[0].cursor in [frame.cursor for frame in reader.frames]


async def test_leaving_a_stream_does_not_cancel_the_run(held: tuple[Served, HeldTool]) -> None:
    served, tool = held
    call = served.stub.Subscribe(subscription())
    await call.read()

    call.cancel()
    await eventually(call.done)
    tool.let_go.set()

    assert (await stood_still(served.runtime)).status is RunStatus.COMPLETED


async def test_a_connection_that_breaks_does_not_cancel_the_run(held: tuple[Served, HeldTool]) -> None:
    served, tool = held
    channel = served.channel()
    call = RuntimeServiceStub(channel).Subscribe(subscription())
    await call.read()

    await channel.close()
    tool.let_go.set()

    assert (await stood_still(served.runtime)).status is RunStatus.COMPLETED


async def test_a_deadline_on_a_start_does_not_cancel_the_run(serve: Serve) -> None:
    bench = b.Bench()
    journal = GatedJournal(bench.journal)
    journal.gate.clear()
    served = await serve(bench, journal=journal)

    for seconds in (0.5, 4, 32):  # how long a request is under way is the machine's
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await served.stub.StartRun(pb.StartRunRequest(run=run_request()), timeout=seconds)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        if journal.held:
            break
    await eventually(lambda: journal.held == 1)
    journal.gate.set()

    ended = await served.ended()
    assert ended.status == run_pb2.RUN_STATUS_COMPLETED
    again = await served.stub.StartRun(pb.StartRunRequest(run=run_request()), timeout=CALL_SECONDS)
    assert not again.created


async def test_a_wait_that_is_given_up_does_not_cancel_the_run(held: tuple[Served, HeldTool]) -> None:
    served, tool = held
    waiting = served.stub.Wait(pb.WaitRequest(run_id="run-1"))

    waiting.cancel()
    tool.let_go.set()

    assert (await stood_still(served.runtime)).status is RunStatus.COMPLETED


async def test_a_thousand_subscribers_at_once_are_all_served(held: tuple[Served, HeldTool]) -> None:
    served, tool = held
    stub = RuntimeServiceStub(served.channel())
    calls = [stub.Subscribe(subscription()) for _ in range(MANY)]

    opened = await asyncio.gather(*(call.read() for call in calls))
    tool.let_go.set()
    last = await asyncio.gather(*(last_seq(call) for call in calls))

    assert all(response.frames[0].HasField("bookmark") for response in opened)
    assert set(last) == {served.bench.journal.head}
    assert {await call.code() for call in calls} == {grpc.StatusCode.OK}


async def last_seq(call: grpc.aio.UnaryStreamCall[pb.SubscribeRequest, pb.SubscribeResponse]) -> int:
    """Reads a stream to its end."""
    seq = 0
    while (response := await call.read()) is not grpc.aio.EOF:
        seq = response.frames[-1].event.seq
    return seq


async def test_a_stopping_server_sends_its_subscribers_away_with_a_reason(held: tuple[Served, HeldTool]) -> None:
    served, tool = held
    call = served.stub.Subscribe(subscription())
    waiting = served.stub.Wait(pb.WaitRequest(run_id="run-1"))
    ending = asyncio.ensure_future(refused(call))
    await eventually(lambda: bool(served.bench.manual_clock.waiting))

    served.runtime.stop_streams()

    refusals = [await ending, await refused(waiting)]
    assert {refusal.info.reason for refusal in refusals} == {"DRAINING"}
    assert {refusal.code for refusal in refusals} == {grpc.StatusCode.UNAVAILABLE}
    tool.let_go.set()
