"""One connection through the proxy, and where it is cut."""

from __future__ import annotations

import asyncio
import socket
import struct
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
