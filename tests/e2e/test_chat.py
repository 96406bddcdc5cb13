"""`runwright chat` as a process, against a server that dies between its turns and in the middle of one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.conftest import MakeServer
from tests.e2e.executor import Executor, Gate
from tests.e2e.packages import LOOK, Spec, asks, package, says, write
from tests.e2e.server_process import ROOT, Server

SECONDS = 30.0
REMEMBERS = package("remembers", [says("Before: {turns}")], adapter="killing")


@dataclass
class Chat:
    """A conversation under way."""

    process: asyncio.subprocess.Process

    def say(self, text: str) -> None:
        """Types a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode() + b"\n")

    async def hear(self) -> str:
        """The next line of an answer."""
        assert self.process.stdout is not None
        async with asyncio.timeout(SECONDS):
            return (await self.process.stdout.readline()).decode().rstrip("\n")

    async def read_note(self, text: str) -> None:
        """Returns once standard error has said so."""
        assert self.process.stderr is not None
        said: list[str] = []
        try:
            async with asyncio.timeout(SECONDS):
                while line := (await self.process.stderr.readline()).decode():
                    said.append(line)
                    if text in line:
                        return
        except TimeoutError:
            raise AssertionError(f"{text!r} was not said in time, but {said}") from None
        raise AssertionError(f"{text!r} was not said before the end, but {said}")

    async def leave(self) -> tuple[int, str]:
        """Ends the input; gives the exit code and the rest of standard error."""
        async with asyncio.timeout(SECONDS):
            _, message = await self.process.communicate(b"")
        assert self.process.returncode is not None
        return self.process.returncode, message.decode()


@asynccontextmanager
async def chatting(address: str, *words: str) -> AsyncIterator[Chat]:
    """The program, ended with the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "runwright", "--server", address, "chat", *words),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("RUNWRIGHT_")},
    )
    try:
        yield Chat(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def at_one_address(directory: Path, spec: Spec) -> AsyncIterator[Server]:
    """A server that comes back where it was, with the provider that can kill it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    calls = directory / "model-calls"
    calls.mkdir()
    options = ("--listen", address, "--model-calls", str(calls))
    server = Server(directory / "data", [write(directory, spec)], {}, *options, program=("tests.e2e.server_main",))
    await server.start()
    try:
        yield server
    finally:
        await server.close()
    assert server.foreign_output() == []


async def test_each_turn_sees_the_earlier_ones_while_the_server_dies_between_and_in_them(tmp_path: Path) -> None:
    async with at_one_address(tmp_path, REMEMBERS) as server:
        async with chatting(server.address, "--session", "ada") as chat:
            chat.say("I am Ada.")
            assert await chat.hear() == "Before: "

            server.kill()
            await server.ended()
            chat.say("Who am I?")
            await chat.read_note("trying again")
            await server.start()
            assert await chat.hear() == "Before: user: I am Ada. | assistant: Before: "

            chat.say("And now kill before model call 1.")
            assert await server.ended() == -signal.SIGKILL
            await server.start()
            third = await chat.hear()
            assert third.startswith("Before: user: I am Ada. | assistant: Before:  | user: Who am I? | assistant: ")
            code, message = await chat.leave()
        assert (code, "chat --session ada" in message) == (0, True)

        async with chatting(server.address, "--session", "ada", "-o", "json") as chat:
            chat.say("Still?")
            again = json.loads(await chat.hear())
            code, message = await chat.leave()

    assert again["run"]["session_id"] == "ada"
    assert again["run"]["result"]["text"].count("user: And now kill") == 1, "one turn, though it was asked twice"
    assert "you: I am Ada." in message
    assert "clerk: Before: user: I am Ada." in message


async def test_ctrl_c_cancels_the_turn_and_the_session_goes_on(make_server: MakeServer, executor: Executor) -> None:
    executor.before = gate = Gate()
    server = make_server(package("looks", [asks(("look", {})), says("seen; before: {turns}")], LOOK))
    await server.start()
    async with chatting(server.address) as chat:
        chat.say("Look!")
        await executor.until_asked(1)

        chat.process.send_signal(signal.SIGINT)
        await chat.read_note("was cancelled")
        gate.open()
        chat.say("Look again!")
        said = await chat.hear()
        code, message = await chat.leave()

    assert said == "seen; before: ", "a cancelled turn is no part of the conversation"
    assert code == 0
    assert "context: 0 earlier turns" in message
    assert "1 run left out" in message


async def test_a_second_ctrl_c_leaves_and_the_next_chat_sees_the_turn_to_its_end(
    make_server: MakeServer, executor: Executor
) -> None:
    executor.after = gate = Gate()
    writes = {**LOOK, "effect": "write", "idempotent": False}
    server = make_server(package("writes", [asks(("look", {})), says("written")], writes))
    await server.start()
    async with chatting(server.address, "--session", "s") as chat:
        chat.say("Write!")
        await executor.until_asked(1)
        chat.process.send_signal(signal.SIGINT)
        await chat.read_note("Ctrl-C again leaves")
        await chat.read_note("cancel requested")
        chat.process.send_signal(signal.SIGINT)
        left = await chat.leave()
    async with chatting(server.address, "--session", "s") as chat:
        await chat.read_note("goes on")
        gate.open()
        await chat.read_note("was cancelled")
        code, _ = await chat.leave()

    assert left[0] == 130
    assert "chat --session s" in left[1]
    assert code == 0
    assert sum(executor.effects.values()) == 1


async def test_a_line_that_is_refused_ends_a_program_with_the_reason(make_server: MakeServer) -> None:
    server = make_server(package("plain", [says("hi")]))
    await server.start()
    async with chatting(server.address, "--package", "nobody") as chat:
        chat.say("Hello?")
        code, message = await chat.leave()
    async with chatting(server.address) as chat:
        chat.say("x" * 70_000)
        long_code, long_message = await chat.leave()

    assert (code, "PACKAGE_NOT_FOUND" in message) == (5, True)
    assert (long_code, "65536 bytes" in long_message) == (2, True)
