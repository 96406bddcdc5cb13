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
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
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

    def refusal(self, host: str, port: int, resolved: str) -> str:
        """The rule that forbids dialling `resolved`, to which `host` was resolved; nothing when it may be dialled."""
        address = _meant(resolved)
        if is_forbidden(address):
            return "outside of the link-local, metadata, unspecified, multicast and reserved ranges"
        if any(address in network for network in self.networks if network.version == address.version):
            return ""
        named = host.lower().rstrip(".")
        for pattern, wanted in self.patterns:
            fits = fnmatchcase(named, pattern) and wanted in ("*", str(port))
            if fits and (named == "localhost" or not address.is_loopback):
                return ""
        return "covered by the server's callback_allow"


def plain(text: str) -> Address:
    """The address that is really dialled: IPv4 mapped into IPv6 is IPv4."""
    address = ipaddress.ip_address(text)
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def _meant(text: str) -> Address:
    """Where packets end up: behind 6to4 and NAT64, too, stands an IPv4 address."""
    address = plain(text)
    if isinstance(address, IPv4Address):
        return address
    inside = IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else address.sixtofour
    return inside or address


def is_forbidden(address: Address) -> bool:
    """True for an address that is refused whatever the list says."""
    if isinstance(address, IPv4Address) and address in _THIS_NETWORK:
        return True
    if isinstance(address, IPv6Address) and address.scope_id:
        return True
    reserved = address.is_reserved and not address.is_loopback
    return address.is_link_local or address.is_multicast or address.is_unspecified or reserved or address in _METADATA
