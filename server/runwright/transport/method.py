"""What a row of the method table says, and how handlers are written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from enum import Enum
from typing import Any, Protocol, TypeVar

from google.protobuf.message import Message
from msgspec import Struct

from runwright.core.principal import Role
from runwright.transport.connections import MAX_MESSAGE_BYTES
from runwright.transport.usage import MethodLimit


class Shape(Enum):
    """How requests and responses of a method come."""

    UNARY = "unary"
    STREAM = "server streaming"
    BIDI = "bidirectional streaming"


class BytesSender(Protocol):
    """Where a handler writes responses that are encoded already."""

    async def write(self, message: bytes, last_cursor: str = "") -> None:
        """Returns once gRPC has written it. Raises SUBSCRIBER_STALLED with the cursor when nobody reads."""


class MessageSender(Protocol):
    """Where a handler writes responses that the guard encodes."""

    async def write(self, message: Message) -> None:
        """Returns once gRPC has written it. Raises SUBSCRIBER_STALLED when nobody reads."""


_Servicer = TypeVar("_Servicer")
_Request = TypeVar("_Request", bound=Message)


class Handler(Struct, frozen=True):
    """A handler and what it is called with; made by the functions below, which let mypy hold the two together.

    `call` is called with the servicer, the request (of a bidirectional method: the requests) and, where responses
    are streamed, a sender. With `encodes` the handler hands over bytes, else messages.
    """

    shape: Shape
    request: type[Message]
    call: Callable[..., Awaitable[Any]]
    encodes: bool = False


def unary(handler: Callable[[_Servicer, _Request], Awaitable[Message]], request: type[_Request]) -> Handler:
    """One request, one response, which the handler returns."""
    return Handler(Shape.UNARY, request, handler)


def stream(
    handler: Callable[[_Servicer, _Request, MessageSender], Awaitable[None]], request: type[_Request]
) -> Handler:
    """One request; responses are messages that the handler writes."""
    return Handler(Shape.STREAM, request, handler)


def bytes_stream(
    handler: Callable[[_Servicer, _Request, BytesSender], Awaitable[None]], request: type[_Request]
) -> Handler:
    """One request; responses are bytes that the handler writes: stored events go out as they are."""
    return Handler(Shape.STREAM, request, handler, encodes=True)


def bidi(
    handler: Callable[[_Servicer, AsyncIterator[_Request], MessageSender], Awaitable[None]], request: type[_Request]
) -> Handler:
    """Requests as they come; responses are messages that the handler writes."""
    return Handler(Shape.BIDI, request, handler)


class Method(Struct, frozen=True, kw_only=True):
    """A row of the table: everything that is decided about one method.

    `path` is its full gRPC name, `/package.Service/Method`. `roles` are who may call it, besides admins; None: it is
    served without credentials. A method that is `lasting` goes on until its caller ends it, so a server that stops
    ends it without a grace. A request may have `request_bytes`. `answer_bytes` are reserved before the method is
    served: many answers may be made at a time, and each may be up to this. `limit` bounds how many calls of this
    method may be open, beside the limits on all calls.
    """

    path: str
    handler: Handler
    roles: frozenset[Role] | None
    lasting: bool = False
    request_bytes: int = MAX_MESSAGE_BYTES
    answer_bytes: int = 0
    limit: MethodLimit | None = None

    @property
    def service(self) -> str:
        """The full name of the method's service."""
        return self.path.split("/")[1]

    @property
    def name(self) -> str:
        """The method's name in its service."""
        return self.path.rpartition("/")[2]
