"""Health: the standard service, of our own, because grpcio's keeps its lock while it writes to a watcher.

Two names mean different things. Readiness, the empty name and those of our services, is SERVING while runs can be
started and written. Liveness is SERVING as long as the process answers: an orchestrator that restarted a server for a
full disk would change nothing but lose the work under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2 as pb

from runwright.transport.method import MessageSender
from runwright.transport.status import ServiceUnknown

SERVICE = pb.DESCRIPTOR.services_by_name["Health"].full_name
LIVENESS = "runwright.liveness"


def _message(name: str) -> type[Message]:
    """A message that the library has and its stubs do not know yet."""
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(f"grpc.health.v1.{name}"))


LIST_REQUEST = _message("HealthListRequest")
_LIST_RESPONSE = _message("HealthListResponse")


class Health:
    """`grpc.health.v1.Health`. Nobody who sets a status waits for a watcher; one that does not read is let go."""

    def __init__(self, services: Sequence[str]) -> None:
        """`services` are those whose readiness is told by name, beside the server's under the empty name."""
        self._is_ready = False
        self._readiness = frozenset({"", *services})
        self._changed = asyncio.Event()

    def set_ready(self, *, ready: bool) -> None:
        """What is answered for readiness from now on."""
        if ready is self._is_ready:
            return
        self._is_ready = ready
        self._changed.set()
        self._changed = asyncio.Event()

    async def Check(self, request: pb.HealthCheckRequest) -> pb.HealthCheckResponse:
        """The status of one service. Raises ServiceUnknown."""
        status = self._status(request.service)
        if status == pb.HealthCheckResponse.SERVICE_UNKNOWN:
            raise ServiceUnknown
        return _response(status)

    async def List(self, _request: Message) -> Message:
        """The status of every service."""
        names = sorted({*self._readiness, LIVENESS})
        return _LIST_RESPONSE(statuses={name: _response(self._status(name)) for name in names})

    async def Watch(self, request: pb.HealthCheckRequest, sender: MessageSender) -> None:
        """Sends the status of a service now and whenever it has changed; changes in quick succession are one."""
        sent = None
        while True:
            changed = self._changed
            status = self._status(request.service)
            if status != sent:
                sent = status
                await sender.write(_response(status))
            await changed.wait()

    def _status(self, service: str) -> int:
        if service == LIVENESS:
            return pb.HealthCheckResponse.SERVING
        if service not in self._readiness:
            return pb.HealthCheckResponse.SERVICE_UNKNOWN
        return pb.HealthCheckResponse.SERVING if self._is_ready else pb.HealthCheckResponse.NOT_SERVING


def _response(status: int) -> pb.HealthCheckResponse:
    return pb.HealthCheckResponse(status=status)
