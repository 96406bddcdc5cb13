"""One attempt over one channel: what is sent, and what is known afterwards."""

from __future__ import annotations

import re

import grpc

from runwright._gen.runwright.callback.v1 import tool_executor_service_pb2 as pb
from runwright.adapters.remote.dialer import MAX_RECEIVE_BYTES, Metadata
from runwright.adapters.remote.tool_answers import read_answer
from runwright.adapters.remote.unary_call import CallFailure, CallFailureKind, UnaryCall, unary_call
from runwright.core.callback_kinds import KINDS, CallbackKind
from runwright.ports.log import OperatorLog
from runwright.ports.tools import ToolInvocation, ToolOutcome, ToolOutcomeKind
from runwright.wire.values import timestamp

_METHOD = f"/{KINDS[CallbackKind.TOOL_EXECUTOR].service}/ExecuteTool"
_TOO_LARGE = re.compile(rf"CLIENT: Received message larger than max \((\d+) vs\. {MAX_RECEIVE_BYTES}\)")
# Of a compressed message. A server says this of compressed requests only, and requests are sent as they are.
_TOO_LARGE_INSIDE = re.compile(r"(Stream removed \()?Decompressed message larger than max\)?\Z")


async def perform(
    channel: grpc.aio.Channel,
    call: ToolInvocation,
    *,
    seconds: float,
    metadata: Metadata = (),
    log: OperatorLog | None = None,
) -> ToolOutcome:
    """Sends the attempt. Any error leaves the outcome unknown: UNAVAILABLE alone does not tell lost from not sent.

    Raises nothing but the cancellation of whoever awaits it.
    """
    sent = UnaryCall(_METHOD, _request(call), seconds, metadata, call.trace_parent)
    answer = await unary_call(channel, sent, read_answer)
    if not isinstance(answer, CallFailure):
        return answer
    if answer.kind is CallFailureKind.NOT_SENT:
        return ToolOutcome(ToolOutcomeKind.NOT_SENT)
    if answer.status is not None:
        return _failed(answer.status, is_late=answer.is_over_deadline)
    if answer.fault is not None and log is not None:
        log.error("tool call broke off", answer.fault, run_id=call.run_id, call_id=call.call_id)
    return ToolOutcome(ToolOutcomeKind.LOST)


def _request(call: ToolInvocation) -> bytes:
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
    ).SerializeToString()


def _failed(error: grpc.aio.AioRpcError, *, is_late: bool) -> ToolOutcome:
    match error.code():
        # The host has the same deadline, and may be the first to end the call for it, with a status of its own.
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return ToolOutcome(ToolOutcomeKind.TIMED_OUT)
        case grpc.StatusCode.CANCELLED if is_late:
            return ToolOutcome(ToolOutcomeKind.TIMED_OUT)
        case grpc.StatusCode.UNIMPLEMENTED:
            return ToolOutcome(ToolOutcomeKind.ERROR, b"The executor's host does not have this tool.")
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return _too_large(error.details() or "")
        case _:
            return ToolOutcome(ToolOutcomeKind.LOST)


def _too_large(details: str) -> ToolOutcome:
    """An answer that was refused here for its size is one all the same; any other lack of resources is the host's."""
    found = _TOO_LARGE.search(details)
    if found:
        return ToolOutcome(ToolOutcomeKind.TOO_LARGE, size=int(found[1]))
    if _TOO_LARGE_INSIDE.match(details):
        return ToolOutcome(ToolOutcomeKind.TOO_LARGE)
    return ToolOutcome(ToolOutcomeKind.LOST)
