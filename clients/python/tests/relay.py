"""A TCP relay: its address stays while servers behind it die, and it can cut every connection at once."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.server_process import Server


class Relay:
    """Passes bytes on to `to`; nobody is there while that is empty."""

    def __init__(self) -> None:
        self.address = ""
        self.to = ""
        self.connections = 0  # how many have come
        self.called = asyncio.Event()  # set once one has
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listens on a free port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def restart(self, server: Server) -> None:
        """Kills the server and leads to its next life."""
        self.to = ""
        await server.restart()
        self.to = server.address

    def cut(self) -> None:
        """Resets every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def close(self) -> None:
        """Ends everything."""
        assert self._server is not None
        self._server.close()
        self.cut()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.called.set()
        self._writers.add(writer)
        with suppress(OSError, ValueError):
            host, _, port = self.to.rpartition(":")
            there_reader, there_writer = await asyncio.open_connection(host, int(port))
            self._writers.add(there_writer)
            await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))
            self._writers.discard(there_writer)
        writer.transport.abort()
        self._writers.discard(writer)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()
