"""The gRPC server: services, health, reflection, options; start and stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as callback_pb
from runwright._gen.runwright.callback.v1.callback_registry_service_pb2_grpc import (
    add_CallbackRegistryServiceServicer_to_server,
)
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright._gen.runwright.v1.runtime_service_pb2_grpc import add_RuntimeServiceServicer_to_server
from runwright.ports.access import Authenticator
from runwright.ports.telemetry import CallMeter
from runwright.runtime import AgentRuntime
from runwright.runtime.callbacks import CallbackRegistry
from runwright.transport.access import Access, require_rows
from runwright.transport.callback_service import CallbackRegistryService
from runwright.transport.connections import ConnectionLimits
from runwright.transport.errors import Guard
from runwright.transport.limits import server_limits
from runwright.transport.reflection import V1, add_reflection
from runwright.transport.runtime_service import RuntimeService
from runwright.transport.streams import EventStreams

RUNTIME_SERVICE = pb.DESCRIPTOR.services_by_name["RuntimeService"].full_name
CALLBACK_SERVICE = callback_pb.DESCRIPTOR.services_by_name["CallbackRegistryService"].full_name
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class RuntimeServer:
    """The services of one runtime on one address."""

    def __init__(
        self,
        runtime: AgentRuntime,
        *,
        stall_seconds: float = 30.0,
        authenticator: Authenticator | None = None,
        callbacks: CallbackRegistry | None = None,
        connections: ConnectionLimits | None = None,
        meter: CallMeter | None = None,
    ) -> None:
        """Without an `authenticator` everyone is `local`: bind loopback only. Without `callbacks` none are served."""
        connections = connections or ConnectionLimits()
        self._runtime = runtime
        world = runtime.world
        self._server = grpc.aio.server(options=list(connections.options()))
        guarded = _Guarded(self._server, Guard(Access(authenticator, world.audit), world.ids, world.log, meter))
        streams = EventStreams(runtime, stall_seconds=stall_seconds)
        _add_runtime_service(
            guarded, RuntimeService(runtime, streams, server_limits(connections, streams, runtime.world.memory))
        )
        self._services = [RUNTIME_SERVICE]
        if callbacks is not None:
            registry = CallbackRegistryService(callbacks, world.log, world.audit)
            add_CallbackRegistryServiceServicer_to_server(registry, guarded)  # type: ignore[arg-type]
            self._services.append(CALLBACK_SERVICE)
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, guarded)  # type: ignore[arg-type]
        add_reflection(guarded, (*self._services, health.SERVICE_NAME))
        require_rows(served_methods(*self._services, health.SERVICE_NAME, reflection.SERVICE_NAME, V1))

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
        await self.set_serving(serving=True)

    async def set_serving(self, *, serving: bool) -> None:
        """What health answers, overall and for every service."""
        for service in ("", *self._services):
            await self._health.set(service, _SERVING if serving else _NOT_SERVING)

    async def stop(self, grace_seconds: float) -> None:
        """Stops taking calls; those under way get the grace. End streams first: gRPC would wait for them."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_seconds)


def served_methods(*services: str) -> list[str]:
    """The full method names of services, from their descriptors."""
    pool = descriptor_pool.Default()
    found = [pool.FindServiceByName(service) for service in services]
    return [f"/{service.full_name}/{method.name}" for service in found for method in service.methods]


class _Guarded:
    """Stands before the server while services are registered, so that no method is served without its guard."""

    def __init__(self, server: grpc.aio.Server, guard: Guard) -> None:
        self._server = server
        self._guard = guard

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Ignored: the same methods come by name."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Serves the methods, guarded; by a generic handler, which was measured to cost a call less than this way."""
        guarded = {name: self._guard.guarded(f"/{service}/{name}", handler) for name, handler in handlers.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, guarded),))


class _SendingBytes:
    """Registers RuntimeService with a Subscribe that sends bytes which are already encoded."""

    def __init__(self, guarded: _Guarded, service: RuntimeService) -> None:
        self._guarded = guarded
        self._subscribe: Any = grpc.unary_stream_rpc_method_handler(
            service.Subscribe, pb.SubscribeRequest.FromString, None
        )

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Ignored: the same methods come by name."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Registers the methods, one of them another one."""
        self._guarded.add_registered_method_handlers(service, {**handlers, "Subscribe": self._subscribe})


def _add_runtime_service(guarded: _Guarded, service: RuntimeService) -> None:
    add_RuntimeServiceServicer_to_server(service, _SendingBytes(guarded, service))  # type: ignore[arg-type]
