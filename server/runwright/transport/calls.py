"""Calls in flight: each is counted from its admission to the moment gRPC is done with it, and can be ended.

The count goes by connection, by principal (by address for callers without a key) and for the server. What has no
place is refused with TOO_MANY_CALLS; a request or an answer that is slow waits for its turn, for a bounded time.
A call whose answer nobody reads stays counted until its connection closes: gRPC offers no way to take it back.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from enum import Enum
from ipaddress import IPv6Address, IPv6Network
from typing import Any
from urllib.parse import unquote

import grpc
from msgspec import Struct

from runwright.core.errors import AgentError, ErrorReason, invalid_request
from runwright.core.principal import Principal
from runwright.transport.connections import MAX_MESSAGE_BYTES, MAX_START_BYTES
from runwright.transport.method import Method
from runwright.transport.usage import (
    FEW_CALLS,
    PAGE_BYTES,
    SMALL_ANSWER_BYTES,
    CallUsage,
    Limits,
    too_many,
)

Context = grpc.aio.ServicerContext[Any, Any]
SWEEP_SECONDS = 0.25
# A request that is not complete keeps its place for this long while others wait for one.
CONTENDED_SECONDS = 1.0


class CallTimes(Struct, frozen=True, kw_only=True):
    """How long a call may wait for its peer, in seconds."""

    request: float = 10.0  # until the request is complete
    small_request: float = 0.5  # until a request that is not complete counts as a large one
    large_request: float = 60.0  # until a large one is complete
    idle: float = 60.0  # until the next request of a bidirectional stream
    stall: float = 30.0  # until a message of an answer is read, or there is room to make it


class _Phase(Enum):
    QUEUED = "queued"
    RECEIVING = "receiving"
    IDLE = "idle"
    WAITING = "waiting"


class Call:
    """One call. `owner` is whose limits it counts against; `ended_by` is why the server ended it."""

    __slots__ = (
        "_calls",
        "_held",
        "_large",
        "_phase",
        "_since",
        "_task",
        "ended_by",
        "is_served",
        "method",
        "owner",
        "usages",
    )

    def __init__(self, calls: Calls, method: Method, owner: Principal | str, usages: tuple[CallUsage, ...]) -> None:
        self._calls = calls
        self._task = _this_task()
        self._held = 0  # units of every usage's answers
        self._large = 0  # of every usage's large requests
        self._phase = _Phase.WAITING
        self._since = 0
        self.method = method
        self.owner = owner
        self.usages = usages
        self.ended_by: AgentError | None = None
        self.is_served = True

    def end(self, error: AgentError) -> None:
        """Ends the call with the error, unless it is ending already."""
        if self.is_served and self.ended_by is None:
            self.ended_by = error
            self._task.cancel()

    async def receive(self, context: Context) -> bytes:
        """The request, as bytes. Raises INVALID_REQUEST when there is none, or it does not come to its end.

        Raises TOO_MANY_CALLS for a large one when there is no room for it. How large a message is gRPC only says when
        it is there: until then one that takes long is taken for as large as it may be.
        """
        taken = 0
        try:
            for usage in self.usages:
                if not usage.requests.try_acquire(1):
                    self._begin(_Phase.QUEUED)
                    await usage.requests.acquire(1)
                taken += 1
            self._begin(_Phase.RECEIVING)
            raw = await context.read()
        finally:
            for usage in self.usages[:taken]:
                usage.requests.release(1)
            self._finish()
        if raw is grpc.aio.EOF:
            raise invalid_request("request", "one message", "Send the request before the half-close.")
        if self._large or len(raw) > MAX_MESSAGE_BYTES:
            self._weigh(len(raw) if len(raw) > MAX_MESSAGE_BYTES else 0)
        return bytes(raw)

    def _weigh(self, size: int) -> None:
        """Counts the request with so many bytes from now on. Raises TOO_MANY_CALLS, and counts it with none."""
        for usage in self.usages:
            usage.request_bytes -= self._large
        self._large = 0
        for usage in self.usages:
            if size and usage.request_bytes + size > usage.limits.request_bytes:
                raise too_many(f"{usage.limits.scope}_request_bytes", usage.limits.request_bytes)
        for usage in self.usages:
            usage.request_bytes += size
        self._large = size

    async def receive_each(self, context: Context) -> AsyncIterator[bytes]:
        """The requests of a bidirectional call; each must come in time after the one before."""
        while True:
            self._begin(_Phase.IDLE)
            try:
                raw = await context.read()
            finally:
                self._finish()
            if raw is grpc.aio.EOF:
                return
            yield bytes(raw)

    async def reserve(self, size: int) -> None:
        """Waits until an answer of that size may be made."""
        self._begin(_Phase.WAITING)
        try:
            await self._acquire(size)
        finally:
            self._finish()

    def answered(self, size: int) -> None:
        """Counts a unary answer until gRPC has written it. Raises TOO_MANY_CALLS when there is no room for it."""
        reserved = self._held
        if not reserved:
            if size <= SMALL_ANSWER_BYTES:
                return
            for usage in self.usages:
                if usage.answers.used + size > usage.limits.answer_bytes:
                    raise too_many(f"{usage.limits.scope}_answer_bytes", usage.limits.answer_bytes)
        for usage in self.usages:
            usage.answers.add(size)
        self._held += size
        self._release(reserved)

    async def write(self, context: Context, message: bytes, last_cursor: str) -> None:
        """Writes a message of a stream. Raises SUBSCRIBER_STALLED when it is not read in time."""
        seconds = self._calls.times.stall
        try:
            async with asyncio.timeout(seconds):
                # A message larger than a page would never find room.
                units = min(len(message), PAGE_BYTES) if len(message) > SMALL_ANSWER_BYTES else 0
                if units:
                    await self._acquire(units)
                await context.write(message)
                # Not after a failure: then gRPC holds the message until the call is over.
                self._release(units)
        except TimeoutError:
            raise AgentError(
                ErrorReason.SUBSCRIBER_STALLED,
                f"The reader did not read for {seconds:g} s.",
                metadata={"last_cursor": last_cursor},
            ) from None

    async def _acquire(self, units: int) -> None:
        taken = 0
        try:
            for usage in self.usages:
                if not usage.answers.try_acquire(units):
                    await usage.answers.acquire(units)
                taken += 1
        except asyncio.CancelledError:
            for usage in self.usages[:taken]:
                usage.answers.release(units)
            raise
        self._held += units

    def _release(self, units: int) -> None:
        if units:
            self._held -= units
            for usage in self.usages:
                usage.answers.release(units)

    def _begin(self, phase: _Phase) -> None:
        self._phase, self._since = phase, self._calls.tick
        self._calls.timed[self] = None

    def _finish(self) -> None:
        self._calls.timed.pop(self, None)

    def settle(self) -> None:
        """The call ends with an error: where `end` cancelled its task, that goes on to say so."""
        if self.ended_by is not None:
            self._task.uncancel()

    def left(self, _: object) -> None:
        """The call is over: nothing of it is counted any longer."""
        for usage in self.usages:
            usage.calls -= 1
            if self.method.limit is not None:
                usage.calls_by_method[self.method.path] -= 1
        self._release(self._held)
        if self._large:
            self._weigh(0)
        self._calls.open_by_owner[self.owner].discard(self)

    def overdue(self) -> AgentError | None:
        """Why the call is to be ended: what it waits for has not come in time."""
        seconds = (self._calls.tick - self._since) * SWEEP_SECONDS
        times = self._calls.times
        if self._phase is _Phase.WAITING:
            full = next((usage for usage in self.usages if usage.answers.is_contended), self.usages[0])
            most = full.limits.answer_bytes
            return too_many(f"{full.limits.scope}_answer_bytes", most) if seconds >= times.stall else None
        if self._phase is _Phase.QUEUED:
            full = next((usage for usage in self.usages if usage.requests.is_contended), self.usages[0])
            most = full.limits.requests
            return too_many(f"{full.limits.scope}_requests", most) if seconds >= times.request else None
        if self._phase is _Phase.RECEIVING:
            return self._late(seconds, times)
        return None if seconds < times.idle else _incomplete(times.idle)

    def _late(self, seconds: float, times: CallTimes) -> AgentError | None:
        """Why a request that is being received is to be ended; one that takes long is a large one from then on."""
        most_seconds = times.request
        if self._large and self.method.request_bytes > MAX_MESSAGE_BYTES:
            most_seconds = times.large_request
        elif any(usage.requests.is_contended for usage in self.usages):
            most_seconds = min(most_seconds, CONTENDED_SECONDS)
        if seconds < most_seconds and seconds >= times.small_request and not self._large:
            if isinstance(self.owner, str):
                most_seconds = times.small_request
            else:
                try:
                    self._weigh(MAX_START_BYTES)
                except AgentError as error:
                    return error
        return None if seconds < most_seconds else _incomplete(most_seconds)


class Calls:
    """Every call in flight. `sweep` ends those that are overdue or whose principal may no longer call."""

    def __init__(
        self,
        times: CallTimes,
        limits: Limits,
        revoked: Callable[[Principal], bool],
        ended: Callable[[str, Principal], AgentError],
    ) -> None:
        """`revoked` says that a principal may no longer call; `ended` notes a call that ends for it, and says why."""
        self._revoked = revoked
        self._ended = ended
        self._connections: dict[str, CallUsage] = {}
        self._owners: dict[Principal | str, CallUsage] = {}
        self._limits = limits
        self._server = CallUsage(limits.server)
        self.open_by_owner: dict[Principal | str, set[Call]] = {}
        self.times = times
        self.tick = 0
        self.timed: dict[Call, None] = {}

    def enter(self, method: Method, principal: Principal | None, peer: str) -> Call:
        """Counts a call of the task that runs, until that ends. Raises TOO_MANY_CALLS. No principal: no key."""
        owner: Principal | str = address_of(peer) if principal is None else principal
        connection = self._connections.get(peer)
        if connection is None:
            connection = self._connections[peer] = CallUsage(self._limits.connection)
        usage = self._owners.get(owner)
        if usage is None:
            usage = self._owners[owner] = CallUsage(
                self._limits.address if principal is None else self._limits.principal
            )
            self.open_by_owner[owner] = set()
        usages = (connection, usage, self._server)
        for each in usages[1:]:
            if each.calls * 4 >= each.limits.calls * 3 and (
                each.calls >= each.limits.calls or connection.calls >= FEW_CALLS
            ):
                raise too_many(f"{each.limits.scope}_calls", each.limits.calls)
        if method.limit is not None:
            self._count_by_method(method, usages)
        for each in usages:
            each.calls += 1
        call = Call(self, method, owner, usages)
        self.open_by_owner[owner].add(call)
        _this_task().add_done_callback(call.left)
        return call

    def _count_by_method(self, method: Method, usages: tuple[CallUsage, ...]) -> None:
        assert method.limit is not None
        for each, most in zip(usages[1:], (method.limit.principal, method.limit.server), strict=True):
            if each.calls_by_method[method.path] >= most:
                raise too_many(f"{method.name} calls", most)
        for each in usages:
            each.calls_by_method[method.path] += 1

    @property
    def open_calls(self) -> int:
        """How many calls are in flight."""
        return self._server.calls

    def end_lasting(self, error: AgentError) -> None:
        """Ends the calls of lasting methods with the error, as far as they are not ending already."""
        for owner in self.open_by_owner.values():
            for call in list(owner):
                if call.method.lasting:
                    call.end(error)

    def sweep(self) -> None:
        """To be called every SWEEP_SECONDS."""
        self.tick += 1
        for call in list(self.timed):
            error = call.overdue()
            if error is not None:
                call.end(error)
        for owner in list(self._owners):
            if isinstance(owner, Principal) and self._revoked(owner):
                for call in list(self.open_by_owner[owner]):
                    if call.is_served and call.ended_by is None:
                        call.end(self._ended(call.method.path, owner))
            if not self._owners[owner].calls:
                del self._owners[owner], self.open_by_owner[owner]
        for peer in [peer for peer, usage in self._connections.items() if not usage.calls]:
            del self._connections[peer]

    async def run(self) -> None:
        """Sweeps until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.sweep()


def address_of(peer: str) -> str:
    """Whose limits a caller without a key counts against: the address, of IPv6 its network of 64 bits."""
    kind, _, place = peer.partition(":")
    host = place.rpartition(":")[0]
    if kind != "ipv6":
        return host if kind == "ipv4" else kind
    try:
        address = IPv6Address(unquote(host).strip("[]").partition("%")[0])
    except ValueError:
        return host
    return str(address.ipv4_mapped or IPv6Network((int(address), 64), strict=False))


def _incomplete(seconds: float) -> AgentError:
    return invalid_request(
        "request", f"complete after at most {math.ceil(seconds)} s", "Make the whole request, then send it."
    )


def _this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None, "gRPC serves every call in a task"
    return task
