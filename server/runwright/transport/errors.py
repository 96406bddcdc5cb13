"""Guard: lets calls in, and turns undecodable bytes, AgentErrors and our faults into declared statuses.

Without it grpcio answers all three with UNKNOWN and the exception's text. Handlers are wrapped once, when they are
registered: an interceptor would be asked for every call, and would cost it another copy of its metadata.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError

from runwright.core.errors import AgentError, ErrorReason
from runwright.ports.ids import IdSource
from runwright.ports.log import OperatorLog
from runwright.ports.telemetry import CallMeter
from runwright.transport.access import LASTING, Access
from runwright.transport.metering import metered, metered_stream
from runwright.transport.status import abort, abort_unimplemented
from runwright.wire.values import invalid

Context = grpc.aio.ServicerContext[Any, Any]
if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]  # not subscriptable at run time


class Guard:
    """Wraps every method. Credentials come first: bytes of strangers are not even decoded."""

    def __init__(self, access: Access, ids: IdSource, log: OperatorLog, meter: CallMeter | None = None) -> None:
        self._access = access
        self._ids = ids
        self._log = log
        self._meter = meter

    def guarded(self, method: str, handler: Handler) -> Handler:
        """The handler of a method, guarded. It gets the raw bytes: the deserializer is taken over."""
        parse = handler.request_deserializer or bytes
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(
                metered_stream(self._meter, method, self._admitted(method, handler.stream_stream)),
                parse,
                handler.response_serializer,
            )
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                metered(self._meter, method, self._guarded(method, parse, _stream(handler.unary_stream), lasts=True)),
                None,
                handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            metered(self._meter, method, self._guarded(method, parse, handler.unary_unary, lasts=method in LASTING)),
            None,
            handler.response_serializer,
        )

    def _admitted(self, method: str, serve: Any) -> Any:
        """A bidirectional method (reflection), which handles its own errors."""

        async def admitted(requests: Any, context: Context) -> Any:
            try:
                self._access.admit(method, context)
            except AgentError as error:
                await abort(context, error)
            async for response in serve(requests, context):
                yield response

        return admitted

    def _guarded(self, method: str, parse: Callable[[bytes], Any], serve: Any, *, lasts: bool) -> Any:
        async def guarded(raw: bytes, context: Context) -> Any:
            try:
                self._access.admit(method, context)
                try:
                    request = parse(raw)
                except DecodeError:
                    raise invalid("request", "a well-formed message of the method's request type") from None
                answering = serve(request, context)
                return await (self._access.while_current(method, answering) if lasts else answering)
            except AgentError as error:
                await abort(context, error)
            except (grpc.aio.AbortError, asyncio.CancelledError):
                raise
            except NotImplementedError:
                await abort_unimplemented(context)
            except Exception as error:  # noqa: BLE001 - the last line: nothing of it may reach the client
                if context.cancelled() or context.done():
                    return None  # the client has left; a write to it fails with an error of grpcio's own
                incident = self._ids.incident_id()
                self._log.error("call failed", error, method=method, incident_id=incident)
                told = "The server failed to answer."
                await abort(context, AgentError(ErrorReason.INTERNAL, told, metadata={"incident_id": incident}))

        return guarded


def _stream(serve: Any) -> Any:
    """A streaming method as a coroutine that writes, whichever way it is written."""

    async def run(request: Any, context: Context) -> None:
        produced = serve(request, context)
        if hasattr(produced, "__aiter__"):
            async for response in produced:
                await context.write(response)
        else:
            await produced

    return run
