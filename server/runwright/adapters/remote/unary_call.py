"""One unary call over one channel, and how it ended: with an answer that was read, or with what is known instead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeVar

import grpc

from runwright.adapters.remote.dialer import Metadata

T = TypeVar("T")


class CallFailureKind(Enum):
    """What ended a call without an answer."""

    NOT_SENT = auto()  # the channel had been closed before
    STATUS = auto()  # a status other than OK: whether it was sent, and performed, is not known
    CHANNEL_CLOSED = auto()  # under the call
    FAULT = auto()  # an exception that nobody foresaw, of the library or of `read`


@dataclass(frozen=True)
class CallFailure:
    """A call without an answer. `status` goes with STATUS, `fault` with FAULT.

    `is_over_deadline`: the time was over when a status came. The host has the same deadline, and may be the first to
    end the call for it, with a status of its own.
    """

    kind: CallFailureKind
    status: grpc.aio.AioRpcError | None = None
    is_over_deadline: bool = False
    fault: Exception | None = None

    @property
    def is_late(self) -> bool:
        """True when there is no answer for lack of time, whatever the status."""
        is_said = self.status is not None and self.status.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        return is_said or self.is_over_deadline


@dataclass(frozen=True)
class UnaryCall:
    """What is called, with what. `metadata` has the credential of the connection."""

    method: str  # as in `/package.Service/Method`
    request: bytes
    seconds: float  # the deadline, from when it is sent
    metadata: Metadata = ()
    trace_parent: str = ""  # W3C Trace Context; empty: of no trace


async def unary_call(channel: grpc.aio.Channel, call: UnaryCall, read: Callable[[bytes], T]) -> T | CallFailure:
    """Calls, and returns what `read` makes of the answer (b"": OK, and no message), or why there is none.

    Raises nothing but the cancellation of whoever awaits it, of which the host is told.
    """
    metadata = (*call.metadata, ("traceparent", call.trace_parent)) if call.trace_parent else call.metadata
    try:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(call.method)
        rpc = method(call.request, timeout=call.seconds, metadata=metadata)
    except grpc.aio.UsageError:
        return CallFailure(CallFailureKind.NOT_SENT)
    try:
        return read(await rpc or b"")
    except grpc.aio.AioRpcError as error:
        return CallFailure(CallFailureKind.STATUS, error, rpc.time_remaining() == 0)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return CallFailure(CallFailureKind.CHANNEL_CLOSED)
    except Exception as error:  # noqa: BLE001 - whatever it is, the run must hear that there is no answer
        return CallFailure(CallFailureKind.FAULT, fault=error)
    finally:
        # Cancelled while it waited: this is what tells the host.
        rpc.cancel()
