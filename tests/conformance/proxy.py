"""A TCP proxy in front of a server: its address stays while servers come and go, and it cuts where it is told."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from tests.conformance.http2_frames import FrameCounter

How = Literal["rst", "fin", "half", "pause"]


@dataclass
class Cut:
    """Where a connection is cut, counted in what the server sends: after bytes, or after HTTP/2 DATA frames."""

    how: How = "rst"
    after_bytes: int | None = None
    after_data_frames: int | None = None


@dataclass(eq=False)
class Link:
    """One connection through the proxy."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    cut: Cut | None
    sent: int = 0
    frames: FrameCounter = field(default_factory=FrameCounter)
    is_dead: bool = False  # nothing passes, and nobody says so
    flowing: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.flowing.set()

    def end(self, how: How = "rst") -> None:
        """Ends the connection as the client sees it; `half` leaves the way to the server open."""
        if how == "half":
            if self.client.can_write_eof():
                self.client.write_eof()
            return
        for writer in (self.client, self.server):
            own = writer.get_extra_info("socket")
            if how == "rst" and own is not None and own.fileno() >= 0:
                own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort() if how == "rst" else writer.close()

    def allowed(self, data: bytes) -> tuple[bytes, bool]:
        """What of these bytes still goes to the client, and whether the cut comes after them."""
        cut, before = self.cut, self.sent
        self.sent += len(data)
        if cut is None:
            return data, False
        if cut.after_bytes is not None and self.sent >= cut.after_bytes:
            return data[: max(0, cut.after_bytes - before)], True
        if cut.after_data_frames is not None:
            end = self.frames.end_of(cut.after_data_frames, data)
            if end is not None:
                return data[:end], True
        return data, False


class Proxy:
    """Passes bytes on to `target`. Cuts are planned for the connections to come, or made at once."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.address = ""
        self.connections = 0
        self.cuts = 0
        self._plan: deque[Cut] = deque()
        self._links: set[Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listens on a port of its own."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=4096)
        self.address = "127.0.0.1:{}".format(self._server.sockets[0].getsockname()[1])

    def plan(self, *cuts: Cut) -> None:
        """One cut for each of the connections to come."""
        self._plan.extend(cuts)

    def heal(self) -> None:
        """Forgets the plan, and cuts what passes nothing on."""
        self._plan.clear()
        self.resume()
        for link in [link for link in self._links if link.is_dead]:
            link.end()

    def swallow(self) -> int:
        """Connections there are pass nothing on any more and say so to nobody; returns how many."""
        for link in self._links:
            link.is_dead = True
        return len(self._links)

    def resume(self) -> None:
        """Lets flow what was paused, and what was going to be."""
        for link in self._links:
            if link.cut is not None and link.cut.how == "pause":
                link.cut = None
            link.flowing.set()

    def cut(self, how: How = "rst") -> int:
        """Cuts every connection there is; returns how many."""
        links = list(self._links)
        for link in links:
            self.cuts += 1
            link.end(how)
        return len(links)

    async def close(self) -> None:
        """Ends everything."""
        if self._server is not None:
            self._server.close()
        self.heal()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        host, _, port = self.target.rpartition(":")
        try:
            from_server, to_server = await asyncio.open_connection(host, int(port), limit=4096)
        except OSError:
            writer.transport.abort()
            return
        self.connections += 1
        link = Link(writer, to_server, self._plan.popleft() if self._plan else None)
        self._links.add(link)
        try:
            await asyncio.gather(self._up(reader, link), self._down(from_server, link))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._links.discard(link)
            writer.transport.abort()
            to_server.transport.abort()

    async def _up(self, reader: asyncio.StreamReader, link: Link) -> None:
        while data := await reader.read(65536):
            await link.flowing.wait()
            if not link.is_dead:
                link.server.write(data)
                await link.server.drain()
        link.server.close()

    async def _down(self, reader: asyncio.StreamReader, link: Link) -> None:
        while data := await reader.read(65536):
            if link.is_dead:
                continue
            passed, ends = link.allowed(data)
            link.client.write(passed)
            await link.client.drain()
            if ends and link.cut is not None and link.cut.how == "pause":
                link.cut = None
                link.flowing.clear()
                await link.flowing.wait()
                link.client.write(data[len(passed) :])
            elif ends:
                assert link.cut is not None
                self.cuts += 1
                link.end(link.cut.how)
                while link.cut.how == "half" and await reader.read(65536):
                    pass  # the server goes on talking to nobody
                return
        link.client.close()
