"""One attempt over one channel: what is sent, and what is known afterwards."""

from __future__ import annotations

import grpc

from runwright._gen.runwright.callback.v1 import tool_executor_service_pb2 as pb
from runwright._gen.runwright.callback.v1.tool_executor_service_pb2_grpc import ToolExecutorServiceStub
from runwright.ports.tools import ToolInvocation, ToolOutcome, ToolOutcomeKind
from runwright.wire.values import timestamp

Metadata = tuple[tuple[str, str], ...]


async def perform(
    channel: grpc.aio.Channel, call: ToolInvocation, *, seconds: float, metadata: Metadata = ()
) -> ToolOutcome:
    """Sends the attempt. Any error leaves the outcome unknown: UNAVAILABLE alone does not tell lost from not sent."""
    if call.trace_parent:
        metadata = (*metadata, ("traceparent", call.trace_parent))
    rpc = ToolExecutorServiceStub(channel).ExecuteTool(_request(call), timeout=seconds, metadata=metadata)
    try:
        return _outcome(await rpc)
    except grpc.aio.AioRpcError as error:
        return _unknown(error, is_late=rpc.time_remaining() == 0)
    finally:
        # Cancelled while it waited: this is what tells the executor.
        rpc.cancel()


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


def _outcome(response: pb.ExecuteToolResponse) -> ToolOutcome:
    match response.WhichOneof("outcome"):
        case "result":
            return ToolOutcome(ToolOutcomeKind.RESULT, response.result.data, response.result.media_type)
        case "error":
            return ToolOutcome(ToolOutcomeKind.ERROR, response.error.message.encode())
        case "not_performed":
            return ToolOutcome(ToolOutcomeKind.NOT_SENT)
        case _:
            return ToolOutcome(ToolOutcomeKind.ERROR, b"The executor answered with neither a result nor an error.")


def _unknown(error: grpc.aio.AioRpcError, *, is_late: bool) -> ToolOutcome:
    match error.code():
        # The host has the same deadline, and may be the first to end the call for it, with a status of its own.
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return ToolOutcome(ToolOutcomeKind.TIMED_OUT)
        case grpc.StatusCode.CANCELLED if is_late:
            return ToolOutcome(ToolOutcomeKind.TIMED_OUT)
        case grpc.StatusCode.UNIMPLEMENTED:
            return ToolOutcome(ToolOutcomeKind.ERROR, b"The executor's host does not have this tool.")
        case _:
            return ToolOutcome(ToolOutcomeKind.LOST)
