"""Methods: one row for each that is served, made from the descriptors of the services and the table of roles."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from enum import Enum
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from msgspec import Struct

from runwright.core.principal import Role
from runwright.transport.access import ROLES
from runwright.transport.connections import MAX_MESSAGE_BYTES, MAX_START_BYTES
from runwright.transport.usage import PAGE_BYTES

_R = "/runwright.v1.RuntimeService/"
# What an answer may weigh is taken before it is made: many pages are made at a time, and each is up to this.
_ANSWER_BYTES: Mapping[str, int] = {
    _R + "ListEvents": PAGE_BYTES,
    _R + "ListRuns": PAGE_BYTES,
    _R + "ListAuditEvents": PAGE_BYTES,
    _R + "GetServerInfo": PAGE_BYTES,
    "/runwright.callback.v1.CallbackRegistryService/ListCallbacks": PAGE_BYTES,
}
# What a request may weigh, where that is more than MAX_MESSAGE_BYTES.
_REQUEST_BYTES: Mapping[str, int] = {_R + "StartRun": MAX_START_BYTES}


class Shape(Enum):
    """How requests and responses of a method come."""

    UNARY = "unary"
    STREAM = "server streaming"
    BIDI = "bidirectional streaming"


class Most(Struct, frozen=True):
    """How many calls of one method may be open: by one principal (or address) and on the server."""

    principal: int
    server: int


_WATCH = "/grpc.health.v1.Health/Watch"
_EXPORT = _R + "ExportRun"
_REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
# Health watchers need no key, and nobody says how long a reflection stream may wait for its next request, half of which
# may be there. An export has one content in memory, for a reader who may be slow.
_MOST: Mapping[str, Most] = {
    _WATCH: Most(16, 128),
    _REFLECTION: Most(8, 16),
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Most(8, 16),
    _EXPORT: Most(16, 32),
}


def most_by_method() -> Mapping[str, int]:
    """The limits of single methods, as GetServerInfo tells them."""
    return {
        "health_watches": _MOST[_WATCH].server,
        "health_watches_per_address": _MOST[_WATCH].principal,
        "reflection_streams_per_principal": _MOST[_REFLECTION].principal,
        "exports": _MOST[_EXPORT].server,
        "exports_per_principal": _MOST[_EXPORT].principal,
    }


class Method(Struct, frozen=True):
    """A method. Without `roles` it is served without credentials.

    `request_bytes` are the most that a request may have; `answer_bytes` are reserved before it is served.
    """

    path: str
    shape: Shape
    request: type[Message]
    serve: Callable[[Any, Any], Awaitable[Any]]
    roles: frozenset[Role] | None
    answer_bytes: int = 0
    request_bytes: int = MAX_MESSAGE_BYTES
    most: Most | None = None


def service_of(name: str) -> ServiceDescriptor:
    """The descriptor of a service by its full name. Raises KeyError for an unknown one."""
    return descriptor_pool.Default().FindServiceByName(name)


def paths_of(*services: str) -> list[str]:
    """The full method names of services, from their descriptors."""
    return [f"/{name}/{method.name}" for name in services for method in service_of(name).methods]


def methods_of(service: str, servicer: object) -> Iterator[Method]:
    """The methods of a service, each served by the servicer's attribute of that name.

    A unary one is called with the request and returns the response. One that streams is called with the request, or
    with the iterator of requests, and a Sender. Raises ValueError for a method that has no roles.
    """
    for method in service_of(service).methods:
        path = f"/{service}/{method.name}"
        if path not in ROLES:
            raise ValueError(f"no roles are decided for {path}: what nobody decided on is not served")
        shape = Shape.UNARY
        if method.server_streaming:
            shape = Shape.BIDI if method.client_streaming else Shape.STREAM
        yield Method(
            path=path,
            shape=shape,
            request=message_factory.GetMessageClass(method.input_type),
            serve=getattr(servicer, method.name),
            roles=ROLES[path],
            answer_bytes=_ANSWER_BYTES.get(path, 0),
            request_bytes=_REQUEST_BYTES.get(path, MAX_MESSAGE_BYTES),
            most=_MOST.get(path),
        )
