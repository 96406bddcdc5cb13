"""Bytes nobody can read, methods nobody has, and faults of ours: each has its one answer."""

from __future__ import annotations

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as callback_pb
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb

from tests.builders import Bench, request
from tests.runtime.journals import UnreadableJournal
from tests.transport.conftest import Serve
from tests.transport.raw_http2 import raw_connection
from tests.transport.serving import CALL_SECONDS, SERVICE, Served, raw_call, refused, run_request, scope, subscription

SECRET = "sk-hunter2"
METHODS = {
    f"/{service.full_name}/{method.name}": method.server_streaming
    for service in (
        pb.DESCRIPTOR.services_by_name["RuntimeService"],
        callback_pb.DESCRIPTOR.services_by_name["CallbackRegistryService"],
        health_pb2.DESCRIPTOR.services_by_name["Health"],
    )
    for method in service.methods
}
GARBAGE = {"no message": b"\xff\xff\xff", "cut off": b"\x0a\x20abc", "a group without an end": b"\x0b"}


def test_every_method_is_tried() -> None:
    streaming = {method.rpartition("/")[2] for method, streams in METHODS.items() if streams}

    assert streaming == {"ExportRun", "Subscribe", "Watch"}
    assert len(METHODS) >= 9


@pytest.mark.parametrize("method", METHODS)
async def test_bytes_that_are_no_message_are_an_invalid_argument(served: Served, method: str) -> None:
    channel = served.channel()

    for name, data in GARBAGE.items():
        refusal = await refused(raw_call(channel, method, data, streams=METHODS[method]))

        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT, name
        assert refusal.info.reason == "INVALID_REQUEST"
        assert refusal.info.metadata["field"] == "request"
    assert served.bench.log.lines == []


async def test_a_method_of_health_that_is_not_served_is_no_incident(served: Served) -> None:
    stub = health_pb2_grpc.HealthStub(served.channel())

    try:
        await stub.List(health_pb2.HealthListRequest(), timeout=CALL_SECONDS)
    except grpc.aio.AioRpcError as failed:
        assert failed.code() is grpc.StatusCode.UNIMPLEMENTED

    assert served.bench.log.lines == []


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_answers_up_to_the_request_that_nobody_can_read(served: Served, version: str) -> None:
    method = served.channel().stream_stream(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")
    answers: list[bytes] = []

    async def ask() -> None:
        known = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
        async for answer in method(iter([known, b"\xff\xff\xff"]), timeout=CALL_SECONDS):
            answers.append(answer)

    refusal = await refused(ask())

    assert len(answers) == 1
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.info.metadata["field"] == "request"
    assert "google" not in refusal.text


@pytest.mark.parametrize("method", METHODS)
async def test_a_call_that_ends_without_a_request_is_an_invalid_argument(served: Served, method: str) -> None:
    async with raw_connection(served.port) as connection:
        stream = connection.call(method, body=b"")

        assert await connection.ended(stream) == grpc.StatusCode.INVALID_ARGUMENT.value[0]


@pytest.mark.parametrize("method", [SERVICE + "Teleport", "/runwright.v1.Nothing/StartRun", "/x/y"])
async def test_an_unknown_method_is_unimplemented(served: Served, method: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await raw_call(served.channel(), method, b"")

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def with_a_fault(serve: Serve) -> Served:
    """A server that cannot read the events of the run it finds."""
    bench = Bench()
    await bench.runtime().run_text(request())
    return await serve(bench, journal=UnreadableJournal(bench.journal, SECRET))


@pytest.mark.parametrize("method", ["ListEvents", "Subscribe"])
async def test_a_fault_of_ours_is_internal_with_an_incident_and_nothing_else(serve: Serve, method: str) -> None:
    served = await with_a_fault(serve)
    requested = pb.ListEventsRequest(scope=scope()) if method == "ListEvents" else subscription()

    refusal = await refused(getattr(served.stub, method)(requested, timeout=CALL_SECONDS))

    assert refusal.code is grpc.StatusCode.INTERNAL
    assert refusal.info.reason == "INTERNAL"
    assert refusal.info.metadata["incident_id"] in served.bench.log.incidents
    assert SECRET not in repr(refusal) and "ZeroDivision" not in repr(refusal)
    [line] = served.bench.log.lines
    assert line.fields["method"] == SERVICE + method


async def test_a_fault_of_ours_does_not_end_the_server(serve: Serve) -> None:
    served = await with_a_fault(serve)
    await refused(served.stub.ListEvents(pb.ListEventsRequest(scope=scope()), timeout=CALL_SECONDS))

    response = await served.stub.StartRun(pb.StartRunRequest(run=run_request("run-2")), timeout=CALL_SECONDS)

    assert response.created
