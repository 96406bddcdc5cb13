"""A TCP proxy in front of a server: its address stays while servers come and go, and it cuts where it is told."""

from __future__ import annotations

import asyncio
from collections import deque

from tests.conformance.links import Cut, How, Link


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
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

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
