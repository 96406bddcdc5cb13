"""An HTTP/2 peer written by hand: it opens calls that it neither finishes nor reads, which no library lets one do."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Sequence
from typing import TypeAlias

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _PING = 0, 1, 4, 6
_ACK, _END_STREAM, _END_HEADERS = 1, 1, 4
_INITIAL_WINDOW = 4  # of the settings: how much of a stream's answer may come unasked
_FRAME_BYTES = 16_384  # the most a frame may hold without being asked

Metadata: TypeAlias = Sequence[tuple[str, str]]


class Http2Peer:
    """One connection with a receive window of zero: what the server answers waits at the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._next = 1
        self._answering = asyncio.create_task(self._answer())

    @classmethod
    async def connect(cls, address: str) -> Http2Peer:
        """Connects and says how little it takes. Raises OSError."""
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        settings = struct.pack(">HI", _INITIAL_WINDOW, 0)
        writer.write(_PREFACE + _frame(_SETTINGS, 0, 0, settings))
        return cls(reader, writer)

    def open(self, path: str, body: bytes | None, metadata: Metadata = (), *, announced: int = 0) -> None:
        """Opens a call. With `announced`, the body is only the beginning of a message of so many bytes."""
        stream, self._next = self._next, self._next + 2
        fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost")]
        fields += [("te", "trailers"), ("content-type", "application/grpc"), *metadata]
        block = b"".join(map(_literal, fields))
        self._writer.write(_frame(_HEADERS, _END_HEADERS, stream, block))
        if body is None:
            return
        message = struct.pack(">BI", 0, announced or len(body)) + body
        parts = [message[at : at + _FRAME_BYTES] for at in range(0, len(message), _FRAME_BYTES)]
        for part in parts[:-1]:
            self._writer.write(_frame(_DATA, 0, stream, part))
        self._writer.write(_frame(_DATA, 0 if announced else _END_STREAM, stream, parts[-1]))

    async def close(self) -> None:
        """Ends the connection."""
        self._answering.cancel()
        self._writer.close()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._answering
            await self._writer.wait_closed()

    async def _answer(self) -> None:
        """Acknowledges settings and pings, so that the connection counts as alive; the rest is dropped."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await self._reader.readexactly(9)
                payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
                kind, flags = head[3], head[4]
                if kind in (_SETTINGS, _PING) and not flags & _ACK:
                    self._writer.write(_frame(kind, _ACK, 0, payload if kind == _PING else b""))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def _literal(field: tuple[str, str]) -> bytes:
    """A header field that no table is needed for (RFC 7541, 6.2.2), without Huffman code."""
    return b"\x00" + b"".join(_length(len(text)) + text.encode() for text in field)


def _length(value: int) -> bytes:
    if value < 127:
        return bytes((value,))
    rest, coded = value - 127, [127]
    while rest >= 128:
        coded.append(rest % 128 + 128)
        rest //= 128
    return bytes((*coded, rest))
