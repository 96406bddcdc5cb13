"""Bounds on what a vendor answers, held while it comes: what no reply may hold is not read to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx2
from pydantic_ai.messages import (
    ModelResponse,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    ToolCallPart,
    ToolCallPartDelta,
)

from runwright.ports.provider import MAX_CALLS, MAX_REPLY_ARGUMENT_BYTES

# Of a body, as it comes. A stream spends some 250 bytes on a token, and 128 k tokens are the most that models answer.
MAX_STREAM_BYTES = 64 * 1024 * 1024
MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_PIECES = 2**18
# What is handed on before the loop turns: the vendors' libraries take up to 0.4 ms for each piece of a stream.
_STREAM_STEP = 4 * 1024
_BODY_STEP = 64 * 1024
TOO_MANY_CALLS = f"it asks for more than {MAX_CALLS} calls at once"


class BrokenAnswerError(Exception):
    """An answer that breaks the rule in its text, which is ours."""


class AnswerCount:
    """Counts what a stream has brought. Raises BrokenAnswerError as soon as it is more than a reply may hold."""

    def __init__(self) -> None:
        self._calls = 0
        self._characters = 0
        self._pieces = 0

    def add(self, event: ModelResponseStreamEvent) -> None:
        """Counts one event."""
        self._pieces += 1
        if self._pieces > MAX_PIECES:
            raise BrokenAnswerError(f"it comes in more than {MAX_PIECES} pieces")
        match event:
            case PartStartEvent(part=ToolCallPart(args=made)):
                self._calls += 1
                if self._calls > MAX_CALLS:
                    raise BrokenAnswerError(TOO_MANY_CALLS)
            case PartDeltaEvent(delta=ToolCallPartDelta(args_delta=made)):
                pass
            case _:
                return
        self._characters += len(made) if isinstance(made, str) else 0
        if self._characters > MAX_REPLY_ARGUMENT_BYTES:
            raise BrokenAnswerError(f"it holds more than {MAX_REPLY_ARGUMENT_BYTES} characters of arguments")


def check_calls(response: ModelResponse) -> None:
    """The same for an answer in one piece, before anything is made of it."""
    if sum(isinstance(part, ToolCallPart) for part in response.parts) > MAX_CALLS:
        raise BrokenAnswerError(TOO_MANY_CALLS)


async def bound_body(response: httpx2.Response) -> None:
    """A hook of the HTTP client: the body of this response raises BrokenAnswerError once it is too long.

    It must not be compressed, as the request says: a small body could become any size.
    """
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise BrokenAnswerError("it is compressed, which was not asked for")
    assert isinstance(response.stream, httpx2.AsyncByteStream), "the client is asynchronous"
    is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
    response.stream = _BoundStream(response.stream, is_stream=is_stream)


class _BoundStream(httpx2.AsyncByteStream):
    """A body in small steps, between which the loop turns, and with an end."""

    def __init__(self, inner: httpx2.AsyncByteStream, *, is_stream: bool) -> None:
        self._inner = inner
        self._step = _STREAM_STEP if is_stream else _BODY_STEP
        self._most = MAX_STREAM_BYTES if is_stream else MAX_BODY_BYTES

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for data in self._inner:
            size += len(data)
            if size > self._most:
                raise BrokenAnswerError(f"it is longer than {self._most} bytes")
            for begin in range(0, len(data), self._step):
                if begin:
                    await asyncio.sleep(0)
                yield data[begin : begin + self._step]

    async def aclose(self) -> None:
        await self._inner.aclose()


def broken_by(error: BaseException) -> BrokenAnswerError | None:
    """Our own error in what a library made of it; None if it is none of ours."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        if isinstance(following, BrokenAnswerError):
            return following
        seen.add(id(following))
        following = following.__cause__ or following.__context__
    return None
