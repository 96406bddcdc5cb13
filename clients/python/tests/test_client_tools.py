"""Tools that are served: described by their types, called by a real server, refused and cancelled as they must be."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated, Any, Literal

import grpc
import pytest
from dialling import SECONDS, code_of, dialled
from pydantic import BaseModel, Field
from relay import Relay
from tests.e2e.conftest import MakeServer
from tests.e2e.packages import Spec, asks, package, says
from tests.e2e.server_process import ROOT, Server
from tests.transport.known import certificate

from runwright_client import (
    Client,
    Content,
    EventKind,
    RunStatus,
    RunwrightError,
    Tls,
    ToolCall,
    ToolError,
    ToolServer,
    tool,
)


class Place(BaseModel):
    """Where something is."""

    city: str
    floor: int = 0


@tool(effect="read")
def measure(
    title: str,
    place: Place,
    unit: Literal["m", "ft"] = "m",
    copy: Annotated[int, Field(ge=1, description="How often.")] = 1,
) -> dict[str, object]:
    """Measures a thing."""
    return {"title": title, "city": place.city, "unit": unit, "copy": copy, "thread": threading.current_thread().name}


@tool(name="look", effect="read")
async def looks(step: int, call: ToolCall) -> dict[str, object]:
    """Looks."""
    return {"step": step, "key": call.idempotency_key, "attempt": call.attempt}


def asking(name: str, arguments: dict[str, Any], declarations: list[Spec]) -> Spec:
    """A package whose model calls one tool and then tells its result."""
    return package("one", [asks((name, arguments)), says("done: {results}")], *declarations)


def test_a_schema_says_what_the_types_say() -> None:
    schema = measure.schema()

    assert set(schema["properties"]) == {"title", "place", "unit", "copy"}
    assert schema["properties"]["unit"] == {"type": "string", "enum": ["m", "ft"], "default": "m"}
    assert schema["properties"]["copy"] == {"type": "integer", "minimum": 1, "default": 1, "description": "How often."}
    assert schema["required"] == ["title", "place"]
    assert schema["additionalProperties"] is False
    assert looks.schema()["properties"] == {"step": {"type": "integer"}}
    assert measure.declaration("box")["description"] == "Measures a thing."


def test_a_function_stays_one() -> None:
    assert measure("a", Place(city="Bern"))["city"] == "Bern"


def test_what_cannot_be_given_by_name_is_no_tool() -> None:
    with pytest.raises(TypeError, match="by name"):

        @tool
        def spread(*words: str) -> None:
            """Takes any number of words."""


async def test_a_registered_tool_is_called_by_a_run(make_server: MakeServer, relay: Relay, client: Client) -> None:
    tools = ToolServer([measure, looks])
    arguments = {"title": "desk", "place": {"city": "Bern"}, "copy": 2}
    server = make_server(asking("measure", arguments, tools.declarations("box")), executors={})
    await server.start()
    relay.to = server.address
    await tools.start()
    await tools.register(client, "box")

    started = await client.start("hello")
    async with asyncio.timeout(SECONDS):
        run = await client.wait(started.run.run_id)
    await tools.stop()

    assert run.result is not None
    assert run.result.text is not None
    message = json.loads(run.result.text.removeprefix("done: "))
    message = message[0] if isinstance(message, list) else message
    assert "Bern" in str(message)
    assert "runwright-tool" in str(message), "a function that is not async runs in a thread"


async def test_what_a_tool_does_is_what_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    tools = ToolServer([measure, looks])
    tools.add("fails", _fails)
    tools.add("returns-failure", lambda arguments, call: ToolError("é" * 5000))
    tools.add("raises", _raises)
    tools.add("picture", lambda arguments, call: Content(b"\x89PNG", "image/png"))
    tools.add("large", lambda arguments, call: "x" * 2_000_000)
    async with dialled(tools) as call:
        looked = await call("look", '{"step": 3}', attempt=2, key="looked")
        wrong = await call("measure", '{"title": 3, "other": 1}')
        failed, returned, picture, large = [
            await call(name) for name in ("fails", "returns-failure", "picture", "large")
        ]
        with caplog.at_level(logging.CRITICAL, "runwright_client"):
            raised = await call("raises")

    assert json.loads(looked.result.data) == {"step": 3, "key": "looked", "attempt": 2}
    assert "title" in wrong.error.message
    assert "other" in wrong.error.message
    assert failed.error.message == "There is no such desk."
    assert len(returned.error.message.encode()) <= 4096
    assert (picture.result.data, picture.result.media_type) == (b"\x89PNG", "image/png")
    assert "1048576" in large.error.message
    assert raised.error.message == "The tool failed."


async def _fails(arguments: Any, call: ToolCall) -> None:
    raise ToolError("There is no such desk.")


def _raises(arguments: Any, call: ToolCall) -> None:
    raise RuntimeError("the password is swordfish")


async def test_what_must_not_be_performed_is_refused() -> None:
    requested: list[int] = []
    tools = ToolServer()
    tools.add("look", lambda arguments, call: requested.append(call.attempt))
    async with dialled(tools) as call:
        await call("look", attempt=2)
        lower = await code_of(call("look", attempt=1))
        await call("look", attempt=3)
        await call("look", attempt=1, key="another")
        unknown = await code_of(call("nope"))
        large = await code_of(call("look", " " * 5_000_000))

    assert lower is grpc.StatusCode.FAILED_PRECONDITION
    assert unknown is grpc.StatusCode.UNIMPLEMENTED
    assert large is grpc.StatusCode.UNIMPLEMENTED
    assert requested == [2, 3, 1]


async def test_the_deadline_of_a_call_is_the_tool_s_too() -> None:
    ended = asyncio.Event()

    async def wait(arguments: Any, call: ToolCall) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            assert call.cancelled.is_set()
            ended.set()

    async def gives_up(arguments: Any, call: ToolCall) -> None:
        raise asyncio.CancelledError

    tools = ToolServer()
    tools.add("wait", wait)
    tools.add("gives-up", gives_up)
    async with dialled(tools) as call, asyncio.timeout(SECONDS):
        late = await code_of(call("wait", timeout=0.3))
        await ended.wait()
        given_up = await call("gives-up")

    assert late is grpc.StatusCode.DEADLINE_EXCEEDED
    assert given_up.error.message == "The tool failed."


async def test_a_server_that_stops_lets_calls_answer_and_begins_none() -> None:
    begun, released = asyncio.Event(), asyncio.Event()

    async def wait(arguments: Any, call: ToolCall) -> str:
        begun.set()
        await released.wait()
        return "x" * 500_000

    tools = ToolServer()
    tools.add("wait", wait)
    async with dialled(tools) as call, asyncio.timeout(SECONDS):
        calling = asyncio.ensure_future(call("wait"))
        await begun.wait()
        stopping = asyncio.create_task(tools.stop(grace=SECONDS))
        await asyncio.wait({stopping}, timeout=0.1)
        put_off = await call("wait")
        released.set()
        answer = await calling
        await stopping

    assert len(answer.result.data) == 500_002
    assert put_off.not_performed.message == "This host is stopping."


async def test_a_credential_is_asked_for_and_handed_over(make_server: MakeServer, relay: Relay, client: Client) -> None:
    tools = ToolServer([looks], credential="s3cret")
    server = make_server(asking("look", {"step": 1}, tools.declarations("box")), executors={})
    await server.start()
    relay.to = server.address
    async with dialled(tools) as call:
        refused = await code_of(call("look", '{"step": 1}'))
        right, wrong = ("authorization", "Bearer s3cret"), ("authorization", "Bearer x")
        welcome = await call("look", '{"step": 1}', metadata=(right,))
        twice = [
            await code_of(call("look", '{"step": 1}', metadata=shown))
            for shown in ((right, right), (right, wrong), (wrong, right))
        ]
        await tools.register(client, "box")
        started = await client.start("hello")
        async with asyncio.timeout(SECONDS):
            run = await client.wait(started.run.run_id)

    assert refused is grpc.StatusCode.UNAUTHENTICATED
    assert twice == [grpc.StatusCode.UNAUTHENTICATED] * 3
    assert welcome.HasField("result")
    assert run.status is RunStatus.COMPLETED


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "thread"])
async def test_a_tool_is_cancelled_with_its_run(
    make_server: MakeServer, relay: Relay, client: Client, is_async: bool
) -> None:
    loop = asyncio.get_running_loop()
    begun, ended = asyncio.Event(), asyncio.Event()

    async def wait(arguments: Any, call: ToolCall) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            assert call.cancelled.is_set()
            ended.set()
            raise

    def block(arguments: Any, call: ToolCall) -> None:
        loop.call_soon_threadsafe(begun.set)
        if call.cancelled.wait(SECONDS):
            loop.call_soon_threadsafe(ended.set)

    tools = ToolServer()
    tools.add("look", wait if is_async else block)
    spec = asking("look", {}, [{**looks.declaration("box"), "parameters": {"type": "object"}}])
    server = make_server(spec, executors={})
    await server.start()
    relay.to = server.address
    await tools.start()
    await tools.register(client, "box")
    await client.start("hello", run_id="r1")
    async with asyncio.timeout(SECONDS):
        await begun.wait()
        await client.cancel("r1")
        await ended.wait()
        run = await client.wait("r1")
    await tools.stop()

    assert run.status is RunStatus.CANCELLED


async def test_a_registration_is_renewed_across_a_kill_and_ended(
    make_server: MakeServer, relay: Relay, client: Client
) -> None:
    tools = ToolServer([looks])
    server = make_server(asking("look", {"step": 1}, tools.declarations("box")), executors={})
    serving = asyncio.create_task(tools.serve_for(client, "box", callback_id="box-1", lease=5))
    await server.start()
    relay.to = server.address
    await client.start("hello", run_id="r1")
    async with asyncio.timeout(SECONDS):
        await client.wait("r1")
        await relay.restart(server)
        await client.start("hello", run_id="r2")
        await client.wait("r2")
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        await client.start("hello", run_id="r3")
        async for event in client.subscribe("r3").events():
            if event.kind is EventKind.RETRY_SCHEDULED:
                break

    assert not (await client.snapshot("r3")).done
    with pytest.raises(RunwrightError, match="CALLBACK_NOT_FOUND"):
        await client.unregister_callback("box-1")


async def test_tools_are_served_with_tls(make_server: MakeServer, relay: Relay, client: Client, tmp_path: Path) -> None:
    authority, _ = certificate(tmp_path / "tls", "authority")
    cert, key = certificate(tmp_path / "tls", "tools", authority="authority")
    tools = ToolServer([looks], tls=Tls(cert=cert, key=key), credential="s3cret")
    server = make_server(asking("look", {"step": 1}, tools.declarations("box")), executors={})
    await server.start()
    relay.to = server.address
    await tools.start()
    await tools.register(client, "box", ca=authority, server_name="tools")
    started = await client.start("hello")
    async with asyncio.timeout(SECONDS):
        run = await client.wait(started.run.run_id)
    await tools.stop()

    assert run.status is RunStatus.COMPLETED


PROGRAM = '''
import sys
from runwright_client import ToolServer, tool

@tool(effect="read")
def look(step: int) -> dict[str, int]:
    """Looks."""
    return {"doubled": 2 * step}

ToolServer([look]).run(sys.argv[1], executor="box")
'''


async def test_a_program_of_a_few_lines_serves_until_it_is_told_to_stop(
    make_server: MakeServer, relay: Relay, client: Client, tmp_path: Path
) -> None:
    assert len(PROGRAM.strip().splitlines()) < 15
    program = tmp_path / "tools.py"
    program.write_text(PROGRAM)
    server: Server = make_server(asking("look", {"step": 21}, [{**looks.declaration("box")}]), executors={})
    await server.start()
    relay.to = server.address
    source = str(ROOT / "clients" / "python" / "src")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(program), server.address, env={"PYTHONPATH": source}, stderr=asyncio.subprocess.PIPE
    )
    started = await client.start("hello")
    async with asyncio.timeout(SECONDS):
        run = await client.wait(started.run.run_id)
        process.send_signal(signal.SIGTERM)
        _, said = await process.communicate()

    assert run.result is not None
    assert run.result.text is not None
    assert "42" in run.result.text
    assert process.returncode == 0
    assert said.count(b"\n") == 3, "what was registered, that it is no more, and that the server has ended"
