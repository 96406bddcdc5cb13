"""Server reflection, v1alpha and v1: grpcio ships only the first, and tools differ in which they speak.

The two are the same messages under two names, so v1 is v1alpha's descriptor with
the name changed. It must be in the pool: a listed service without a descriptor
breaks `buf curl --list-methods` altogether.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from grpc_reflection.v1alpha import reflection, reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

from runwright.transport.method import MessageSender

V1 = "grpc.reflection.v1.ServerReflection"
V1ALPHA = reflection.SERVICE_NAME


class Reflection:
    """Reflection of the services, and of itself under both names; for both the messages are those of v1alpha."""

    def __init__(self, services: Sequence[str]) -> None:
        self._answers = ReflectionServicer((*services, V1, V1ALPHA), pool=_Pool())

    async def ServerReflectionInfo(
        self, requests: AsyncIterator[reflection_pb2.ServerReflectionRequest], sender: MessageSender
    ) -> None:
        """Answers each request, in order."""
        answers: Any = self._answers.ServerReflectionInfo(requests, None)  # the stubs call it a coroutine
        async for answer in answers:
            await sender.write(answer)


class _Pool:
    """The default pool, which also finds the file of a method: `grpcurl describe` asks for methods."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:
        """The file that holds a symbol, or the service whose method it is."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            service, _, method = symbol.rpartition(".")
            if method in self._pool.FindServiceByName(service).methods_by_name:
                return self._pool.FindFileContainingSymbol(service)
            raise

    def __getattr__(self, name: str) -> object:
        return getattr(self._pool, name)


def _add_v1_descriptor() -> None:
    pool = descriptor_pool.Default()
    file = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    file.name = file.name.replace("v1alpha", "v1")
    file.package = file.package.replace("v1alpha", "v1")
    for message in file.message_type:
        for field in message.field:
            if field.type_name:  # setting it, even to nothing, makes the field a message
                field.type_name = field.type_name.replace(".v1alpha.", ".v1.")
    for service in file.service:
        for method in service.method:
            method.input_type = method.input_type.replace(".v1alpha.", ".v1.")
            method.output_type = method.output_type.replace(".v1alpha.", ".v1.")
    try:
        pool.FindFileByName(file.name)
    except KeyError:
        pool.AddSerializedFile(file.SerializeToString())


_add_v1_descriptor()
