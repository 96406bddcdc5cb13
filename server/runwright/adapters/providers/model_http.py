"""The one place where vendors' bytes come in: HTTP answers and server-sent events, made plain before they are read."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Protocol

import httpx2
from msgspec import Struct

from runwright.adapters.providers import model_anthropic, model_openai
from runwright.adapters.providers import model_values as v
from runwright.adapters.providers.model_values import Fields

MAX_BODY_BYTES = 64 * 1024 * 1024
MAX_EVENT_BYTES = 16 * 1024 * 1024
MAX_ERROR_BYTES = 64 * 1024
_BAD_GATEWAY = 502
_DONE = "[DONE]"


class Heard(Struct):
    """What one request heard of the vendor that its library does not pass on."""

    url: str = ""
    status: int = 0
    words: str = ""


heard: ContextVar[Heard | None] = ContextVar("heard", default=None)


class AnswerStream(Protocol):
    """Takes the vendor's pieces of one answer and gives those that are read."""

    def add(self, body: Fields) -> Iterator[Fields]:
        """What one piece becomes."""

    def end(self) -> Iterator[Fields]:
        """What was held back."""


class PlainAnswers(httpx2.AsyncBaseTransport):
    """A transport that hands on only what the vendors' libraries are sure to understand.

    An error is kept in `heard`; one that came with status 200 gets the status
    it should have had.
    """

    def __init__(self, inner: httpx2.AsyncBaseTransport, kind: str) -> None:
        self._inner = inner
        self._format = model_anthropic if kind == "anthropic" else model_openai
        self._names_events = kind == "anthropic"

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Sends the request. Raises what the inner transport raises."""
        response = await self._inner.handle_async_request(request)
        response.request = request
        noted = heard.get() or Heard()
        noted.url, noted.status = str(request.url.copy_with(username=None, password=None, query=None)), 0
        if response.status_code != httpx2.codes.OK:
            body = await _bounded(response, MAX_ERROR_BYTES, cut=True)
            noted.status, noted.words = response.status_code, words_of(body)
            return _answer(response, response.status_code, body)
        is_stream = "text/event-stream" in response.headers.get("content-type", "")
        wants_stream = b'"stream":true' in request.content.replace(b" ", b"")
        if is_stream and wants_stream:
            return httpx2.Response(200, headers=_EVENTS, stream=_Lines(self._events(response, noted)), request=request)
        body = await _bounded(response, MAX_BODY_BYTES)
        found = _json(body)
        answer = v.fields(found)
        if not self._format.is_answer(answer):
            if "error" not in answer:
                # No answer at all. The library says so of what is no JSON, and takes much else for an empty one.
                return _answer(response, 200, b"no answer" if found is not None else body)
            noted.status, noted.words = status_of(answer), words_of(body)
            return _answer(response, noted.status, body)
        plain = self._format.whole(answer)
        if not wants_stream:
            return httpx2.Response(200, json=plain, request=request)
        pieces = self._sent(self._replay(answer))
        return httpx2.Response(200, headers=_EVENTS, stream=_Lines(pieces), request=request)

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._inner.aclose()

    async def _events(self, response: httpx2.Response, noted: Heard) -> AsyncIterator[bytes]:
        stream = self._format.Stream()
        events = events_of(response.aiter_bytes())
        try:
            async for data in events:
                if data.startswith(_DONE):
                    break
                body = v.fields(_json(data.encode("utf-8", "surrogatepass")))
                if body.get("error") or body.get("type") == "error":
                    noted.status, noted.words = status_of(body), words_of(data.encode("utf-8", "replace"))
                    yield self._line({"type": "error", "error": {"type": "api_error", "message": "as heard"}})
                    return
                for piece in stream.add(body):
                    yield self._line(piece)
            async for piece in self._sent(stream.end()):
                yield piece
            async for _ in events:
                pass  # read to its end, a connection can be used again
        finally:
            await events.aclose()
            await response.aclose()

    def _replay(self, answer: Fields) -> Iterator[Fields]:
        """A whole answer to who asked for a stream, as its pieces."""
        stream = self._format.Stream()
        for piece in self._format.pieces(answer):
            yield from stream.add(piece)
        yield from stream.end()

    async def _sent(self, pieces: Iterator[Fields]) -> AsyncIterator[bytes]:
        for piece in pieces:
            yield self._line(piece)
        if not self._names_events:
            yield f"data: {_DONE}\n\n".encode()

    def _line(self, piece: Fields) -> bytes:
        name = f"event: {piece['type']}\n" if self._names_events else ""
        return f"{name}data: {json.dumps(piece)}\n\n".encode()


_EVENTS = {"content-type": "text/event-stream"}


class _Lines(httpx2.AsyncByteStream):
    def __init__(self, lines: AsyncIterator[bytes]) -> None:
        self._lines = lines

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for line in self._lines:
            yield line

    async def aclose(self) -> None:
        closing = getattr(self._lines, "aclose", None)
        if closing is not None:
            await closing()


async def events_of(chunks: AsyncIterator[bytes]) -> AsyncGenerator[str, None]:
    """The data of server-sent events (WHATWG HTML, 9.2.6). What holds no data is no event, whatever fields it has.

    Raises httpx2.DecodingError for one beyond the bound.
    """
    rest, data, held = bytearray(), list[str](), 0
    async for chunk in chunks:
        rest += chunk
        held += len(chunk)
        if held > MAX_EVENT_BYTES:
            raise httpx2.DecodingError("an event beyond the bound")
        if b"\n" not in chunk and b"\r" not in chunk:
            continue  # a long line is looked through once, however small the chunks are
        *lines, last = _split(bytes(rest))
        rest = bytearray(last)
        for line in lines:
            name, _, value = line.partition(b":")
            if name == b"data":
                data.append(value.removeprefix(b" ").decode("utf-8", "replace"))
            elif not line and data:
                yield "\n".join(data)
                data, held = [], len(rest)
    if rest.startswith(b"data:"):
        data.append(bytes(rest).partition(b":")[2].removeprefix(b" ").decode("utf-8", "replace"))
    if data:  # some servers leave out the last blank line
        yield "\n".join(data)


def _split(held: bytes) -> list[bytes]:
    """Lines that have ended, and what has not; a carriage return at the end may be half of a line's end."""
    tail = b"\r" if held.endswith(b"\r") else b""
    body = held.removesuffix(b"\r") if tail else held
    lines = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return [*lines[:-1], lines[-1] + tail]


def status_of(body: Fields) -> int:
    """The HTTP status that an error should have come with."""
    error = v.fields(body.get("error"))
    for given in (error.get("code"), error.get("status"), error.get("status_code"), body.get("code")):
        if 400 <= v.count(given) < 600:
            return v.count(given)
    said = " ".join(v.text(error.get(name)) for name in ("type", "code", "status")).lower() or v.text(body.get("error"))
    return next((status for word, status in _STATUSES if word in said.lower()), _BAD_GATEWAY)


_STATUSES = (
    ("rate_limit", 429),
    ("rate limit", 429),
    ("quota", 429),
    ("resource_exhausted", 429),
    ("too_many", 429),
    ("api_key", 401),
    ("api key", 401),
    ("authentication", 401),
    ("unauthenticated", 401),
    ("unauthorized", 401),
    ("permission", 403),
    ("not_found", 404),
    ("not found", 404),
    ("invalid", 400),
    ("context_length", 400),
    ("overloaded", 529),
    ("unavailable", 503),
)


def words_of(body: bytes) -> str:
    """What an error's body says to people; empty for one that says nothing that can be shown."""
    found = _json(body)
    if not isinstance(found, dict | list):
        said = body.decode("utf-8", "replace")
        return "" if "<" in said else said
    outer = v.fields(v.items(found)[0] if v.items(found) else None)
    error = outer.get("error")
    inner = v.fields(error)
    places = (inner.get("message"), error, outer.get("message"), outer.get("detail"), inner.get("type"))
    return next((said for place in places if (said := v.text(place))), "")


async def _bounded(response: httpx2.Response, limit: int, *, cut: bool = False) -> bytes:
    held = bytearray()
    try:
        async for chunk in response.aiter_bytes():
            held += chunk
            if len(held) > limit:
                if cut:
                    break
                raise httpx2.DecodingError("a body beyond the bound", request=response.request)
    finally:
        await response.aclose()
    return bytes(held[:limit])


def _answer(response: httpx2.Response, status: int, body: bytes) -> httpx2.Response:
    """The same answer with its body read: neither its length nor its encoding holds any more."""
    gone = ("content-length", "content-encoding", "transfer-encoding")
    headers = {name: value for name, value in response.headers.items() if name.lower() not in gone}
    return httpx2.Response(status, headers=headers, content=body, request=response.request)


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
