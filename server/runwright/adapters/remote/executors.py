"""Tool executors as unary callback services: `runwright.callback.v1.ToolExecutorService`, dialled."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import grpc

from runwright._gen.runwright.callback.v1 import tool_executor_service_pb2 as pb
from runwright._gen.runwright.callback.v1.tool_executor_service_pb2_grpc import ToolExecutorServiceStub
from runwright.ports.clock import Clock
from runwright.ports.tools import ToolInvocation, ToolOutcome, ToolOutcomeKind
from runwright.wire.values import timestamp

# Bounds the time in which an intent is open although nothing was sent.
CONNECT_SECONDS = 1.0
_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    ("grpc.enable_retries", 0),  # a repeated call is the run machine's decision
]


class DialledExecutors:
    """ToolExecutors at fixed addresses: `{name: "host:port"}`."""

    def __init__(self, addresses: Mapping[str, str], clock: Clock) -> None:
        self._addresses = dict(addresses)
        self._clock = clock
        self._channels: dict[str, grpc.aio.Channel] = {}

    def knows(self, executor: str) -> bool:
        """True when an address is configured."""
        return executor in self._addresses

    async def reachable(self, executor: str) -> None:
        """Returns once the channel is READY; never, when no address is configured."""
        if not self.knows(executor):
            await asyncio.Event().wait()
        await self._channel(executor).channel_ready()

    async def execute(self, executor: str, call: ToolInvocation) -> ToolOutcome:
        """Performs one attempt.

        Not READY in time: certainly not sent. Any error once the call has begun
        leaves the outcome unknown: UNAVAILABLE alone does not tell the two apart.
        """
        if not self.knows(executor):
            return ToolOutcome(ToolOutcomeKind.NOT_SENT)
        channel = self._channel(executor)
        try:
            # Not wait_for: on Python 3.11 it swallows a cancel that comes as the channel becomes ready.
            async with asyncio.timeout(min(CONNECT_SECONDS, max(0.0, self._left(call)))):
                await channel.channel_ready()
        except TimeoutError:
            return ToolOutcome(ToolOutcomeKind.NOT_SENT)
        left = self._left(call)
        if left <= 0 or not call.may_begin():
            return ToolOutcome(ToolOutcomeKind.NOT_SENT)
        rpc = ToolExecutorServiceStub(channel).ExecuteTool(_request(call), timeout=left, metadata=_metadata(call))
        try:
            return _outcome(await rpc)
        except grpc.aio.AioRpcError as error:
            return _unknown(error)
        finally:
            # Cancelled while it waited: this is what tells the executor.
            rpc.cancel()

    def connect(self) -> None:
        """Begins to dial every executor, so that `counts` tells of those that were never needed, too."""
        for executor in self._addresses:
            self._channel(executor).get_state(try_to_connect=True)

    def counts(self) -> Mapping[str, int]:
        """How many executors there are, and to how many there is a connection; the others are dialled. Any thread."""
        states = [channel.get_state(try_to_connect=True) for channel in list(self._channels.values())]
        return {"configured": len(self._addresses), "connected": states.count(grpc.ChannelConnectivity.READY)}

    async def close(self) -> None:
        """Closes every channel."""
        for channel in self._channels.values():
            await channel.close()

    def _left(self, call: ToolInvocation) -> float:
        return (call.deadline - self._clock.now()) / 1_000_000

    def _channel(self, executor: str) -> grpc.aio.Channel:
        channel = self._channels.get(executor)
        if channel is None:
            channel = grpc.aio.insecure_channel(self._addresses[executor], options=_OPTIONS)
            self._channels[executor] = channel
        return channel


def _request(call: ToolInvocation) -> pb.ExecuteToolRequest:
    return pb.ExecuteToolRequest(
        run_id=call.run_id,
        turn_id=call.turn_id,
        round=call.round,
        call_id=call.call_id,
        attempt=call.attempt,
        idempotency_key=call.idempotency_key,
        tool=call.tool,
        arguments_json=call.arguments_json,
        arguments_digest=call.arguments_digest,
        deadline=timestamp(call.deadline),
        package_fingerprint=call.package_fingerprint,
    )


def _metadata(call: ToolInvocation) -> tuple[tuple[str, str], ...]:
    return (("traceparent", call.trace_parent),) if call.trace_parent else ()


def _outcome(response: pb.ExecuteToolResponse) -> ToolOutcome:
    match response.WhichOneof("outcome"):
        case "result":
            return ToolOutcome(ToolOutcomeKind.RESULT, response.result.data, response.result.media_type)
        case "error":
            return ToolOutcome(ToolOutcomeKind.ERROR, response.error.message.encode())
        case _:
            return ToolOutcome(ToolOutcomeKind.ERROR, b"The executor answered with neither a result nor an error.")


def _unknown(error: grpc.aio.AioRpcError) -> ToolOutcome:
    match error.code():
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return ToolOutcome(ToolOutcomeKind.TIMED_OUT)
        case grpc.StatusCode.UNIMPLEMENTED:
            return ToolOutcome(ToolOutcomeKind.ERROR, b"Nobody serves ExecuteTool at the executor's address.")
        case _:
            return ToolOutcome(ToolOutcomeKind.LOST)
