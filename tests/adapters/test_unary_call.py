"""How a unary call ended, whatever it asks of whom: each end is a value, and only whoever gives it up hears of that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import grpc
import pytest
from runwright.adapters.remote.unary_call import CallFailure, CallFailureKind, UnaryCall, unary_call

Kind = CallFailureKind
CALL = UnaryCall("/any.Service/Method", b"asked", 60.0, (("authorization", "Bearer key"),), "00-trace")


class Host(grpc.GenericRpcHandler):
    """Answers every method by a function; keeps the metadata of what was sent, and whether somebody gave up."""

    def __init__(self) -> None:
        self.answer: Callable[[bytes, Any], Awaitable[bytes]] = echo
        self.metadata: list[tuple[str, str]] = []
        self.begun = asyncio.Event()
        self.gave_up = asyncio.Event()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        """See the class."""
        return grpc.unary_unary_rpc_method_handler(self._called)

    async def _called(self, data: bytes, context: Any) -> bytes:
        self.metadata = [(key, value) for key, value in context.invocation_metadata()]
        self.begun.set()
        try:
            return await self.answer(data, context)
        except asyncio.CancelledError:
            self.gave_up.set()
            raise


async def echo(data: bytes, context: Any) -> bytes:
    return data


async def never(data: bytes, context: Any) -> bytes:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.fixture
async def host() -> Host:
    """Echoes."""
    return Host()


@pytest.fixture
async def channel(host: Host) -> AsyncIterator[grpc.aio.Channel]:
    """To the host."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((host,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as opened:
        yield opened
    await server.stop(0)


async def called(channel: grpc.aio.Channel, call: UnaryCall = CALL) -> bytes | CallFailure:
    return await unary_call(channel, call, bytes)


async def test_an_answer_is_what_was_read_of_it(host: Host, channel: grpc.aio.Channel) -> None:
    answer = await unary_call(channel, CALL, lambda data: (len(data), data))

    assert answer == (5, b"asked")
    assert ("authorization", "Bearer key") in host.metadata
    assert ("traceparent", "00-trace") in host.metadata


async def test_a_call_of_no_trace_names_none(host: Host, channel: grpc.aio.Channel) -> None:
    await called(channel, replace(CALL, trace_parent=""))

    assert "traceparent" not in dict(host.metadata)


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
async def test_a_status_is_handed_on_and_only_the_deadline_is_late(
    host: Host, channel: grpc.aio.Channel, code: grpc.StatusCode
) -> None:
    async def refuses(data: bytes, context: Any) -> bytes:
        await context.abort(code, "no")
        raise AssertionError

    host.answer = refuses
    failed = await called(channel)

    assert isinstance(failed, CallFailure) and failed.status is not None
    assert (failed.kind, failed.status.code(), failed.fault) == (Kind.STATUS, code, None)
    assert failed.is_late is (code is grpc.StatusCode.DEADLINE_EXCEEDED)


@pytest.mark.parametrize("is_over", [True, False])
def test_a_host_that_is_the_first_to_see_the_deadline_may_say_anything(is_over: bool) -> None:
    status = grpc.aio.AioRpcError(grpc.StatusCode.CANCELLED, grpc.aio.Metadata(), grpc.aio.Metadata())

    assert CallFailure(Kind.STATUS, status, is_over).is_late is is_over


async def test_an_answer_that_does_not_come_in_time_is_late(host: Host, channel: grpc.aio.Channel) -> None:
    await called(channel)
    host.answer = never

    failed = await called(channel, replace(CALL, seconds=0.2))

    assert isinstance(failed, CallFailure)
    assert (failed.kind, failed.is_late) == (Kind.STATUS, True)


async def test_over_a_channel_that_is_closed_nothing_is_sent(host: Host, channel: grpc.aio.Channel) -> None:
    await channel.close()

    assert await called(channel) == CallFailure(Kind.NOT_SENT)
    assert not host.begun.is_set()


async def test_a_channel_that_is_closed_under_a_call_cancels_nobody(host: Host, channel: grpc.aio.Channel) -> None:
    host.answer = never
    calling = asyncio.create_task(called(channel))
    await host.begun.wait()

    await channel.close()

    assert await calling == CallFailure(Kind.CHANNEL_CLOSED)


async def test_an_answer_that_breaks_whoever_reads_it_is_a_fault(channel: grpc.aio.Channel) -> None:
    def breaks(data: bytes) -> bytes:
        raise ZeroDivisionError

    failed = await unary_call(channel, CALL, breaks)

    assert isinstance(failed, CallFailure)
    assert (failed.kind, type(failed.fault), failed.is_late) == (Kind.FAULT, ZeroDivisionError, False)


async def test_whoever_gives_a_call_up_is_cancelled_and_the_host_is_told(host: Host, channel: grpc.aio.Channel) -> None:
    host.answer = never
    calling = asyncio.create_task(called(channel))
    await host.begun.wait()

    calling.cancel()
    [ended] = await asyncio.gather(calling, return_exceptions=True)

    assert isinstance(ended, asyncio.CancelledError)
    await asyncio.wait_for(host.gave_up.wait(), 60)
