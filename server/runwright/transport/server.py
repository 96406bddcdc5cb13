"""The gRPC servers: that of the runtime, and one of its health alone."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from runwright.core.errors import AgentError
from runwright.ports.access import Authenticator
from runwright.ports.telemetry import CallMeter
from runwright.runtime import AgentRuntime
from runwright.runtime.callbacks.registry import CallbackRegistry
from runwright.runtime.ports import Ports
from runwright.transport import health, reflection
from runwright.transport.access import Access
from runwright.transport.approval_service import ApprovalService
from runwright.transport.callback_service import CallbackRegistryService
from runwright.transport.calls import CallTimes
from runwright.transport.connections import MAX_MESSAGE_BYTES, ConnectionLimits
from runwright.transport.guarded_server import GuardedServer
from runwright.transport.health import Health
from runwright.transport.limits import server_limits
from runwright.transport.methods import APPROVALS, CALLBACKS, METHODS, PACKAGES, RUNTIME
from runwright.transport.package_service import PackageService
from runwright.transport.reflection import Reflection
from runwright.transport.runtime_service import RuntimeService
from runwright.transport.streams import EventStreams

# Probes are few; who else reaches the port of health takes little.
_HEALTH_CONNECTIONS = ConnectionLimits(max_streams=64, max_connections=128, message_bytes=MAX_MESSAGE_BYTES)
_HEALTH_TIMES = CallTimes(request=2.0, idle=2.0, stall=5.0)


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
        """Without an `authenticator` everyone is `local`: bind loopback only. Without `callbacks` none are
        served, nor are packages kept by a runtime that was built without a store for them.

        `refused` is told of every error that a call ends with.
        """
        connections, times, ports = connections or ConnectionLimits(), times or CallTimes(), runtime.ports
        services = [RUNTIME, APPROVALS]
        services += [PACKAGES] if runtime.registry is not None else []
        services += [CALLBACKS] if callbacks is not None else []
        self.health = Health(services)
        reflected = Reflection((*services, health.SERVICE))
        servicers: dict[str, object] = {
            RUNTIME: RuntimeService(runtime, EventStreams(runtime), server_limits(connections, times, ports.memory)),
            APPROVALS: ApprovalService(runtime),
            health.SERVICE: self.health,
            reflection.V1: reflected,
            reflection.V1ALPHA: reflected,
        }
        if runtime.registry is not None:
            servicers[PACKAGES] = PackageService(runtime.registry, ports.audit)
        if callbacks is not None:
            servicers[CALLBACKS] = CallbackRegistryService(callbacks, ports.log, ports.audit)
        access = Access(authenticator, ports.audit)
        self._server = GuardedServer(
            access, ports.ids, ports.log, connections=connections, times=times, meter=meter, refused=refused
        )
        self._server.serve(METHODS, servicers)

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
        """Stops taking calls and lets go of the address; calls under way get the grace, but for lasting ones.

        End streams of events first, so that their readers get all there is. It may be called again.
        """
        self.health.set_ready(ready=False)
        await self._server.stop(grace_seconds)


class HealthServer:
    """Health alone, without TLS and keys, for probes that have neither."""

    def __init__(self, ports: Ports, served: Health) -> None:
        access = Access(None, ports.audit)
        self._server = GuardedServer(access, ports.ids, ports.log, connections=_HEALTH_CONNECTIONS, times=_HEALTH_TIMES)
        self._server.serve(METHODS, {health.SERVICE: served})

    def bind(self, address: str) -> int:
        """Takes the address. Returns the port. Raises RuntimeError when it is taken."""
        return self._server.bind(address)

    async def start(self) -> None:
        """Serves on what was bound."""
        await self._server.start()

    async def stop(self) -> None:
        """Ends every call at once and lets go of the address. It may be called again."""
        await self._server.stop(0)
