"""One connection to a server: address, TLS, key, keepalive, deadlines, retries; every failure typed."""

from __future__ import annotations

import asyncio
import codecs
import ipaddress
import logging
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import betterproto2
from grpclib.client import Channel, Handler
from grpclib.config import Configuration
from grpclib.encoding.proto import ProtoCodec
from grpclib.protocol import H2Protocol

from .backoff import Backoff
from .diagnosis import Peer, typed
from .errors import RawDetails, RunwrightError

_log = logging.getLogger("runwright_client")

CONNECT_SECONDS = 10.0
TRIES = 5
# A stream whose reader stands still holds its window, and must leave some of the connection's to the others.
_STREAM_WINDOW = 256 * 1024
_CONNECTION_WINDOW = 64 * 1024 * 1024

Answer_co = TypeVar("Answer_co", covariant=True)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Tls:
    """Whom to trust and who to be; files in PEM form.

    `ca`: the authorities (absent: the system's). `cert` and `key`: one's own
    certificate. `server_name`: what the server's certificate must carry, if not
    the host of the address.
    """

    ca: str | Path | None = None
    cert: str | Path | None = None
    key: str | Path | None = None
    server_name: str | None = None

    def context(self, purpose: ssl.Purpose = ssl.Purpose.SERVER_AUTH) -> ssl.SSLContext:
        """What the `ssl` module needs. For a server, `ca` is who may sign its clients' certificates."""
        if self.key is not None and self.cert is None:
            raise ValueError("Tls.key: its certificate is missing, Tls.cert")
        try:
            trusted = Path(self.ca).read_bytes().removeprefix(codecs.BOM_UTF8).decode("ascii") if self.ca else None
            context = ssl.create_default_context(purpose, cadata=trusted)
        except (ssl.SSLError, ValueError) as error:
            raise ValueError(f"Tls.ca: {self.ca} holds no certificates in PEM form") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["h2"])
        if self.cert is not None:
            try:
                context.load_cert_chain(self.cert, self.key)
            except ssl.SSLError as error:
                message = (
                    f"Tls.cert: {self.cert} must be a PEM certificate whose private key is in {self.key or 'it, too'}"
                )
                raise ValueError(message) from error
        if purpose is ssl.Purpose.CLIENT_AUTH and self.ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
        return context


@dataclass(frozen=True, slots=True)
class Keepalive:
    """After `interval` seconds of silence the server is pinged; `timeout` seconds later the connection is given up.

    Servers end connections that are pinged more often than they allow, by
    default every 10 s.
    """

    interval: float = 20.0
    timeout: float = 10.0


class Method(Protocol[Answer_co]):
    """A method of a generated stub."""

    def __call__(
        self, message: Any, /, *, timeout: float | None, metadata: Mapping[str, str]
    ) -> Awaitable[Answer_co]: ...


class Stream(Protocol[Answer_co]):
    """A streaming method of a generated stub."""

    def __call__(self, message: Any, /, *, metadata: Mapping[str, str]) -> AsyncIterator[Answer_co]: ...


class Connection:
    """Makes calls over one HTTP/2 connection, which is opened with the first and again whenever it is lost."""

    def __init__(self, address: str, key: str, tls: Tls | None, keepalive: Keepalive) -> None:
        asyncio.get_running_loop()  # there must be one, and it is the one that the connection belongs to
        host, port = split_address(address)
        _check_sendable("key", key)
        if key and tls is None and not _is_loopback(host):
            _warn_of_plaintext(address)
        config = Configuration(
            http2_stream_window_size=_STREAM_WINDOW,
            http2_connection_window_size=_CONNECTION_WINDOW,
            ssl_target_name_override=tls.server_name if tls else None,
        )
        self._metadata = {"authorization": f"Bearer {key}"} if key else {}
        self.is_closed = False
        self.peer = Peer(address, has_tls=tls is not None, has_certificate=bool(tls and tls.cert))
        self.channel = _Channel(
            host,
            port,
            codec=ProtoCodec(),
            status_details_codec=RawDetails(),
            ssl=tls.context() if tls else None,
            config=config,
        )
        self.channel.keepalive = keepalive
        self.channel.peer = self.peer

    async def unary(
        self,
        method: Method[Result],
        message: betterproto2.Message,
        *,
        deadline: float,
        safe: bool,
        metadata: Mapping[str, str] | None = None,
    ) -> Result:
        """Calls within `deadline` seconds in all. `safe`: tried again, at most five times, while nobody is there."""
        bytes(message)  # a value that cannot be sent is the caller's mistake, and is raised as such
        for name, value in (metadata or {}).items():
            _check_sendable(name, value)
        loop, backoff = asyncio.get_running_loop(), Backoff(0.3)
        end = loop.time() + deadline
        for left in reversed(range(TRIES)):
            self._check_open()
            timeout = max(end - loop.time(), 0.001)
            call = method(message, timeout=timeout, metadata={**self._metadata, **(metadata or {})})
            try:
                return await _apart(_awaited(call))
            except Exception as raised:  # every failure becomes the one error
                error = self._typed(raised)
                pause = backoff.seconds(error.retry_after)
                is_worth_it = error.retryable and error.code == "UNAVAILABLE" and loop.time() + pause < end
                if not (safe and left and is_worth_it):
                    raise error from raised
            await asyncio.sleep(pause)
        raise AssertionError("the last try returns or raises")

    async def stream(self, method: Stream[Result], message: betterproto2.Message) -> AsyncGenerator[Result]:
        """The answers of a streaming call. To be read in a task of one's own: the transport cancels it at will."""
        self._check_open()
        try:
            async with aclosing(method(message, metadata=self._metadata)) as answers:  # type: ignore[type-var]  # a generator it is
                async for answer in answers:
                    yield answer
        except Exception as raised:  # every failure becomes the one error
            raise self._typed(raised) from raised

    def close(self) -> None:
        """Ends the connection and every call on it."""
        self.is_closed = True
        self.channel.close()

    def _check_open(self) -> None:
        if self.is_closed:
            raise closed()

    def _typed(self, raised: Exception) -> RunwrightError:
        return closed() if self.is_closed else typed(raised, self.peer)


def closed() -> RunwrightError:
    """What a call on a client that was closed fails with."""
    return RunwrightError("This client is closed.", reason="CANCELLED", code="CANCELLED")


def _check_sendable(name: str, value: str) -> None:
    """Said here, because the transport would say it with the value in its message, which may be secret."""
    if not all("!" <= character <= "~" for character in value):
        raise ValueError(f"{name}: only printable ASCII characters without spaces")


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port`, an IPv6 address being in brackets."""
    host, colon, port = address.rpartition(":")
    is_bare_ipv6 = ":" in host and not (host.startswith("[") and host.endswith("]"))
    if not colon or not host or is_bare_ipv6 or not port.isdecimal() or int(port) > 65_535:
        raise ValueError(f"address: {address!r} is not host:port, an IPv6 address being in brackets")
    return host.strip("[]"), int(port)


def _is_loopback(host: str) -> bool:
    """True for what only this machine can reach. Names are not resolved, but for the one that says so."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


_warned: set[str] = set()


def _warn_of_plaintext(address: str) -> None:
    """Once for each address: whoever stands on the way can read the key. Without logging set up, on standard error."""
    if address not in _warned:
        _warned.add(address)
        _log.warning("the key goes to %s in plaintext, where others can read it: give tls=Tls(...)", address)


async def _awaited(call: Awaitable[Result]) -> Result:
    return await call


async def _apart(call: Coroutine[Any, Any, Result]) -> Result:
    """Runs a call in a task of its own.

    The transport wakes a call whose connection is lost by cancelling its task,
    and says so to nobody else: the caller's task would count one cancellation
    too many, which breaks every `asyncio.timeout` and task group around it.
    """
    task = asyncio.ensure_future(call)
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody else will look
        task.cancel()
        raise
    return task.result()


class _Channel(Channel):
    keepalive = Keepalive()
    peer = Peer("")

    def _protocol_factory(self) -> H2Protocol:
        return _Wire(Handler(), self._config, self._h2_config, self.keepalive, self.peer)

    async def _create_connection(self) -> H2Protocol:
        self.peer.greeting = b""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await super()._create_connection()
        except TimeoutError as error:  # which is also what the deadline of a call looks like
            raise ConnectionError(f"no connection within {CONNECT_SECONDS:g} s") from error


class _Lenient(dict[Any, Any]):
    """What to do on each kind of HTTP/2 event; nothing on unknown ones, for which the transport would hang up."""

    def __missing__(self, kind: object) -> Callable[[object], None]:
        return lambda event: None


class _Wire(H2Protocol):
    """An HTTP/2 connection that finds out when its peer has fallen silent.

    The transport has a keepalive of its own, which stops after two pings and
    then waits for a farewell that a frozen peer does not give.
    """

    def __init__(
        self, handler: Handler, config: Configuration, h2_config: Any, keepalive: Keepalive, peer: Peer
    ) -> None:
        super().__init__(handler, config, h2_config)
        self._peer = peer
        self._keepalive = keepalive
        self._is_requested = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.processor.processors = _Lenient(self.processor.processors)
        self._wire = cast(asyncio.Transport, transport)
        self._heard()

    def data_received(self, data: bytes) -> None:
        self._heard()
        self._peer.greeting = self._peer.greeting or data[:16]
        if self._peer.is_foreign:
            self._wire.abort()  # it would be waited for: taken for a frame, its first bytes promise megabytes
            return
        if not self.connection.is_closing():
            super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _heard(self) -> None:
        self._wait(self._keepalive.interval, self._ask)

    def _ask(self) -> None:
        if not self.connection.is_closing():
            self.connection._connection.ping(b"runwrigh")
            self.connection.flush()
            self._wait(self._keepalive.timeout, self._wire.abort)

    def _wait(self, seconds: float, then: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, then)
