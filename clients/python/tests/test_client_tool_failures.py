"""Whatever a tool does, its call is answered at once, and the host serves the next one."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from dialling import SECONDS, dialled

from runwright_client import Content, ToolCall, ToolError, ToolServer, tool

FAILED = "The tool failed."
MADE = "The call was made; its result cannot be encoded."


class Silent(Exception):
    """An error that cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class SilentToolError(ToolError):
    """A declared failure whose text cannot be had."""

    def __str__(self) -> str:
        raise SystemExit(3)


RAISED: dict[str, Callable[[], BaseException]] = {
    "stop-iteration": lambda: StopIteration(1),
    "stop-async-iteration": StopAsyncIteration,
    "generator-exit": GeneratorExit,
    "system-exit": lambda: SystemExit(0),
    "keyboard-interrupt": KeyboardInterrupt,
    "cancelled": asyncio.CancelledError,
    "cancelled-of-threads": concurrent.futures.CancelledError,
    "invalid-state": concurrent.futures.InvalidStateError,
    "timeout": TimeoutError,
    "base": BaseException,
    "group": lambda: BaseExceptionGroup("several", [SystemExit(1), KeyboardInterrupt()]),
    "recursion": RecursionError,
    "silent": Silent,
    "silent-tool-error": SilentToolError,
}


def raising(make: Callable[[], BaseException], way: str) -> Callable[[Any, ToolCall], Any]:
    """A handler that raises."""

    def block(arguments: Any, call: ToolCall) -> None:
        raise make()

    async def wait(arguments: Any, call: ToolCall) -> None:
        await asyncio.sleep(0)
        raise make()

    def wrapper(arguments: Any, call: ToolCall) -> Awaitable[None]:
        return wait(arguments, call)

    return {"thread": block, "async": wait, "wrapper": wrapper}[way]


@pytest.mark.parametrize("way", ["thread", "async", "wrapper"])
async def test_whatever_a_tool_raises_fails_that_call_and_leaves_the_host_alive(way: str) -> None:
    tools = ToolServer()
    for name, make in RAISED.items():
        tools.add(name, raising(make, way))
    tools.add("look", lambda arguments, call: "seen")
    logging.getLogger("runwright_client").addHandler(handler := logging.NullHandler())
    async with dialled(tools) as call, asyncio.timeout(SECONDS):
        message = {name: (await call(name)).error.message for name in RAISED}
        seen = await call("look")
    logging.getLogger("runwright_client").removeHandler(handler)

    assert message == dict.fromkeys(RAISED, FAILED)
    assert seen.result.data == b'"seen"'


async def test_a_decorated_tool_may_raise_anything_too() -> None:
    @tool(effect="read")
    def look() -> int:
        """Looks."""
        return next(iter(()))  # StopIteration, as programs have it

    async with dialled(ToolServer([look])) as call, asyncio.timeout(SECONDS):
        message = await call("look")

    assert message.error.message == FAILED


async def test_a_log_that_fails_changes_no_answer() -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("the disk is full")

    tools = ToolServer()
    tools.add("look", raising(ValueError, "async"))
    tools.add("odd", lambda arguments, call: object())
    logging.getLogger("runwright_client").addHandler(broken := Broken())
    try:
        async with dialled(tools) as call, asyncio.timeout(SECONDS):
            message = [(await call(name)).error.message for name in ("look", "odd")]
    finally:
        logging.getLogger("runwright_client").removeHandler(broken)

    assert message == [FAILED, MADE]


async def test_a_tool_that_cancels_its_own_task_fails_its_own_call_only() -> None:
    async def gives_up(arguments: Any, call: ToolCall) -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "done"

    tools = ToolServer()
    tools.add("gives-up", gives_up)
    tools.add("look", lambda arguments, call: "seen")
    async with dialled(tools) as call, asyncio.timeout(SECONDS):
        message, seen = await call("gives-up"), await call("look")

    assert message.error.message == FAILED
    assert seen.result.data == b'"seen"'


class Looks:
    """An object that is called like a function, and awaited."""

    async def __call__(self, arguments: Any, call: ToolCall) -> str:
        await asyncio.sleep(0)
        return "object"


class Later:
    """An awaitable that is no coroutine."""

    def __await__(self) -> Iterator[Any]:
        yield from asyncio.sleep(0).__await__()
        return "later"


async def _look(kind: str, arguments: Any, call: ToolCall) -> str:
    await asyncio.sleep(0)
    return kind


def _wrapped(arguments: Any, call: ToolCall) -> Awaitable[Awaitable[str]]:
    async def outer() -> Awaitable[str]:
        return _look("twice", arguments, call)

    return outer()


def _from_a_pool(arguments: Any, call: ToolCall) -> concurrent.futures.Future[str]:
    done: concurrent.futures.Future[str] = concurrent.futures.Future()
    done.set_result("pool")
    return done


async def _steps(arguments: Any, call: ToolCall) -> AsyncIterator[int]:
    for step in range(3):
        yield step


def _lines(arguments: Any, call: ToolCall) -> Iterator[str]:
    yield "a"
    yield "b"


async def test_anything_that_can_be_awaited_is_awaited() -> None:
    handlers: dict[str, tuple[Any, bytes]] = {
        "object": (Looks(), b'"object"'),
        "partial": (functools.partial(_look, "partial"), b'"partial"'),
        "partial-of-object": (functools.partial(Looks()), b'"object"'),
        "method": (Looks().__call__, b'"object"'),
        "wrapper": (lambda arguments, call: _look("wrapper", arguments, call), b'"wrapper"'),
        "wrapper-twice": (_wrapped, b'"twice"'),
        "awaitable": (lambda arguments, call: Later(), b'"later"'),
        "pool": (_from_a_pool, b'"pool"'),
        "async-generator": (_steps, b"[0,1,2]"),
        "generator": (_lines, b'["a","b"]'),
    }
    tools = ToolServer()
    for name, (handler, _) in handlers.items():
        tools.add(name, handler)
    async with dialled(tools) as call, asyncio.timeout(SECONDS):
        answers = {name: (await call(name)).result.data for name in handlers}

    assert answers == {name: answer for name, (_, answer) in handlers.items()}


async def test_tools_are_made_of_whatever_can_be_called() -> None:
    class Counts:
        """Counts what it is given."""

        async def __call__(self, words: list[str]) -> int:
            return len(words)

    async def scale(number: int, by: int, call: ToolCall) -> int:
        """Scales a number."""
        return number * by

    count = tool(name="count", effect="read")(Counts())
    twice = tool(name="twice", effect="read")(functools.partial(scale, by=2))
    async with dialled(ToolServer([count, twice])) as call, asyncio.timeout(SECONDS):
        counted = await call("count", '{"words": ["a", "b"]}')
        doubled = await call("twice", '{"number": 4}')

    assert counted.result.data == b"2"
    assert doubled.result.data == b"8"
    assert count.declaration("box")["description"] == "Counts what it is given."
    assert twice.declaration("box")["description"] == "Scales a number."
    assert set(twice.schema()["properties"]) == {"number"}, "what is bound already is nobody's argument"


def _ring() -> list[Any]:
    notify: list[Any] = []
    notify.append(notify)
    return notify


UNENCODABLE: dict[str, Callable[[], Any]] = {
    "object": object,
    "cycle": _ring,
    "bytes": lambda: b"\xff\xfe",
    "surrogate": lambda: "\ud800",
    "function": lambda: len,
    "deep": lambda: functools.reduce(lambda inner, _: [inner], range(5_000), []),
    "content-of-numbers": lambda: Content(5, "image/png"),  # type: ignore[arg-type]
    "media-type": lambda: Content(b"x", 5),  # type: ignore[arg-type]
    "media-type-surrogate": lambda: Content(b"x", "\ud800"),
}


async def test_a_performed_call_whose_result_cannot_be_encoded_is_said_to_be_made(
    caplog: pytest.LogCaptureFixture,
) -> None:
    performed: list[str] = []
    tools = ToolServer()
    for name, make in UNENCODABLE.items():

        def handler(arguments: Any, call: ToolCall, make: Callable[[], Any] = make) -> Any:
            performed.append(call.tool)
            return make()

        tools.add(name, handler)
    tools.add("nothing-of-a-number", lambda arguments, call: {"ratio": float("nan")})
    tools.add("text", lambda arguments, call: Content("é", "text/plain"))  # type: ignore[arg-type]
    with caplog.at_level(logging.CRITICAL, "runwright_client"):
        async with dialled(tools) as call, asyncio.timeout(SECONDS):
            message = {name: (await call(name)).error.message for name in UNENCODABLE}
            number, text = await call("nothing-of-a-number"), await call("text")

    assert message == dict.fromkeys(UNENCODABLE, MADE)
    assert performed == list(UNENCODABLE)
    assert number.result.data == b'{"ratio":null}'
    assert text.result.data == "é".encode()
