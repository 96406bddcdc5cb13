"""Which addresses callbacks may have: what an operator allows, and what nobody can allow."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from msgspec import Struct

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK = ("127.0.0.0/8", "::1/128")
EXPECTED = "a network (10.0.0.0/8), an address, or HOST:PORT, where HOST may begin with *. and PORT may be *"
# Where clouds hand out a machine's own credentials, beside the link-local addresses.
_METADATA = frozenset(
    map(ipaddress.ip_address, ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"))
)
_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
# Forms of IPv6 behind which stands an IPv4 address, and how far above the lowest bit it ends: what is carried by a
# translator or a tunnel is judged by where it comes out.
_CARRIERS = (
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),  # NAT64, RFC 6052
    (ipaddress.IPv6Network("2002::/16"), 80),  # 6to4, RFC 3056
)
# Where the place of the inner address depends on somebody's configuration, or it is hidden or a relay's: local-use
# NAT64 (RFC 8215), Teredo (RFC 4380, and before it). Of these nothing is dialled. IPv4-compatible and translated
# addresses are in the reserved ::/8.
_OPAQUE = tuple(map(ipaddress.IPv6Network, ("64:ff9b:1::/48", "2001::/32", "3ffe:831f::/32")))
_ISATAP = (0x00005EFE, 0x02005EFE)  # the upper half of an interface identifier, RFC 5214
_FORBIDDEN = "outside of the link-local, metadata, unspecified, multicast, reserved and tunnelled ranges"
NOT_COVERED = "covered by the server's callback_allow"
_PATTERN = re.compile(r"(?P<host>(\*\.)?[a-z0-9._-]+|\[[0-9a-f:.]+\]):(?P<port>\*|[0-9]{1,5})\Z")


class AllowList(Struct, frozen=True):
    """Networks, and patterns of host and port. A pattern never opens loopback, unless it names `localhost`."""

    networks: tuple[Network, ...]
    patterns: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, entries: Sequence[str]) -> AllowList:
        """The list of these entries. Raises ValueError for one that is none of EXPECTED."""
        networks: list[Network] = []
        patterns: list[tuple[str, str]] = []
        for entry in entries:
            found = _PATTERN.match(entry.lower())
            if found:
                patterns.append((found["host"].strip("[]"), found["port"]))
            else:
                networks.append(ipaddress.ip_network(entry))
        return cls(tuple(networks), tuple(patterns))

    @property
    def is_empty(self) -> bool:
        """True when nothing is allowed."""
        return not (self.networks or self.patterns)

    def may_cover(self, host: str, port: int) -> bool:
        """False when a name is refused wherever it leads: then nobody need be asked where that is."""
        return bool(self.networks) or self._fits(host, port)

    def refusal(self, host: str, port: int, resolved: str) -> str:
        """The rule that forbids dialling `resolved`, to which `host` was resolved; nothing when it may be dialled."""
        address = plain(resolved)
        meant = _destinations(address)
        # Loopback that somebody else translates is not ours, and nobody's business.
        if any(is_forbidden(one) or (one.is_loopback and one != address) for one in meant) or _has_zone(address):
            return _FORBIDDEN
        return "" if all(self._covers(host, port, one) for one in meant) else NOT_COVERED

    def _covers(self, host: str, port: int, address: Address) -> bool:
        if any(address in network for network in self.networks if network.version == address.version):
            return True
        return self._fits(host, port) and (_plain_name(host) == "localhost" or not address.is_loopback)

    def _fits(self, host: str, port: int) -> bool:
        named = _plain_name(host)
        return any(fnmatchcase(named, pattern) and wanted in ("*", str(port)) for pattern, wanted in self.patterns)


def _plain_name(host: str) -> str:
    return host.lower().rstrip(".")


def plain(text: str) -> Address:
    """The address that is really dialled: IPv4 mapped into IPv6 is IPv4."""
    address = ipaddress.ip_address(text)
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def _destinations(address: Address) -> tuple[Address, ...]:
    """Where packets may end up: at the address itself, or at the IPv4 addresses that it carries."""
    if isinstance(address, IPv4Address):
        return (address,)
    number = int(address)
    for network, shift in _CARRIERS:
        if address in network:
            return (IPv4Address(number >> shift & 0xFFFFFFFF),)
    if number >> 32 & 0xFFFFFFFF in _ISATAP:
        return (address, IPv4Address(number & 0xFFFFFFFF))
    return (address,)


def _has_zone(address: Address) -> bool:
    return isinstance(address, IPv6Address) and bool(address.scope_id)


def is_forbidden(address: Address) -> bool:
    """True for an address that is refused whatever the list says."""
    if isinstance(address, IPv4Address) and address in _THIS_NETWORK:
        return True
    if isinstance(address, IPv6Address) and any(address in network for network in _OPAQUE):
        return True
    reserved = address.is_reserved and not address.is_loopback
    return address.is_link_local or address.is_multicast or address.is_unspecified or reserved or address in _METADATA
