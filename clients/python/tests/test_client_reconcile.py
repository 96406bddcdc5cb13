"""What a tool server says of calls that the runtime has lost sight of: only what its author says, for certain."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import grpc
import pytest
from dialling import SECONDS, code_of, dialled
from runwright._gen.runwright.callback.v1 import tool_executor_service_pb2 as pb
from runwright._gen.runwright.callback.v1.tool_executor_service_pb2_grpc import ToolExecutorServiceStub

from runwright_client import CannotSay, Content, NotPerformed, Performed, ToolCall, ToolServer, tool


async def asked(server: ToolServer, name: str = "book", attempt: int = 1, key: str = "k") -> pb.ReconcileToolResponse:
    """What the server says, over grpcio."""
    request = pb.ReconcileToolRequest(
        tool=name,
        arguments_json=b'{"seat": 7}',
        arguments_digest="sha256:7",
        attempt=attempt,
        ask=1,
        idempotency_key=key,
        call_id="c1.1",
    )
    async with grpc.aio.insecure_channel(server.address) as channel:
        return await ToolExecutorServiceStub(channel).ReconcileTool(request, timeout=SECONDS)


def serving(reconcile: Any) -> ToolServer:
    """A server of a tool that is asked by this function."""
    server = ToolServer()
    server.add("book", lambda arguments, call: "booked", reconcile=reconcile)
    return server


async def test_an_answer_is_about_what_was_asked_and_no_more() -> None:
    calls: list[tuple[Any, ToolCall]] = []

    def look(arguments: Any, call: ToolCall) -> Performed:
        calls.append((arguments, call))
        return Performed({"seat": arguments["seat"]})

    server = serving(look)
    async with dialled(server):
        said = await asked(server)

    assert (said.idempotency_key, said.attempt, said.arguments_digest) == ("k", 1, "sha256:7")
    assert said.performed.data == b'{"seat":7}'
    [(arguments, call)] = calls
    assert arguments == {"seat": 7}
    assert (call.tool, call.call_id, call.attempt, call.idempotency_key) == ("book", "c1.1", 1, "k")


@pytest.mark.parametrize(
    ("answer", "outcome", "words"),
    [
        (NotPerformed("no such key"), "not_performed", "no such key"),
        (CannotSay("the ledger is away"), "unknown", "the ledger is away"),
        (CannotSay("é" * 5000), "unknown", "é" * 2048),
        (None, "unknown", "Looking for it failed."),
        (True, "unknown", "Looking for it failed."),
        (Performed, "unknown", "Looking for it failed."),
    ],
)
async def test_whatever_is_no_answer_says_nothing(answer: Any, outcome: str, words: str) -> None:
    async def look(arguments: Any, call: ToolCall) -> Any:
        return answer

    server = serving(look)
    async with dialled(server):
        said = await asked(server)

    assert said.WhichOneof("outcome") == outcome
    assert getattr(said, outcome).message == words


@pytest.mark.parametrize("raised", [RuntimeError("the password"), SystemExit(1), asyncio.CancelledError()])
async def test_a_function_that_raises_says_nothing(raised: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    async def look(arguments: Any, call: ToolCall) -> Any:
        raise raised

    server = serving(look)
    with caplog.at_level(logging.CRITICAL, "runwright_client"):
        async with dialled(server):
            said = await asked(server)

    assert said.WhichOneof("outcome") == "unknown"
    assert "password" not in str(said)


async def test_a_result_that_cannot_be_sent_is_still_one_that_was_made() -> None:
    results = iter([Content(b"\x89PNG", "image/png"), {"secret": object()}, "x" * 2_000_000])
    server = serving(lambda arguments, call: Performed(next(results)))
    async with dialled(server):
        picture, odd, large = [(await asked(server)).performed for _ in range(3)]

    assert (picture.data, picture.media_type) == (b"\x89PNG", "image/png")
    assert odd.data == b"The call was made; its result cannot be encoded."
    assert b"The call was made; its result of 2000002 bytes is above" in large.data
    assert large.media_type.startswith("text/plain")


async def test_a_tool_whose_author_says_nothing_is_no_answer() -> None:
    server = ToolServer()
    server.add("book", lambda arguments, call: None)
    async with dialled(server):
        assert await code_of(asked(server)) is grpc.StatusCode.UNIMPLEMENTED
        assert await code_of(asked(server, "nope")) is grpc.StatusCode.UNIMPLEMENTED


async def test_an_attempt_that_was_asked_about_is_not_performed_any_more() -> None:
    server = serving(lambda arguments, call: NotPerformed())
    async with dialled(server) as call:
        await asked(server, attempt=1)
        late = await code_of(call("book", attempt=1))
        again = await call("book", attempt=2)

    assert late is grpc.StatusCode.FAILED_PRECONDITION
    assert again.result.data == b'"booked"'


async def test_a_call_that_is_under_way_here_is_not_said_to_be_anything() -> None:
    begun, released = threading.Event(), threading.Event()

    def book(arguments: Any, call: ToolCall) -> str:
        begun.set()
        released.wait(SECONDS)
        return "booked"

    server = ToolServer()
    server.add("book", book, reconcile=lambda arguments, call: NotPerformed())
    async with dialled(server) as call:
        given_up = asyncio.ensure_future(call("book"))
        await asyncio.to_thread(begun.wait, SECONDS)
        given_up.cancel()  # the runtime waits no more; a thread cannot be stopped
        meanwhile = await asked(server)
        released.set()
        afterwards = meanwhile
        while afterwards.WhichOneof("outcome") == "unknown":
            afterwards = await asked(server)

    assert meanwhile.unknown.message == "The call is still under way here."
    assert afterwards.WhichOneof("outcome") == "not_performed"


async def test_a_decorated_tool_is_asked_by_the_function_beside_it_and_declared_so() -> None:
    @tool(effect="write")
    def book(seat: int) -> str:
        """Books a seat."""
        return f"booked {seat}"

    @book.reconcile
    async def find(arguments: Any, call: ToolCall) -> Performed:
        return Performed(f"found {arguments['seat']}")

    server = ToolServer([book])
    async with dialled(server):
        said = await asked(server)

    assert said.performed.data == b'"found 7"'
    assert book.declaration("desk")["reconcilable"] is True
    assert book(3) == "booked 3"


def test_what_may_be_repeated_is_not_asked_about() -> None:
    @tool(effect="read")
    def look() -> str:
        """Looks."""
        return "seen"

    with pytest.raises(ValueError, match="tool look: what may be repeated is sent again"):
        look.reconcile(lambda arguments, call: CannotSay())


async def test_whoever_does_not_show_the_credential_is_told_nothing() -> None:
    server = ToolServer(credential="tok-1")
    server.add("book", lambda arguments, call: None, reconcile=lambda arguments, call: NotPerformed())
    async with dialled(server):
        assert await code_of(asked(server)) is grpc.StatusCode.UNAUTHENTICATED
