"""A mistake of a tool's author is one sentence that names what was written, before anything is served."""

from __future__ import annotations

import asyncio
import functools
import logging
import sys
from collections.abc import Callable
from typing import Any

import pytest
from dialling import SECONDS
from relay import Relay
from tests.e2e.conftest import MakeServer
from tests.e2e.packages import LOOK, one_call

from runwright_client import Client, ToolCall, ToolServer, tool


def walk(step: int) -> str:
    """Walks one step."""
    return f"step {step}"


@tool
def look() -> None:
    """Looks."""


class Desk:
    """Has a method that is no tool yet."""

    def tidy(self, corner: str) -> None:
        """Tidies."""


class Nameless:
    """Can be called, and has no name."""

    def __call__(self, step: int) -> None:
        """Does something."""


class Unread:
    """A type that no schema can be made of."""


def unresolved(step: NoSuchType) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Has a parameter of a type that does not exist."""


def unread(what: Unread) -> None:
    """Has a parameter of a type without a schema."""


MISTAKES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "undecorated": (lambda: ToolServer([walk]), TypeError, "ToolServer: walk is no tool: write @tool above it, or"),  # type: ignore[list-item]
    "not a list": (lambda: ToolServer(look), TypeError, "a list of tools, such as ToolServer([look])"),  # type: ignore[arg-type]
    "a name": (lambda: ToolServer(["look"]), TypeError, "ToolServer: 'look' is no tool"),  # type: ignore[list-item]
    "double": (lambda: ToolServer([look, tool(name="look")(walk)]), ValueError, "two tools are named look"),
    "double handler": (lambda: ToolServer([look]).add("look", lambda a, c: 1), ValueError, "two tools are named look"),
    "effect": (lambda: tool(effect="reads")(walk), ValueError, "tool walk: effect='reads' is none of read, write"),  # type: ignore[call-overload]
    "name": (lambda: tool(name="take a walk")(walk), ValueError, "'take a walk' cannot be the name of a tool"),
    "long name": (lambda: tool(name="w" * 65)(walk), ValueError, "1 to 64 letters, digits, _ and -"),
    "handler's name": (lambda: ToolServer().add("über", lambda a, c: 1), ValueError, "'über' cannot be the name"),
    "name as argument": (lambda: tool("walk"), TypeError, "'walk' is no function: write @tool, or @tool(name=…"),  # type: ignore[call-overload]
    "lambda": (lambda: tool(lambda step: step), ValueError, "'<lambda>' cannot be the name of a tool"),
    "nameless": (lambda: tool(Nameless()), TypeError, "has no name for its tool: give one with name=…"),
    "twice decorated": (lambda: tool(look), TypeError, "is a tool already"),  # type: ignore[call-overload]
    "method": (lambda: tool(Desk.tidy), TypeError, "tool tidy: a model cannot give self: make a tool of the method of"),
    "no function": (lambda: ToolServer().add("look", 5), TypeError, "tool look: 5 cannot be called"),  # type: ignore[arg-type]
    "handler of one": (lambda: ToolServer().add("walk", walk), TypeError, "tool walk: walk(step: 'int') -> 'str' is"),
    "unresolved": (lambda: tool(unresolved), TypeError, "tool unresolved: the parameters of unresolved cannot be read"),
    "no schema": (lambda: tool(unread), TypeError, "tool unread: a parameter of unread has no schema"),
    "variadic": (lambda: tool(lambda *words: words), ValueError, "'<lambda>'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_that_names_what_was_written(mistake: str) -> None:
    makes, kind, message = MISTAKES[mistake]

    with pytest.raises(kind) as raised:
        makes()

    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


async def test_what_cannot_be_registered_is_said_before_the_runtime_is_asked() -> None:
    async def refusal(tools: ToolServer, executor: str = "desk", **options: Any) -> str:
        with pytest.raises((ValueError, RuntimeError)) as raised:
            await tools.register(client, executor, **options)
        return str(raised.value)

    async with Client.connect("127.0.0.1:1") as client:
        tools = ToolServer([look])
        early = await refusal(tools)
        await tools.start()
        message = [
            await refusal(tools, "my desk"),
            await refusal(tools, callback_id="desk 1"),
            await refusal(tools, address="0.0.0.0:80"),
        ]
        empty = ToolServer()
        await empty.start()
        nothing = await refusal(empty)
        with pytest.raises(OSError, match=f"ToolServer cannot serve at {tools.address}: address already in use"):
            await ToolServer([look]).start(tools.address)
        await tools.stop()
        await empty.stop()

    assert early == "ToolServer: start it before it is registered"
    assert message[0].startswith("'my desk' cannot be the name of an executor, which has 1 to 128 letters")
    assert message[1].startswith("'desk 1' cannot be the id of a callback")
    assert message[2] == "ToolServer: nobody can dial 0.0.0.0:80: register(…, address=…) says where it is reached"
    assert nothing.startswith("ToolServer: there is no tool to register")


async def test_a_server_says_what_it_registered_where_and_when_it_ended(
    make_server: MakeServer, relay: Relay, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    server = make_server(one_call("one", LOOK), executors={})
    await server.start()
    relay.to = server.address
    tools = ToolServer([look, tool(functools.partial(walk, step=1))])
    with caplog.at_level(logging.INFO, "runwright_client"):
        where = await tools.start()
        await tools.register(client, "d" * 128, callback_id="desk-1")
        with pytest.raises(RuntimeError, match="add late before the server is registered"):
            tools.add("late", lambda arguments, call: None)
        await tools.stop()

    assert [line.getMessage() for line in caplog.records if line.name == "runwright_client"] == [
        f"registered with {relay.address} as executor {'d' * 128}: look, walk; called at {where}",
        f"unregistered desk-1 from {relay.address}",
        f"stopped serving at {where}",
    ]


PROGRAM = """
from runwright_client import ToolServer, tool

@tool
def look() -> None:
    pass

ToolServer([look]).run("127.0.0.1:1", executor="{executor}", deadline=0.1)
"""


async def test_a_program_whose_server_is_away_ends_with_one_line() -> None:
    program = PROGRAM.format(executor="e" * 128)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stderr=asyncio.subprocess.PIPE, env={"PYTHONPATH": ":".join(sys.path)}
    )
    async with asyncio.timeout(SECONDS):
        _, err = await process.communicate()

    last = err.decode().splitlines()[-1]
    assert process.returncode == 1
    assert b"Traceback" not in err
    assert last.startswith(
        "runwright: UNAVAILABLE: No Runwright server answers at 127.0.0.1:1 (connection refused). Start"
    )


STARTED = """
import asyncio
from runwright_client import ToolServer, tool

@tool
def look() -> None:
    pass

async def main() -> None:
    tools = ToolServer([look])
    print(await tools.start(), flush=True)
    await tools.stop()

asyncio.run(main())
"""


async def test_a_program_without_logging_is_told_on_standard_error() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        STARTED,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    async with asyncio.timeout(SECONDS):
        where, message = await process.communicate()

    assert message.decode() == f"runwright: stopped serving at {where.decode().strip()}\n"


def test_handlers_get_the_call(call: ToolCall | None = None) -> None:
    ToolServer().add("look", lambda arguments, call: None)
    ToolServer().add("any", lambda *value: None)
    ToolServer().add("builtin", max)
