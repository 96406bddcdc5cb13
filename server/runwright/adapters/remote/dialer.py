"""Dialer: from a registered address to checked IP addresses, and from one of these to a channel."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import grpc
from msgspec import Struct

from runwright.adapters.remote.resolver import MOST_OF_ONE, Resolver, TooManyNamesError
from runwright.core.allow_list import NOT_COVERED, AllowList, plain
from runwright.core.callbacks import Callback
from runwright.core.errors import AgentError, ErrorReason, invalid_request
from runwright.ports.log import OperatorLog

RESOLVE_SECONDS = 3.0
# Not a round number: that the transport on this side refused a message, and not one somewhere behind the host whose
# status it passes on, is told by this bound in the refusal.
MAX_RECEIVE_BYTES = 4 * 1024 * 1024 + 4093
# More are not looked at: a name with more addresses than that is no host's.
MOST_ADDRESSES = 16
DEAD_PEER_MS = 5_000

Metadata: TypeAlias = tuple[tuple[str, str], ...]
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]

DIAL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
    ("grpc.enable_http_proxy", 0),  # a proxy would resolve the name again, and is no way to loopback
    # A repeated call is the run machine's decision, and no policy from elsewhere says otherwise. What is left of gRPC's
    # retries sends once more what a host that goes away has certainly not begun, as its GOAWAY says.
    ("grpc.enable_retries", 1),
    ("grpc.service_config_disable_resolution", 1),
)
# A peer behind a cut line is found by TCP itself: what it does not acknowledge for five seconds (TCP_USER_TIMEOUT,
# which follows from the keepalive time-out), the health check's bytes at the least, ends the connection. Pings come
# seldom enough for servers with default settings, which answer more than one in five minutes with GOAWAY.
_OWN_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", 600_000),
    ("grpc.keepalive_timeout_ms", DEAD_PEER_MS),
    ("grpc.http2.ping_timeout_ms", DEAD_PEER_MS),
    ("grpc.use_local_subchannel_pool", 1),  # one credential's connection is never another's
)


class ClientCertificate(Struct, frozen=True):
    """What the runtime shows of itself to hosts that ask for a certificate: its chain and its key, PEM."""

    chain: bytes
    key: bytes

    def __repr__(self) -> str:  # never the key
        return "ClientCertificate()"


class Dialer:
    """What may be dialled for callbacks. Names are resolved here, never by gRPC: what is checked is what is dialled.

    `certificate` may be replaced at any time; a channel that is open keeps the one it was made with.
    """

    def __init__(
        self,
        allowed: AllowList,
        log: OperatorLog,
        resolve: Resolve | None = None,
        certificate: ClientCertificate | None = None,
    ) -> None:
        self.allowed = allowed
        self.certificate = certificate
        self.log = log
        self._resolver = Resolver()
        self._resolve = resolve

    async def addresses(self, callback: Callback) -> list[str]:
        """The IP addresses behind a callback, all of them checked. Raises CALLBACK_ADDRESS_REFUSED."""
        found = await self._resolved(callback)
        if not found or len(found) > MOST_ADDRESSES:
            rule = f"a name that resolves within {RESOLVE_SECONDS:g} s to at most {MOST_ADDRESSES} addresses"
            raise refused(callback, rule)
        for address in found:
            rule = self.allowed.refusal(callback.host, callback.port, address)
            if not rule and callback.credential and callback.tls is None and not plain(address).is_loopback:
                rule = "a loopback address, because there is a credential and no TLS"
            if rule:
                raise refused(callback, rule)
        return [str(plain(address)) for address in found]

    async def _resolved(self, callback: Callback) -> list[str]:
        try:
            return [str(ipaddress.ip_address(callback.host))]
        except ValueError:
            pass  # a name
        if not self.allowed.may_cover(callback.host, callback.port):
            raise refused(callback, NOT_COVERED)  # wherever it leads: nobody is asked for it
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                return list(dict.fromkeys(await self._look_up(callback)))
        except TooManyNamesError:
            rule = (
                f"asked for again once fewer than {MOST_OF_ONE} other names of its principal wait for their addresses"
            )
            raise refused(callback, rule) from None
        except (TimeoutError, OSError, UnicodeError):
            return []

    def _look_up(self, callback: Callback) -> Awaitable[Sequence[str]]:
        if self._resolve is not None:
            return self._resolve(callback.host, callback.port)
        return self._resolver.look_up(f"{callback.namespace}/{callback.owner}", callback.host)

    async def examine(self, callback: Callback) -> None:
        """Raises CALLBACK_ADDRESS_REFUSED, or INVALID_REQUEST for authorities that are none."""
        if callback.tls is not None and callback.tls.ca_pem:
            try:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.load_verify_locations(cadata=callback.tls.ca_pem.decode("ascii"))
            except (ssl.SSLError, ValueError):
                remedy = "Send the text between and with -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----."
                raise invalid_request("spec.tls.ca_pem", "certificates in PEM form", remedy) from None
        await self.addresses(callback)

    def channel(self, callback: Callback, address: str) -> grpc.aio.Channel:
        """A channel to one checked address, which says and expects the names of the registration."""
        target = f"ipv6:[{address}]:{callback.port}" if ":" in address else f"ipv4:{address}:{callback.port}"
        options: list[tuple[str, int | str]] = [*DIAL_OPTIONS, *_OWN_OPTIONS]
        if callback.tls is None:
            return grpc.aio.insecure_channel(target, options=[*options, ("grpc.default_authority", callback.address)])
        name = callback.tls.server_name or callback.host
        shown = (self.certificate.key, self.certificate.chain) if self.certificate else (None, None)
        credentials = grpc.ssl_channel_credentials(callback.tls.ca_pem or None, *shown)
        return grpc.aio.secure_channel(target, credentials, options=[*options, ("grpc.ssl_target_name_override", name)])


def refused(callback: Callback, rule: str) -> AgentError:
    """The address must not be dialled."""
    return AgentError(
        ErrorReason.CALLBACK_ADDRESS_REFUSED,
        f"The address {callback.address} is refused; it must be {rule}.",
        metadata={"address": callback.address, "rule": rule},
    )
