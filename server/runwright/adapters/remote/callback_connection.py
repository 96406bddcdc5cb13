"""CallbackConnection: to one registered callback of whatever kind, dialled, examined and leased."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from runwright.adapters.remote.dialer import Dialer, Metadata
from runwright.core.callbacks import Callback, Health, HealthKind, UnusedTool
from runwright.core.errors import AgentError
from runwright.ports.clock import Clock
from runwright.ports.log import OperatorLog

CONNECT_SECONDS = 2.0
CHECK_SECONDS = 2.0
# How often one that is well is asked, and one that is not.
WELL_US = 5_000_000
ILL_US = 1_000_000
MOST_UNUSED = 16  # tools that a registration is remembered not to be used for
MOST_TOLD = 256  # lines in the log of one registration
REFUSED_US = 15_000_000  # seldom: a name that does not resolve keeps a thread busy
_READY = grpc.ChannelConnectivity.READY
# Codes of a server that has nothing to say of its health.
_SILENT = (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND)
_REFUSING = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
_SERVING = health_pb2.HealthCheckResponse.SERVING


class CallbackConnection:
    """Dialled at once, examined for as long as the lease lasts, closed after its last call."""

    def __init__(self, callback: Callback, dialer: Dialer, clock: Clock, changed: Callable[[], None]) -> None:
        """`changed` is called when `is_ready` may have become true."""
        self.callback = callback
        self.health = Health(HealthKind.UNKNOWN, clock.now())
        self._dialer = dialer
        self._clock = clock
        self._changed = changed
        self._kick = asyncio.Event()
        self._channel: grpc.aio.Channel | None = None
        self._address = ""
        self._shown = dialer.certificate  # on the channel that there is
        self._failed_dials = 0
        self._pause = ILL_US
        self._is_missed = False  # somebody looked while it was well but not connected, and may wait
        self.unused: dict[str, UnusedTool] = {}  # by tool, those that were wanted last
        self._told: set[tuple[str, str]] = set()  # for which tools and packages the operator knows it
        self._calls: dict[grpc.aio.Channel, int] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._watching = asyncio.create_task(self._watch(), name=f"callback {callback.callback_id}")

    @property
    def log(self) -> OperatorLog:
        """Where its faults are told."""
        return self._dialer.log

    @property
    def is_ready(self) -> bool:
        """True when a call can be sent now: leased, found healthy, and still connected."""
        if self.health.kind is not HealthKind.HEALTHY or self.callback.expires_at <= self._clock.now():
            return False
        if self._is_connected:
            return True
        self._is_missed = True
        self._kick.set()
        return False

    @property
    def is_away(self) -> bool:
        """True when no call can be sent now for certain: not leased any more, or found unhealthy."""
        return self.health.kind is HealthKind.UNHEALTHY or self.callback.expires_at <= self._clock.now()

    @contextmanager
    def call(self) -> Iterator[grpc.aio.Channel | None]:
        """The channel for one call, which stays open until the block is left; None when the callback was dropped.

        The call must send `metadata`.
        """
        channel = self._channel
        if channel is None:
            yield None
            return
        self._calls[channel] = self._calls.get(channel, 0) + 1
        try:
            yield channel
        finally:
            self._calls[channel] -= 1
            if channel is not self._channel:
                self._retire(channel)

    @property
    def metadata(self) -> Metadata:
        """The credential of the registration, for every call."""
        token = self.callback.credential
        return (("authorization", f"Bearer {token}"),) if token else ()

    def lost_call(self) -> None:
        """Says that a call to it was lost: it is not ready before it was found well again."""
        self._note("A call to it was lost.")
        self._kick.set()

    def note_unused(self, unused: UnusedTool) -> None:
        """Remembers for which tool it is not used, for lists of registrations; tells the operator once a package."""
        self.unused.pop(unused.tool, None)  # the newest goes to the end
        self.unused[unused.tool] = unused
        if len(self.unused) > MOST_UNUSED:
            del self.unused[next(iter(self.unused))]
        told = (unused.tool, unused.package_fingerprint)
        if told not in self._told and len(self._told) < MOST_TOLD:
            self._told.add(told)
            self.log.warning(
                "a callback is not used for a tool: the package has another schema",
                namespace=self.callback.namespace,
                callback_id=unused.callback_id,
                tool=unused.tool,
                package=unused.package_fingerprint,
            )

    def renew(self, callback: Callback) -> None:
        """A longer lease, and a look at how it is if that was not well."""
        self.callback = callback
        if self.health.kind is HealthKind.HEALTHY:
            self._changed()  # the old lease may have been over
        else:
            self._kick.set()

    def drop(self) -> None:
        """Ends the examinations; the channel closes with its last call."""
        self._watching.cancel()
        self._replace(None)

    async def close(self) -> None:
        """Ends everything at once."""
        self.drop()
        for channel in list(self._calls):
            await channel.close()
        await asyncio.gather(self._watching, *self._closing, return_exceptions=True)

    @property
    def is_idle(self) -> bool:
        """True when no call is under way and nothing is left to be closed."""
        return not any(self._calls.values()) and not self._closing

    @property
    def _is_connected(self) -> bool:
        return self._channel is not None and self._channel.get_state(try_to_connect=True) is _READY

    async def _watch(self) -> None:
        while True:
            self._kick.clear()
            try:
                self._note(await self._trouble())
            except Exception as error:  # noqa: BLE001 - one odd registration must not end its own examinations
                self._dialer.log.error("callback cannot be examined", error, callback_id=self.callback.callback_id)
                self._note("It cannot be examined; the server's log says how.")
            await self._kicked_or(self._clock.now() + self._pause)

    async def _trouble(self) -> str:
        """Why calls cannot be sent there; nothing when they can."""
        self._pause = ILL_US
        if not self._is_connected:
            try:
                addresses = await self._dialer.addresses(self.callback)
            except AgentError as error:
                self._replace(None)
                self._pause = REFUSED_US
                return error.message
            address = addresses[self._failed_dials % len(addresses)]
            shown = self._dialer.certificate
            if self._channel is None or address != self._address or shown is not self._shown:
                self._address, self._shown = address, shown
                self._replace(self._dialer.channel(self.callback, address))
            assert self._channel is not None
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await self._channel.channel_ready()
            except TimeoutError:
                self._failed_dials += 1
                return f"It does not answer at {self.callback.address}" + (" with TLS." if self.callback.tls else ".")
        trouble = await self._requested()
        self._pause = ILL_US if trouble else WELL_US
        return trouble

    async def _requested(self) -> str:
        assert self._channel is not None
        check: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(
            "/grpc.health.v1.Health/Check"
        )
        try:
            data = await check(b"", timeout=CHECK_SECONDS, metadata=self.metadata)
            answer = health_pb2.HealthCheckResponse.FromString(data or b"")
        except DecodeError:
            return "The answer to its health check cannot be read."
        except grpc.aio.AioRpcError as error:
            if error.code() in _SILENT:
                return ""
            if error.code() in _REFUSING:
                return "It refuses the credential of the registration."
            return f"Its health check ended with {error.code().name}."
        return "" if answer.status == _SERVING else "Its health check says that it does not serve."

    def _note(self, trouble: str) -> None:
        kind = HealthKind.UNHEALTHY if trouble else HealthKind.HEALTHY
        if (kind, trouble) != (self.health.kind, self.health.detail):
            self.health = Health(kind, self._clock.now(), trouble)
        elif trouble or not self._is_missed:
            return
        self._is_missed = False
        self._changed()

    def _replace(self, channel: grpc.aio.Channel | None) -> None:
        before, self._channel = self._channel, channel
        if before is not None:
            self._retire(before)

    def _retire(self, channel: grpc.aio.Channel) -> None:
        if not self._calls.get(channel):
            self._calls.pop(channel, None)
            closing = asyncio.create_task(channel.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def _kicked_or(self, due: int) -> None:
        waits = {asyncio.ensure_future(self._kick.wait()), asyncio.ensure_future(self._clock.sleep_until(due))}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
