"""Guard: every method is served through it, unary, streaming or bidirectional.

Credentials come first: they are checked when a call's headers are there, before a byte of its request is read. Then
the call is counted, its request read and parsed, the method served, the answer counted until it is written. Undecodable
bytes, AgentErrors and our faults become declared statuses; without it grpcio answers all three with UNKNOWN and the
exception's text.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError, Message

from runwright.core.errors import AgentError, ErrorReason, invalid_request
from runwright.ports.ids import IdSource
from runwright.ports.log import OperatorLog
from runwright.ports.telemetry import CallMeter
from runwright.transport.access import Access
from runwright.transport.calls import Call, Calls
from runwright.transport.metering import CallTimer
from runwright.transport.method import Method, Shape
from runwright.transport.status import (
    CANCELLED,
    NOT_FOUND,
    OK,
    ServiceUnknown,
    abort,
    abort_unknown_service,
    code_name,
)

Context = grpc.aio.ServicerContext[Any, Any]
if TYPE_CHECKING:
    RpcHandler = grpc.RpcMethodHandler[Any, Any]  # not subscriptable at run time


class _BytesSender:
    """Where a method that streams writes its responses, as bytes."""

    __slots__ = ("_call", "_context")

    def __init__(self, call: Call, context: Context) -> None:
        self._call = call
        self._context = context

    async def write(self, message: bytes, last_cursor: str = "") -> None:
        """See BytesSender."""
        await self._call.write(self._context, message, last_cursor)


class _MessageSender:
    """The same for a method that writes messages."""

    __slots__ = ("_call", "_context")

    def __init__(self, call: Call, context: Context) -> None:
        self._call = call
        self._context = context

    async def write(self, message: Message) -> None:
        """See MessageSender."""
        await self._call.write(self._context, message.SerializeToString(), "")


class Guard:
    """Makes gRPC's handlers of methods."""

    def __init__(
        self, access: Access, calls: Calls, ids: IdSource, log: OperatorLog, refused: Callable[[AgentError], None]
    ) -> None:
        """`refused` is told of every error that a call ends with."""
        self._access = access
        self._calls = calls
        self._ids = ids
        self._log = log
        self._refused = refused

    def handler(self, method: Method, servicer: object, meter: CallMeter | None = None) -> RpcHandler:
        """gRPC's handler of a method, served by the servicer. To gRPC all requests are streams.

        A unary request would be read before its handler is called.
        """
        guarded = self._guarded(method, servicer, meter)
        if method.handler.shape is Shape.UNARY:
            return grpc.stream_unary_rpc_method_handler(guarded)
        return grpc.stream_stream_rpc_method_handler(guarded)

    def _guarded(self, method: Method, servicer: object, meter: CallMeter | None) -> Any:
        serve = _SERVED[method.handler.shape]

        async def guarded(_: object, context: Context) -> bytes | None:
            call: Call | None = None
            timer = CallTimer(meter, method.path)
            try:
                principal = self._access.admit(method, context)
                call = self._calls.enter(method, principal, str(context.peer()))
                answer = await serve(method, servicer, call, context)
                call.is_served = False
                timer.ended(OK)
                return answer
            except asyncio.CancelledError:
                error = call.ended_by if call is not None else None
                if error is None:
                    timer.ended(CANCELLED)
                    raise
            except AgentError as failed:
                error = failed
            except grpc.aio.InternalError:
                timer.ended(CANCELLED)
                raise asyncio.CancelledError from None  # a write failed: the client has left, no status is to be sent
            except ServiceUnknown:
                timer.ended(NOT_FOUND)
                await abort_unknown_service(context)
                return None
            except Exception as failed:  # noqa: BLE001 - the last line: nothing of it may reach the client
                if context.cancelled() or context.done():
                    timer.ended(CANCELLED)
                    return None  # the client has left; a write to it fails with an error of grpcio's own
                error = self._incident(method, failed)
            timer.ended(code_name(error))
            self._refused(error)
            if call is not None:
                call.is_served = False
                call.settle()
            try:
                # Behind a message that nobody reads this waits until the client leaves; the call is counted as long.
                await abort(context, error)
            finally:
                del error  # its traceback leads to this frame: a circle that would keep the call until a collection
            return None

        return guarded

    def _incident(self, method: Method, error: Exception) -> AgentError:
        incident = self._ids.incident_id()
        self._log.error("call failed", error, method=method.path, incident_id=incident)
        message = "The server failed to answer."
        return AgentError(ErrorReason.INTERNAL, message, metadata={"incident_id": incident})


async def _unary(method: Method, servicer: object, call: Call, context: Context) -> bytes:
    request = _parsed(method, await call.receive(context))
    if method.answer_bytes:
        await call.reserve(method.answer_bytes)
    response: Message = await method.handler.call(servicer, request)
    answer = response.SerializeToString()
    call.answered(len(answer))
    return answer


async def _stream(method: Method, servicer: object, call: Call, context: Context) -> None:
    request = _parsed(method, await call.receive(context))
    await method.handler.call(servicer, request, _sender(method, call, context))


async def _bidi(method: Method, servicer: object, call: Call, context: Context) -> None:
    async def requests() -> AsyncIterator[Message]:
        async for raw in call.receive_each(context):
            yield _parsed(method, raw)

    await method.handler.call(servicer, requests(), _sender(method, call, context))


def _sender(method: Method, call: Call, context: Context) -> _BytesSender | _MessageSender:
    return _BytesSender(call, context) if method.handler.encodes else _MessageSender(call, context)


_SERVED = {Shape.UNARY: _unary, Shape.STREAM: _stream, Shape.BIDI: _bidi}


def _parsed(method: Method, raw: bytes) -> Message:
    if len(raw) > method.request_bytes:
        raise invalid_request(
            "request",
            f"at most {method.request_bytes} bytes, not {len(raw)}",
            "Send less; `runwright info` shows the limits of this server.",
        )
    try:
        return method.handler.request.FromString(raw)
    except DecodeError:
        raise invalid_request(
            "request",
            "a well-formed message of the method's request type",
            "Make the client's code anew from the server's .proto files, or use one of the client libraries.",
        ) from None
