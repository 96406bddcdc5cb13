"""HTTP/2 by hand: a client that opens no window, or sends half of what it announced."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from hpack import Decoder, Encoder

from tests.e2e.notice import Notice

SECONDS = 20.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
ACK = END_STREAM = 1
END_HEADERS = 4
INITIAL_WINDOW_SIZE = 4
FRAME_BYTES = 16_384  # what every peer takes


def message(body: bytes, *, announced: int | None = None) -> bytes:
    """A gRPC message, or the beginning of one that is announced to be longer."""
    return b"\0" + (len(body) if announced is None else announced).to_bytes(4, "big") + body


def frame(kind: int, body: bytes, *, flags: int = 0, stream: int = 0) -> bytes:
    """One frame of HTTP/2."""
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


@dataclass
class Stream:
    """What the server has sent on one stream, and what it lets us send."""

    window: int
    headers: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    is_ended: bool = False
    is_reset: bool = False

    @property
    def status(self) -> int | None:
        """The grpc-status; None while there is none, or when the stream was reset instead."""
        return int(self.headers["grpc-status"]) if "grpc-status" in self.headers else None


class RawConnection:
    """One connection. What the server sends is noted; it is let send `window` bytes on each stream and never more."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, window: int) -> None:
        self._reader, self._writer = reader, writer
        self._encoder, self._decoder = Encoder(), Decoder()
        self._news = Notice()
        self._next = 1
        self._pongs = self._ponged = 0
        self._window = self._stream_window = 65_535  # what the server lets us send
        self.streams: dict[int, Stream] = {}
        self.is_closed = self.is_going_away = False
        settings = INITIAL_WINDOW_SIZE.to_bytes(2, "big") + window.to_bytes(4, "big")
        writer.write(PREFACE + frame(SETTINGS, settings))
        self._reading = asyncio.create_task(self._read())

    def call(self, path: str, *headers: tuple[str, str], body: bytes | None = None) -> Stream:
        """Begins a call with its headers; with a `body` sends that and ends our side."""
        number, self._next = self._next, self._next + 2
        pseudo = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost")]
        block = self._encoder.encode([*pseudo, ("content-type", "application/grpc"), ("te", "trailers"), *headers])
        self._writer.write(frame(HEADERS, block, flags=END_HEADERS, stream=number))
        made = self.streams[number] = Stream(self._stream_window)
        if body is not None:
            assert self.send(made, body, end=True) == len(body)
        return made

    def send(self, stream: Stream, data: bytes, *, end: bool = False) -> int:
        """Sends as much as the server's windows take. Returns how much that was."""
        size = max(0, min(len(data), stream.window, self._window))
        number = next(number for number, known in self.streams.items() if known is stream)
        for at in range(0, max(size, 1 if end and not data else 0), FRAME_BYTES):
            part = data[at : min(at + FRAME_BYTES, size)]
            flags = END_STREAM if end and at + len(part) == len(data) else 0
            self._writer.write(frame(DATA, part, flags=flags, stream=number))
        stream.window -= size
        self._window -= size
        return size

    async def send_all(self, stream: Stream, data: bytes) -> None:
        """Sends all of it, as fast as the server opens its windows."""
        while data and not self.is_closed and not stream.is_ended:
            data = data[self.send(stream, data) :]
            if data:
                await self.until(lambda: min(stream.window, self._window) > 0 or stream.is_ended or self.is_closed)

    async def sent(self) -> None:
        """Returns once the server has read what was sent so far: it answers a ping in its order. Not too often."""
        self._pongs += 1
        wanted = self._pongs
        self._writer.write(frame(PING, wanted.to_bytes(8, "big")))
        await self.until(lambda: self._ponged >= wanted or self.is_closed)
        assert not self.is_closed

    async def ended(self, stream: Stream) -> int | None:
        """The grpc-status a call ends with; None when it is reset or the connection closed."""
        await self.until(lambda: stream.is_ended or self.is_closed)
        return stream.status

    async def until(self, holds: Callable[[], bool]) -> None:
        """Returns once `holds` does; it is asked whenever the server has sent something."""
        async with asyncio.timeout(SECONDS):
            await self._news.until(holds)

    async def close(self) -> None:
        """Leaves without a word."""
        self._reading.cancel()
        self._writer.transport.abort()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reading

    async def _read(self) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await self._reader.readexactly(9)
                body = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
                self._take(head[3], head[4], int.from_bytes(head[5:], "big"), body)
                self._news.tell()
        self.is_closed = True
        self._news.tell()

    def _take(self, kind: int, flags: int, number: int, body: bytes) -> None:
        stream = self.streams.get(number)
        if kind in (SETTINGS, PING) and not flags & ACK:
            self._writer.write(frame(kind, body if kind == PING else b"", flags=ACK))
            if kind == SETTINGS:
                self._settings(body)
        elif kind == PING:
            self._ponged = int.from_bytes(body, "big")
        elif kind == WINDOW_UPDATE:
            more = int.from_bytes(body, "big")
            if stream is None:
                self._window += more
            else:
                stream.window += more
        elif kind == GOAWAY:
            self.is_going_away = True
        elif stream is not None:
            if kind == HEADERS:
                stream.headers.update((str(name), str(value)) for name, value in self._decoder.decode(body))
            elif kind == DATA:
                stream.data += body
            stream.is_reset |= kind == RST_STREAM
            stream.is_ended |= kind == RST_STREAM or (kind in (HEADERS, DATA) and bool(flags & END_STREAM))

    def _settings(self, body: bytes) -> None:
        for at in range(0, len(body), 6):
            if int.from_bytes(body[at : at + 2], "big") == INITIAL_WINDOW_SIZE:
                value = int.from_bytes(body[at + 2 : at + 6], "big")
                for stream in self.streams.values():
                    stream.window += value - self._stream_window
                self._stream_window = value


@asynccontextmanager
async def raw_connection(port: int, *, window: int = 65_535) -> AsyncIterator[RawConnection]:
    """A connection whose streams may be sent `window` bytes each."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    connection = RawConnection(reader, writer, window=window)
    try:
        yield connection
    finally:
        await connection.close()
