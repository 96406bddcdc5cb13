"""Reflection alone is enough to call the service, under both names, and shows nothing private."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor
from grpc_reflection.v1alpha import reflection_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb

from tests.transport.serving import CALL_SECONDS, SERVICE, Served, raw_call

VERSIONS = ["v1", "v1alpha"]
Request = reflection_pb2.ServerReflectionRequest


async def ask(served: Served, version: str, *requests: Request) -> list[reflection_pb2.ServerReflectionResponse]:
    """Asks, all on one stream."""
    method = served.channel().stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        Request.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )
    return [answer async for answer in method(iter(requests), timeout=CALL_SECONDS)]


async def pool_of(served: Served, version: str, symbol: str) -> descriptor_pool.DescriptorPool:
    """A pool of what reflection says about a symbol, filled as a client would: dependencies first."""
    files: dict[str, descriptor_pb2.FileDescriptorProto] = {}
    wanted = [Request(file_containing_symbol=symbol)]
    while wanted:
        for answer in await ask(served, version, *wanted):
            for data in answer.file_descriptor_response.file_descriptor_proto:
                file = descriptor_pb2.FileDescriptorProto.FromString(data)
                files[file.name] = file
        missing = {name for file in files.values() for name in file.dependency} - files.keys()
        wanted = [Request(file_by_filename=name) for name in sorted(missing)]
    pool = descriptor_pool.DescriptorPool()
    while files:
        ready = [name for name, file in files.items() if not files.keys() & set(file.dependency)]
        for name in ready:
            pool.AddSerializedFile(files.pop(name).SerializeToString())
    return pool


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_client_that_knows_nothing_can_call_the_service(served: Served, version: str) -> None:
    pool = await pool_of(served, version, "runwright.v1.RuntimeService")
    method = pool.FindServiceByName("runwright.v1.RuntimeService").FindMethodByName("StartRun")
    request = message_factory.GetMessageClass(method.input_type)()
    request.run.run_id = "run-1"  # type: ignore[attr-defined]
    request.run.input.add(text="hi")  # type: ignore[attr-defined]

    answer = await raw_call(served.channel(), SERVICE + method.name, request)

    assert pb.StartRunResponse.FromString(answer).created


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("described", ["v1", "v1alpha"])
async def test_reflection_describes_itself_under_both_names(served: Served, version: str, described: str) -> None:
    name = f"grpc.reflection.{described}.ServerReflection"

    pool = await pool_of(served, version, name)

    method = pool.FindServiceByName(name).FindMethodByName("ServerReflectionInfo")
    assert method.input_type.full_name == f"grpc.reflection.{described}.ServerReflectionRequest"
    assert shape(method.input_type) == shape(Request.DESCRIPTOR)
    assert shape(method.output_type) == shape(reflection_pb2.ServerReflectionResponse.DESCRIPTOR)


def shape(message: Descriptor) -> list[tuple[str, int, int]]:
    """The fields of a message, without the names of their types."""
    return [(field.name, field.number, field.type) for field in message.fields]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "symbol", ["runwright.raw.RawEventFrame", "runwright.raw.RawSubscribeResponse", "nobody.Knows"]
)
async def test_what_is_private_is_not_found(served: Served, version: str, symbol: str) -> None:
    [answer] = await ask(served, version, Request(file_containing_symbol=symbol))

    assert answer.error_response.error_code == 5


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_request_for_nothing_is_answered(served: Served, version: str) -> None:
    [answer] = await ask(served, version, Request())

    assert answer.error_response.error_code == 3
