"""The gRPC server below a tool server: it ends its connections, and bounds what it receives."""

from __future__ import annotations

import weakref
from typing import Any, TypeVar

import grpclib.server
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.protocol import H2Protocol

from ._gen.runwright.callback import v1 as pb

R = TypeVar("R", pb.ExecuteToolRequest, pb.ReconcileToolRequest, pb.DescribeToolsRequest, pb.DecideRequest)
_MOST_BYTES = 4 * 1024 * 1024  # of a request; arguments are far smaller


class Server(grpclib.server.Server):
    """Ends its connections, too: the transport leaves them open, and later Pythons then wait for their peers."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._connections: weakref.WeakSet[H2Protocol] = weakref.WeakSet()

    def _protocol_factory(self) -> H2Protocol:
        connection = super()._protocol_factory()
        self._connections.add(connection)
        return connection

    async def end(self) -> None:
        """Cancels the calls and ends the connections."""
        self.close()
        for connection in self._connections:
            if hasattr(connection, "processor"):  # it was made
                connection.processor.close("The server stops")
        await self.wait_closed()


async def received(stream: grpclib.server.Stream[R, Any], kind: type[R]) -> R:
    """The request, which the transport would take however large it is. UNIMPLEMENTED says: certainly not performed."""
    head = await stream._stream.recv_data(5)
    size = int.from_bytes(head[1:], "big")
    if len(head) < 5 or head[0] or size > _MOST_BYTES:
        raise GRPCError(Status.UNIMPLEMENTED, f"A request has at most {_MOST_BYTES} bytes and is not compressed.")
    return kind.parse(await stream._stream.recv_data(size) if size else b"")
