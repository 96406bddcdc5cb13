"""A gRPC server whose methods all go through the guard, as their rows in a method table say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import grpc

from runwright.core.errors import AgentError
from runwright.ports.ids import IdSource
from runwright.ports.log import OperatorLog
from runwright.ports.telemetry import CallMeter
from runwright.runtime.runs.refusals import draining
from runwright.transport.access import Access, incoming
from runwright.transport.calls import Calls, CallTimes
from runwright.transport.connections import ConnectionLimits
from runwright.transport.guard import Guard
from runwright.transport.method import Method
from runwright.transport.usage import Limits

if TYPE_CHECKING:
    RpcHandler = grpc.RpcMethodHandler[Any, Any]  # not subscriptable at run time

# How long gRPC may take to end calls that it was told to cancel.
_CANCEL_SECONDS = 0.25


class GuardedServer:
    """A gRPC server and the calls it has in flight. Make it on the loop that serves."""

    def __init__(
        self,
        access: Access,
        ids: IdSource,
        log: OperatorLog,
        *,
        connections: ConnectionLimits,
        times: CallTimes,
        meter: CallMeter | None = None,
        refused: Callable[[AgentError], None] = lambda _: None,
    ) -> None:
        """`refused` is told of every error that a call ends with."""
        self.calls = Calls(times, Limits.of(connections.principal_calls), access.is_revoked, access.ended)
        self._guard = Guard(access, self.calls, ids, log, refused)
        self._meter = meter
        self._handlers: dict[str, RpcHandler] = {}
        self._server = grpc.aio.server(options=list(connections.options()))
        self._server.add_generic_rpc_handlers((_Handlers(self._handlers),))
        self._sweeping: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None

    def serve(self, methods: Sequence[Method], servicers: Mapping[str, object]) -> None:
        """Serves those of the methods for whose service (by its full name) there is a servicer."""
        self._handlers.update(
            (method.path, self._guard.handler(method, servicers[method.service], self._meter))
            for method in methods
            if method.service in servicers
        )

    def bind(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Takes the address, without serving yet. Returns the port. Raises RuntimeError when it is taken."""
        if credentials is not None:
            port = self._server.add_secure_port(address, credentials)
        else:
            port = self._server.add_insecure_port(address)
        if port == 0:
            raise RuntimeError(f"{address} cannot be bound")
        return port

    async def start(self) -> None:
        """Serves on what was bound."""
        await self._server.start()
        self._sweeping = asyncio.create_task(self.calls.run())

    async def stop(self, grace_seconds: float) -> None:
        """Stops taking calls, and lets go of what was bound.

        Calls of lasting methods end at once; others get the grace, and then end whatever their peers do. Another call
        changes nothing; it may be called for a server that was never started.
        """
        if self._sweeping is None:
            # gRPC gives back an address only when a server that was started stops.
            self._handlers.clear()
            await self.start()
        if self._sweeping is not None:
            self._sweeping.cancel()
        self.calls.end_lasting(draining())
        if self._stopping is None:
            # Never cancelled: gRPC would take its own shut-down for cancelled, and say so to the next who stops it.
            self._stopping = asyncio.create_task(self._server.stop(grace_seconds))
            ended, _ = await asyncio.wait({self._stopping}, timeout=grace_seconds + _CANCEL_SECONDS)
            for stopping in ended:
                stopping.result()


class _Handlers(grpc.GenericRpcHandler):
    """Finds handlers by method. gRPC asks in the task of the call, where the metadata it shows is put down."""

    def __init__(self, handlers: Mapping[str, RpcHandler]) -> None:
        self._handlers = handlers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> RpcHandler | None:
        """The handler of a method; without one gRPC refuses the call with UNIMPLEMENTED."""
        incoming.set(handler_call_details.invocation_metadata)
        return self._handlers.get(handler_call_details.method)
