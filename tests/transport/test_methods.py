"""The method table: what has no row is refused, and what a row says holds, whatever its method is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor
from grpc_health.v1.health_pb2 import HealthCheckRequest as Message
from grpc_reflection.v1alpha import reflection_pb2
from msgspec.structs import replace
from runwright.adapters.ids import RandomIds
from runwright.adapters.keys import KeysFile, write_keys
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.principal import Role
from runwright.ports.audit import NoAudit
from runwright.transport.access import Access
from runwright.transport.calls import CallTimes
from runwright.transport.connections import ConnectionLimits
from runwright.transport.guarded_server import GuardedServer
from runwright.transport.method import BytesSender, MessageSender, Method, Shape, bidi, bytes_stream, stream, unary
from runwright.transport.methods import METHODS, undecided
from runwright.transport.usage import MethodLimit

from tests import builders as b
from tests.runtime.watching import eventually
from tests.transport.conftest import Serve
from tests.transport.known import add_key, authenticator, bearer
from tests.transport.serving import CALL_SECONDS, Served, raw_call, refusal_of, refused

WATCH = "/grpc.health.v1.Health/Watch"
OPEN = "/test.v1.Rows/Open"


async def served_services(served: Served) -> list[str]:
    """The full names of the services that reflection lists."""
    method = served.channel().stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )
    requested = reflection_pb2.ServerReflectionRequest(list_services="")
    [answer] = [answer async for answer in method(iter([requested]), timeout=CALL_SECONDS)]
    return [service.name for service in answer.list_services_response.service]


async def test_every_method_of_a_served_proto_has_a_row_and_every_row_a_method(served: Served) -> None:
    services = await served_services(served)

    assert undecided(services) == []
    assert {method.service for method in METHODS} == set(services)
    assert sorted(undecided(services, ())) == sorted(method.path for method in METHODS), "and each has one"


def shape(message: Descriptor) -> list[tuple[str, int, int]]:
    """The fields of a message, without the names of their types."""
    return [(field.name, field.number, field.type) for field in message.fields]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.path)
def test_a_row_has_the_shape_and_the_request_of_its_proto(method: Method) -> None:
    found = descriptor_pool.Default().FindServiceByName(method.service).methods_by_name[method.name]

    assert (
        method.handler.shape
        is {
            (False, False): Shape.UNARY,
            (False, True): Shape.STREAM,
            (True, True): Shape.BIDI,
        }[found.client_streaming, found.server_streaming]
    )
    assert shape(method.handler.request.DESCRIPTOR) == shape(found.input_type)


class Rows:
    """A service of which each test writes the row: it answers with the text of its request, in capitals."""

    def __init__(self) -> None:
        self.open = 0
        self.waiting = asyncio.Event()  # never set, but by a test

    async def answer(self, request: Message) -> Message:
        """Answers; `wait` after the event, `fail` and `break` never."""
        self.open += 1
        if request.service == "wait":
            await self.waiting.wait()
        if request.service == "fail":
            raise AgentError(ErrorReason.SESSION_BUSY, "Not now.", metadata={"session_id": "s"})
        if request.service == "break":
            raise ZeroDivisionError("sk-hunter2")
        return Message(service=request.service.upper())

    async def stream(self, request: Message, sender: MessageSender) -> None:
        """Answers twice."""
        for _ in range(2):
            await sender.write(await self.answer(request))

    async def bytes_stream(self, request: Message, sender: BytesSender) -> None:
        """Answers once, with bytes that are no message."""
        await sender.write(b"raw")

    async def bidi(self, requests: AsyncIterator[Message], sender: MessageSender) -> None:
        """Answers each request."""
        async for request in requests:
            await sender.write(await self.answer(request))


ROW = Method(path=OPEN, handler=unary(Rows.answer, Message), roles=frozenset({Role.CALLER}))
BIDI = replace(ROW, handler=bidi(Rows.bidi, Message))


class Stage:
    """A server of one row, its service, and the keys that are known to it."""

    def __init__(self, folder: Path) -> None:
        self.rows, self.log, self.keys = Rows(), b.ListLog(), folder / "keys.json"
        self.caller = add_key(self.keys, "caller")
        self.observer = add_key(self.keys, "observer")
        access = Access(authenticator(self.keys), NoAudit())
        self.server = GuardedServer(access, RandomIds(), self.log, connections=ConnectionLimits(), times=CallTimes())
        self.channel: grpc.aio.Channel | None = None

    async def serve(self, *methods: Method) -> grpc.aio.Channel:
        """Serves the rows; returns a connection."""
        self.server.serve(methods, {"test.v1.Rows": self.rows})
        port = self.server.bind("127.0.0.1:0")
        await self.server.start()
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        return self.channel

    def unary(self, text: str, key: str | None = None) -> Any:
        """A call of the one method."""
        assert self.channel is not None
        data = Message(service=text).SerializeToString()
        return self.channel.unary_unary(OPEN)(data, timeout=CALL_SECONDS, metadata=bearer(key or self.caller))

    def bidi(self) -> Any:
        """The same, bidirectional, and open."""
        assert self.channel is not None
        return self.channel.stream_stream(OPEN)(timeout=CALL_SECONDS, metadata=bearer(self.caller))


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    yield made
    if made.channel is not None:
        await made.channel.close()
    await made.server.stop(0)


@pytest.mark.parametrize("left_out", METHODS, ids=lambda method: method.path)
def test_a_method_without_a_row_is_found(left_out: Method) -> None:
    rest = [method for method in METHODS if method is not left_out]

    assert undecided({method.service for method in METHODS}, rest) == [left_out.path]


async def test_a_method_without_a_row_is_refused(stage: Stage) -> None:
    await stage.serve()

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stage.unary("hi")

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert stage.rows.open == 0


async def test_the_roles_of_a_row_are_let_in_and_no_other(stage: Stage) -> None:
    await stage.serve(ROW)

    assert Message.FromString(await stage.unary("hi")).service == "HI"
    assert (await refused(stage.unary("hi", stage.observer))).info.reason == "ROLE_MISSING"
    assert (await refused(stage.unary("hi", "rwk_0_0"))).info.reason == "UNAUTHENTICATED"


async def test_a_row_without_roles_is_served_without_credentials(stage: Stage) -> None:
    channel = await stage.serve(replace(ROW, roles=None))

    assert await raw_call(channel, OPEN, Message(service="hi")) == Message(service="HI").SerializeToString()


async def test_a_request_may_have_what_its_row_says(stage: Stage) -> None:
    await stage.serve(replace(ROW, request_bytes=10))

    assert await stage.unary("x" * 8)
    refusal = await refused(stage.unary("x" * 9))
    assert (refusal.info.reason, refusal.info.metadata["expected"]) == (
        "INVALID_REQUEST",
        "at most 10 bytes, not 11",
    )


async def test_what_a_row_reserves_for_answers_is_taken_while_the_method_is_served(stage: Stage) -> None:
    await stage.serve(replace(ROW, answer_bytes=12_345))
    answers = stage.server.calls._server.answers

    call = stage.unary("wait")
    await eventually(lambda: stage.rows.open > 0)
    assert answers.used == 12_345

    stage.rows.waiting.set()
    await call
    await eventually(lambda: answers.used == 0)


async def test_no_more_calls_are_open_than_the_limit_of_a_row(stage: Stage) -> None:
    await stage.serve(replace(ROW, limit=MethodLimit(principal=2, server=16)))
    calls = [stage.unary("wait") for _ in range(2)]
    await eventually(lambda: stage.rows.open == 2)

    refusal = await refused(stage.unary("hi"))

    assert (refusal.info.reason, refusal.info.metadata["limit"]) == ("TOO_MANY_CALLS", "Open calls")
    stage.rows.waiting.set()
    await asyncio.gather(*calls)


async def test_a_stop_ends_a_lasting_call_at_once_and_another_after_the_grace(stage: Stage) -> None:
    await stage.serve(ROW, replace(ROW, path="/test.v1.Rows/Lasting", lasting=True))
    assert stage.channel is not None
    data = Message(service="wait").SerializeToString()
    lasting = stage.channel.unary_unary("/test.v1.Rows/Lasting")(data, metadata=bearer(stage.caller))
    short = stage.unary("wait")
    await eventually(lambda: stage.rows.open == 2)

    stopping = asyncio.create_task(stage.server.stop(CALL_SECONDS))

    assert (await refused(lasting)).info.reason == "DRAINING"
    assert not short.done()
    stage.rows.waiting.set()
    assert Message.FromString(await short).service == "WAIT"
    await stopping


async def test_a_row_says_whether_its_handler_writes_messages_or_bytes(stage: Stage) -> None:
    raw = replace(ROW, path="/test.v1.Rows/Raw", handler=bytes_stream(Rows.bytes_stream, Message))
    channel = await stage.serve(replace(ROW, handler=stream(Rows.stream, Message)), raw)

    async def answers(path: str) -> Sequence[bytes]:
        call = channel.unary_stream(path)(b"", timeout=CALL_SECONDS, metadata=bearer(stage.caller))
        return [answer async for answer in call]

    assert await answers(OPEN) == [Message(service="").SerializeToString()] * 2
    assert await answers("/test.v1.Rows/Raw") == [b"raw"]


UNREADABLE = b"\xff\xff\xff"
BAD = {
    "bytes that are no message": (UNREADABLE, "INVALID_REQUEST"),
    "an error that is declared": (Message(service="fail").SerializeToString(), "SESSION_BUSY"),
    "a fault of ours": (Message(service="break").SerializeToString(), "INTERNAL"),
    "a message that is too large": (Message(service="x" * 100).SerializeToString(), "INVALID_REQUEST"),
}


@pytest.mark.parametrize("kind", BAD)
async def test_a_bidirectional_call_is_answered_up_to_what_ends_it_with_a_reason(stage: Stage, kind: str) -> None:
    bad, reason = BAD[kind]
    await stage.serve(replace(BIDI, request_bytes=50))
    call = stage.bidi()
    await call.write(Message(service="hi").SerializeToString())
    assert Message.FromString(await call.read()).service == "HI"

    await call.write(bad)

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert refusal_of(caught.value).info.reason == reason
    assert "hunter2" not in repr(caught.value)
    assert bool(stage.log.incidents) is (reason == "INTERNAL")


async def test_a_bidirectional_call_ends_with_the_key_of_its_caller(stage: Stage) -> None:
    await stage.serve(BIDI)
    call = stage.bidi()
    await call.write(Message(service="hi").SerializeToString())
    await call.read()

    write_keys(stage.keys, KeysFile(keys=()))

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert refusal_of(caught.value).info.reason == "UNAUTHENTICATED"


async def test_a_server_that_was_never_started_gives_its_address_back(
    stage: Stage, free_to_bind: Callable[[int], bool]
) -> None:
    port = stage.server.bind("127.0.0.1:0")
    assert not free_to_bind(port)

    await stage.server.stop(0)

    assert free_to_bind(port)


async def test_a_health_watch_does_not_hold_up_a_stop(serve: Serve) -> None:
    served = await serve()
    watching = served.channel().unary_stream(WATCH)(b"", timeout=CALL_SECONDS)
    await watching.read()

    stopping = asyncio.create_task(served.server.stop(CALL_SECONDS))

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        while await watching.read() is not grpc.aio.EOF:
            pass
    assert refusal_of(caught.value).info.reason == "DRAINING"
    await stopping


async def test_a_stop_that_took_longer_than_its_grace_is_not_undone_by_the_next(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.serve(ROW)
    completed = asyncio.get_running_loop().create_future()

    async def stop(_: float) -> None:
        await completed  # as gRPC does once it has cancelled every call

    real = stage.server._server
    monkeypatch.setattr(stage.server, "_server", SimpleNamespace(stop=stop))

    await stage.server.stop(0)
    await stage.server.stop(0)

    assert not completed.done(), "it goes on"
    completed.set_result(None)
    await real.stop(0)
