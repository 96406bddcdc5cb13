"""`python -m bench.raw_server`: a bare grpc.aio server, the ceiling of streams and hops. No product code runs in it."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc

OPTIONS = [
    ("grpc.so_reuseport", 0),
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 100_000),
]
# A Fan request: how many messages each stream gets, and how many bytes each has.
FAN = struct.Struct(">II")
# A Hop request: how many messages, and the seconds between two of them. A Hop message: when it was written, in ns.
HOP = struct.Struct(">Id")
WRITTEN = struct.Struct(">Q")


class Raw:
    """Echo, a relay to a server behind it, a fan that waits for Go, and a paced stream."""

    def __init__(self) -> None:
        self._go = asyncio.Event()
        self._behind: dict[bytes, Any] = {}

    async def echo(self, request: bytes, context: Any) -> bytes:
        """Gives back what it got."""
        return request

    async def relay(self, request: bytes, context: Any) -> bytes:
        """Hands on what stands behind the first two lines: the address and the method of a server behind this one."""
        address, path, message = request.split(b"\n", 2)
        call = self._behind.get(address)
        if call is None:
            made = grpc.aio.insecure_channel(address.decode())
            await made.channel_ready()
            call = self._behind[address] = made.unary_unary(path.decode())
        await call(message)
        return b""

    async def fan(self, request: bytes, context: Any) -> None:
        """One empty message at once, then the wanted ones after Go, serialised once for everybody."""
        messages, size = FAN.unpack(request)
        go, message = self._go, bytes(size)
        await context.write(b"")
        await go.wait()
        for _ in range(messages):
            await context.write(message)

    async def go(self, request: bytes, context: Any) -> bytes:
        """Lets every stream of the fan go."""
        self._go.set()
        self._go = asyncio.Event()
        return b""

    async def hop(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        """Messages at a steady pace, each with the time of its writing."""
        messages, pause = HOP.unpack(request)
        for _ in range(messages):
            await asyncio.sleep(pause)
            yield WRITTEN.pack(time.time_ns())


def raw_server() -> grpc.aio.Server:
    """A server without interceptors, with bytes in and out."""
    raw = Raw()
    server = grpc.aio.server(options=OPTIONS)
    handlers: dict[str, Any] = {
        "Echo": grpc.unary_unary_rpc_method_handler(raw.echo),
        "Relay": grpc.unary_unary_rpc_method_handler(raw.relay),
        "Fan": grpc.unary_stream_rpc_method_handler(raw.fan),
        "Go": grpc.unary_unary_rpc_method_handler(raw.go),
        "Hop": grpc.unary_stream_rpc_method_handler(raw.hop),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Raw", handlers),))
    return server


async def _serve() -> None:
    server = raw_server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"raw serving on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve())
