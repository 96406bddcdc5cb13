"""The one place where vendors' bytes come in: HTTP answers and server-sent events, made plain before they are read."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Protocol

import httpx2
from msgspec import Struct, field

from runwright.adapters.providers import model_anthropic, model_openai
from runwright.adapters.providers import model_values as v
from runwright.adapters.providers.answer_bounds import MAX_BODY_BYTES
from runwright.adapters.providers.model_values import Fields

MAX_EVENT_BYTES = 16 * 1024 * 1024
MAX_ERROR_BYTES = 64 * 1024
_BAD_GATEWAY = 502
_MOST_TYPE = 127  # characters of a media type
_DONE = "[DONE]"


class Heard(Struct):
    """What one request heard of the vendor that its library does not pass on."""

    wants_stream: bool = False  # how it asked
    url: str = ""
    status: int = 0
    words: str = ""
    unread: str = ""  # how an answer came that is none
    opaque: Fields | None = field(default_factory=dict)  # what goes back with the answer; None when it is too large


heard: ContextVar[Heard | None] = ContextVar("heard", default=None)


def address(url: httpx2.URL) -> str:
    """An address as it may be shown: without a user, a password and a query."""
    return str(url.copy_with(username=None, password=None, query=None, fragment=None))


class AnswerStream(Protocol):
    """Takes the vendor's pieces of one answer and gives those that are read."""

    def add(self, body: Fields) -> Iterator[Fields]:
        """What one piece becomes."""

    def end(self) -> Iterator[Fields]:
        """What was held back."""

    def whole(self, body: Fields) -> Fields:
        """An answer in one piece, instead of pieces."""

    def opaque(self) -> Fields | None:
        """What the vendor needs back of an answer that has ended."""


class PlainAnswers:
    """A hook of the HTTP client that hands on only what the vendors' libraries are sure to understand.

    An error is kept in `heard`; one that came with status 200 gets the status it
    should have had. The body must not be compressed, and be bounded before.
    """

    def __init__(self, kind: str) -> None:
        self._format = model_anthropic if kind == "anthropic" else model_openai
        self._names_events = kind == "anthropic"

    async def __call__(self, response: httpx2.Response) -> None:
        """Makes the answer plain. Raises what reading it raises."""
        noted = heard.get() or Heard()
        noted.url, noted.status = address(response.request.url), 0
        raw = response.stream
        assert isinstance(raw, httpx2.AsyncByteStream), "the client is asynchronous"
        if response.status_code != httpx2.codes.OK:
            body = await _read(raw, MAX_ERROR_BYTES)
            noted.status, noted.words = response.status_code, words_of(body)
            _replace(response, body)
            return
        if noted.wants_stream and "text/event-stream" in response.headers.get("content-type", ""):
            response.stream = _Lines(self._events(raw, noted))
            return
        body = await _read(raw, MAX_BODY_BYTES)
        found = _json(body)
        answer = v.fields(found)
        if self._format.is_answer(answer):
            stream: AnswerStream = self._format.Stream()
            if noted.wants_stream:
                _replace(response, b"".join(self._sent(self._replay(answer, stream))), "text/event-stream")
            else:
                _replace(response, json.dumps(stream.whole(answer)).encode())
            noted.opaque = stream.opaque()
        elif is_error(said := answer or v.fields(v.items(found)[0] if v.items(found) else None)):
            noted.status, noted.words = status_of(said), words_of(body)
            response.status_code = noted.status
            _replace(response, body)
        else:
            # No answer at all. The library says so of what is no JSON, and takes much else for an empty one.
            noted.unread = f"HTTP 200 with {_media_type(response)}"
            _replace(response, b"no answer" if found is not None else body)

    async def _events(self, raw: httpx2.AsyncByteStream, noted: Heard) -> AsyncIterator[bytes]:
        stream: AnswerStream = self._format.Stream()
        events = events_of(raw)
        try:
            async for data in events:
                if data.startswith(_DONE):
                    break
                body = v.fields(_json(data.encode("utf-8", "surrogatepass")))
                if body.get("error") or "error" in (body.get("type"), body.get("object")):
                    noted.status, noted.words = status_of(body), words_of(data.encode("utf-8", "replace"))
                    yield self._line({"type": "error", "error": {"type": "api_error", "message": "as heard"}})
                    return
                for piece in stream.add(body):
                    yield self._line(piece)
            last = list(self._sent(stream.end()))
            noted.opaque = stream.opaque()  # before the last piece, after which nobody may ask for more
            for sent in last:
                yield sent
            async for _ in events:
                pass  # read to its end, a connection can be used again
        finally:
            await events.aclose()
            await raw.aclose()

    def _replay(self, answer: Fields, stream: AnswerStream) -> Iterator[Fields]:
        """A whole answer to who asked for a stream, as its pieces."""
        for piece in self._format.pieces(answer):
            yield from stream.add(piece)
        yield from stream.end()

    def _sent(self, pieces: Iterator[Fields]) -> Iterator[bytes]:
        for piece in pieces:
            yield self._line(piece)
        if not self._names_events:
            yield f"data: {_DONE}\n\n".encode()

    def _line(self, piece: Fields) -> bytes:
        name = f"event: {piece['type']}\n" if self._names_events else ""
        return f"{name}data: {json.dumps(piece)}\n\n".encode()


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


async def events_of(chunks: AsyncIterable[bytes]) -> AsyncGenerator[str, None]:
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


def is_error(body: Fields) -> bool:
    """True for what is no answer and says that something went wrong, in one of the ways in which that is said."""
    names_it = "error" in (body.get("type"), body.get("object"))
    return "error" in body or "detail" in body or names_it or ("code" in body and "message" in body)


def status_of(body: Fields) -> int:
    """The HTTP status that an error should have come with."""
    error = v.fields(body.get("error"))
    for value in (error.get("code"), error.get("status"), error.get("status_code"), body.get("code")):
        if 400 <= v.count(value) < 600:
            return v.count(value)
    names = (error.get("type"), error.get("code"), error.get("status"), body.get("code"))
    words = (body.get("error"), error.get("message"), body.get("message"), body.get("detail"))
    for texts in (names, words):
        said = " ".join(map(v.text, texts)).lower()
        for word, status in _STATUSES:
            # Names are meant for programs. Words may say anything: that a request is bad is not read out of them.
            if word in said and (texts is names or status not in (400, 403)):
                return status
    return _BAD_GATEWAY


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
    ("unexpected endpoint", 404),
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


async def _read(raw: httpx2.AsyncByteStream, most: int) -> bytes:
    """A body up to so many bytes; what is beyond them is cut off."""
    held = bytearray()
    try:
        async for chunk in raw:
            held += chunk
            if len(held) >= most:
                break
    finally:
        await raw.aclose()
    return bytes(held[:most])


def _replace(response: httpx2.Response, body: bytes, media_type: str = "application/json") -> None:
    """Another body for the response. Its length and its type are no longer those of the headers."""
    response.stream = httpx2.ByteStream(body)
    response.headers["content-type"] = media_type
    response.headers["content-length"] = str(len(body))
    response.headers.pop("transfer-encoding", None)


def _media_type(response: httpx2.Response) -> str:
    """What the body says it is, if that can be shown."""
    said = response.headers.get("content-type", "").partition(";")[0].strip()
    return said if said.isascii() and said.isprintable() and 0 < len(said) <= _MOST_TYPE else "a body"


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
