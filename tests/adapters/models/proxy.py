"""A proxy on 127.0.0.1 that keeps whatever it is sent and answers nothing but 502."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Proxy:
    """Where it is, and every request head that came."""

    url: str
    heads: list[str] = field(default_factory=list)


@asynccontextmanager
async def recording_proxy() -> AsyncIterator[Proxy]:
    """The proxy while the block runs."""
    proxy = Proxy("")

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proxy.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 502 Not Through Me\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
