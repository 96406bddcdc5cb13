"""A vendor on 127.0.0.1 that speaks real HTTP: it plays answers in turn, keeps what it was asked, and is strict.

What the real vendors' rules refuse is answered with 400, kept in `refused`, and
fails the test that caused it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from tests.adapters.models.echoes import Echoes
from tests.adapters.models.strict import Fields, problems


@dataclass(frozen=True)
class Answer:
    """One HTTP answer. `body` is JSON unless it is bytes; `cut` announces more than is sent and hangs up.

    `stream` is what is sent, as server-sent events, to who asks for a stream.
    """

    body: Fields | bytes = b""
    stream: bytes | None = None
    status: int = 200
    headers: Fields = field(default_factory=dict)
    media_type: str = "application/json"
    cut: bool = False
    stall: bool = False  # nothing at all is sent
    trickle: bool = False  # a byte now and then
    hang: bool = False  # more is announced than is sent, and nobody hangs up
    is_retained: bool = False  # the vendor needs its parts back


@dataclass(frozen=True)
class StartCaller:
    """One request as it came over the wire."""

    path: str
    headers: dict[str, str]
    body: Fields


class FakeVendor:
    """The answers it still has to give, and the requests it has seen. Past the last answer it says 418."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self.answers = list(answers)
        self.requested: list[StartCaller] = []
        self.refused: list[str] = []  # what was wrong with requests, in the vendor's words
        self.began = asyncio.Event()  # set by the first request
        self.left = asyncio.Event()  # set when a connection is closed
        self.url = ""
        self.play: Callable[[StartCaller], Answer] | None = None  # instead of `answers`
        self.minds_echoes = True
        self._echoes: dict[str, Echoes] = {}  # of each model

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, request after request."""
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.left.set()
            writer.close()

    def forget(self) -> None:
        """Begins anew, as a vendor that was never asked."""
        self.requested.clear()
        self._echoes.clear()

    def _next(self) -> Answer:
        if self.play is not None:
            return self.play(self.requested[-1])
        return self.answers.pop(0) if self.answers else Answer({"error": {"message": "no answer left"}}, status=418)

    def _echoes_of(self) -> Echoes:
        return self._echoes.setdefault(str(self.requested[-1].body.get("model")), Echoes())

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.requested.append(StartCaller(head[0].split(" ")[1], headers, json.loads(body or b"{}")))
        self.began.set()
        answer = self._next()
        kind = "anthropic" if self.requested[-1].path.endswith("/messages") else "openai"
        wrong = problems(kind, self.requested[-1].body)
        if self.minds_echoes:
            wrong += self._echoes_of().problems(kind, self.requested[-1].body)
        if wrong:
            self.refused += wrong
            answer = Answer({"error": {"type": "invalid_request_error", "message": "; ".join(wrong)}}, status=400)
        elif answer.is_retained:
            self._echoes_of().answered(kind, answer.body)
        if answer.stall:
            await asyncio.sleep(30)
            return False
        data = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        media_type = answer.media_type
        if answer.stream is not None and self.requested[-1].body.get("stream"):
            data, media_type = answer.stream, "text/event-stream"
        lines = {
            "content-type": media_type,
            "content-length": len(data) + (100 if answer.cut or answer.hang else 0),
            **answer.headers,
        }
        message = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"HTTP/1.1 {answer.status} Fine\r\n{message}\r\n".encode())
        for piece in [data[at : at + 1] for at in range(len(data))] if answer.trickle else [data]:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.05 if answer.trickle else 0)
        if answer.hang:
            await asyncio.sleep(30)
        return not answer.cut


@asynccontextmanager
async def fake_vendor(*answers: Answer) -> AsyncIterator[FakeVendor]:
    """A vendor with these answers, on a port of its own while the block runs."""
    vendor = FakeVendor(answers)
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        with suppress(asyncio.CancelledError):  # the end of the block
            await vendor.serve(reader, writer)
        connections.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    vendor.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield vendor
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
    assert not vendor.refused, vendor.refused
