"""The gRPC servers: that of the runtime, and one of its health alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import grpc

from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as callback_pb
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.core.errors import AgentError
from runwright.ports.access import Authenticator
from runwright.ports.telemetry import CallMeter
from runwright.runtime import AgentRuntime
from runwright.runtime.callbacks.registry import CallbackRegistry
from runwright.runtime.ports import Ports
from runwright.transport import health
from runwright.transport.access import Access, incoming
from runwright.transport.callback_service import CallbackRegistryService
from runwright.transport.calls import Calls, CallTimes
from runwright.transport.connections import MAX_MESSAGE_BYTES, ConnectionLimits
from runwright.transport.guard import Guard
from runwright.transport.health import Health
from runwright.transport.limits import server_limits
from runwright.transport.methods import methods_of
from runwright.transport.reflection import V1, V1ALPHA, Reflection
from runwright.transport.runtime_service import RuntimeService
from runwright.transport.streams import EventStreams
from runwright.transport.usage import Limits

RUNTIME_SERVICE = pb.DESCRIPTOR.services_by_name["RuntimeService"].full_name
CALLBACK_SERVICE = callback_pb.DESCRIPTOR.services_by_name["CallbackRegistryService"].full_name
# Probes are few; who else reaches the port of health takes little.
_HEALTH_CONNECTIONS = ConnectionLimits(max_streams=64, max_connections=128, message_bytes=MAX_MESSAGE_BYTES)
_HEALTH_TIMES = CallTimes(request=2.0, idle=2.0, stall=5.0)
# How long gRPC may take to end calls that it was told to cancel.
_CANCEL_SECONDS = 0.25


class _Server:
    """A gRPC server and the calls it has in flight."""

    def __init__(self, connections: ConnectionLimits, times: CallTimes, access: Access) -> None:
        self._access = access
        self.calls = Calls(times, Limits.of(connections.principal_calls), access.is_revoked, access.ended)
        self._server = grpc.aio.server(options=list(connections.options()))
        self._sweeping: asyncio.Task[None] | None = None

    def serve(
        self,
        services: Mapping[str, object],
        ports: Ports,
        meter: CallMeter | None = None,
        refused: Callable[[AgentError], None] = lambda _: None,
    ) -> None:
        """Serves the methods of the services, each through the guard."""
        guard = Guard(self._access, self.calls, ports.ids, ports.log, refused)
        handlers = {
            method.path: guard.handler(method, meter)
            for service, servicer in services.items()
            for method in methods_of(service, servicer)
        }
        self._server.add_generic_rpc_handlers((_Handlers(handlers),))

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
        """Stops taking calls; those under way get the grace, and then end whatever their peers do."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._server.stop(grace_seconds), grace_seconds + _CANCEL_SECONDS)


class RuntimeServer:
    """The services of one runtime on one address."""

    def __init__(
        self,
        runtime: AgentRuntime,
        *,
        times: CallTimes | None = None,
        authenticator: Authenticator | None = None,
        callbacks: CallbackRegistry | None = None,
        connections: ConnectionLimits | None = None,
        meter: CallMeter | None = None,
        refused: Callable[[AgentError], None] = lambda _: None,
    ) -> None:
        """Without an `authenticator` everyone is `local`: bind loopback only. Without `callbacks` none are served.

        `refused` is told of every error that a call ends with.
        """
        connections, times, ports = connections or ConnectionLimits(), times or CallTimes(), runtime.ports
        services = [RUNTIME_SERVICE] if callbacks is None else [RUNTIME_SERVICE, CALLBACK_SERVICE]
        reflection = Reflection((*services, health.SERVICE))
        self.health = Health(services)
        served: dict[str, object] = {
            RUNTIME_SERVICE: RuntimeService(
                runtime, EventStreams(runtime), server_limits(connections, times, runtime.ports.memory)
            ),
            health.SERVICE: self.health,
            V1: reflection,
            V1ALPHA: reflection,
        }
        if callbacks is not None:
            served[CALLBACK_SERVICE] = CallbackRegistryService(callbacks, ports.log, ports.audit)
        access = Access(authenticator, ports.audit)
        self._server = _Server(connections, times, access)
        self._server.serve(served, ports, meter, refused)

    def bind(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Takes the address, without serving yet. Returns the port. Raises RuntimeError when it is taken."""
        return self._server.bind(address, credentials)

    @property
    def open_calls(self) -> int:
        """How many calls are in flight, those among them whose answer nobody reads."""
        return self._server.calls.open_calls

    async def start(self) -> None:
        """Serves on what was bound."""
        await self._server.start()
        self.health.set_ready(ready=True)

    async def stop(self, grace_seconds: float) -> None:
        """Stops taking calls; those under way get the grace. End streams first: gRPC would wait for them."""
        self.health.set_ready(ready=False)
        await self._server.stop(grace_seconds)


class HealthServer:
    """Health alone, without TLS and keys, for probes that have neither."""

    def __init__(self, ports: Ports, served: Health) -> None:
        self._server = _Server(_HEALTH_CONNECTIONS, _HEALTH_TIMES, Access(None, ports.audit))
        self._server.serve({health.SERVICE: served}, ports)

    def bind(self, address: str) -> int:
        """Takes the address. Returns the port. Raises RuntimeError when it is taken."""
        return self._server.bind(address)

    async def start(self) -> None:
        """Serves on what was bound."""
        await self._server.start()

    async def stop(self) -> None:
        """Ends every call at once."""
        await self._server.stop(0)


class _Handlers(grpc.GenericRpcHandler):
    """Finds handlers by method. gRPC asks in the task of the call, where the metadata it shows is put down."""

    def __init__(self, handlers: dict[str, Any]) -> None:
        self._handlers = handlers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The handler of a method, or None."""
        incoming.set(handler_call_details.invocation_metadata)
        return self._handlers.get(handler_call_details.method)
