"""Which hosts are this machine: what goes to them cannot be read on the way, and no proxy leads there."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """True for an address that only this machine can reach: `localhost`, 127.0.0.0/8, ::1, also mapped into IPv6.

    An IPv6 address may be in brackets. Other names are not resolved: where one leads may change.
    """
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
