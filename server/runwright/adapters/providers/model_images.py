"""Images on their way to a vendor: put in where the request is sent, so that no library copies them on the loop.

The vendors' libraries see a token in place of each image, as short bytes that they
write into the JSON as they would the image. The HTTP client finds the tokens in what
is to be sent and sends the images instead, a piece at a time.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar

import httpx2

# Of a piece, in less than a millisecond; base64 has no padding within a text.
PIECE_BYTES = 3 * 64 * 1024


class ShownImages:
    """The images of one request, by what stands for them in it."""

    def __init__(self) -> None:
        self.by_token: dict[str, bytes] = {}

    def token(self, data: bytes) -> bytes:
        """What is to be given to the library instead of the image."""
        # Nobody can guess it, so no text can hold it. It reads the same as base64, which JSON needs not escape.
        written = secrets.token_hex(16)
        self.by_token[written] = data
        return base64.b64decode(written)


shown: ContextVar[Mapping[str, bytes]] = ContextVar("shown")


async def put_in(request: httpx2.Request) -> None:
    """A hook of the HTTP client: the images of this request in place of their tokens."""
    images = shown.get({})
    if not images:
        return
    parts: list[bytes] = []
    rest = request.content
    # In the order in which they were made, which is that of the conversation.
    for token, data in images.items():
        before, found, rest = rest.partition(token.encode())
        assert found, "what the library was given is in the request"
        parts += [before, data]
    body = _Body([*parts, rest])
    request.stream = body
    request.headers["content-length"] = str(body.size)


class _Body(httpx2.AsyncByteStream):
    """JSON and images by turns, JSON first."""

    def __init__(self, parts: list[bytes]) -> None:
        self._parts = parts
        self.size = sum((len(part) + 2) // 3 * 4 if number % 2 else len(part) for number, part in enumerate(parts))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for number, part in enumerate(self._parts):
            if number % 2:
                for at in range(0, len(part), PIECE_BYTES):
                    yield base64.b64encode(part[at : at + PIECE_BYTES])
            else:
                yield part
