"""What may be dialled: the operator's list, and what no list can allow, in every disguise."""

from __future__ import annotations

import pytest
from runwright.core.allow_list import LOOPBACK, AllowList, plain

EVERYTHING = AllowList.parse(["0.0.0.0/0", "::/0", "metadata.internal:*"])
FORBIDDEN = [
    "169.254.169.254",
    "169.254.0.1",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "100.100.100.200",
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "224.0.0.1",
    "ff02::1",
    "255.255.255.255",
    "240.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0.0.0.0",
    "::ffff:224.0.0.1",
    "::169.254.169.254",
    "64:ff9b::169.254.169.254",
    "2002:a9fe:a9fe::1",
    "2002:7f00:1::1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::0.0.0.0",
    "64:ff9b:1::10.0.0.1",
    "64:ff9b:1:a00:0:100::",
    "2001:0:a00:1::",
    "2001:0:4136:e378:8000:63bf:f5ff:fffe",
    "3ffe:831f:a00:1::",
    "::10.0.0.1",
    "::ffff:0:10.0.0.1",
    "2a00:1::5efe:169.254.169.254",
    "2a00:1::200:5efe:127.0.0.1",
    "2a00:1::5efe:10.0.0.1%eth0",
]


@pytest.mark.parametrize("address", FORBIDDEN)
def test_some_addresses_are_refused_whatever_the_list_says(address: str) -> None:
    assert "link-local" in EVERYTHING.refusal("metadata.internal", 80, address)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_what_is_allowed_at_first(address: str) -> None:
    assert AllowList.parse(LOOPBACK).refusal("anything", 80, address) == ""


@pytest.mark.parametrize("address", ["10.0.0.1", "8.8.8.8", "2001:db8::1", "::ffff:10.0.0.1", "fd12::1"])
def test_nothing_else_is_allowed_at_first(address: str) -> None:
    assert "callback_allow" in AllowList.parse(LOOPBACK).refusal("localhost", 80, address)


ENTRIES = ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7", "tools.internal:7761", "*.svc.example:*", "localhost:9"]
CASES = {
    "in a network": ("anything", 1, "10.1.2.3", True),
    "mapped into it": ("anything", 1, "::ffff:10.1.2.3", True),
    "beside it": ("anything", 1, "11.1.2.3", False),
    "in a network of IPv6": ("anything", 1, "2001:db8::9", True),
    "a single address": ("anything", 1, "192.0.2.7", True),
    "its neighbour": ("anything", 1, "192.0.2.8", False),
    "a name and port": ("Tools.Internal.", 7761, "203.0.113.5", True),
    "the same name, another port": ("tools.internal", 7762, "203.0.113.5", False),
    "a name that was bent to loopback": ("tools.internal", 7761, "127.0.0.1", False),
    "a name below a domain": ("a.svc.example", 5, "203.0.113.5", True),
    "a name that only ends alike": ("asvc.example", 5, "203.0.113.5", False),
    "the domain itself": ("svc.example", 5, "203.0.113.5", False),
    "localhost by name": ("localhost", 9, "127.0.0.1", True),
    "localhost at another port": ("localhost", 10, "127.0.0.1", False),
}


@pytest.mark.parametrize("name", CASES)
def test_the_list_is_kept_to(name: str) -> None:
    host, port, address, allowed = CASES[name]

    assert (AllowList.parse(ENTRIES).refusal(host, port, address) == "") is allowed


INSIDE = {
    "NAT64 of what is listed": ("64:ff9b::10.1.2.3", True),
    "NAT64 of what is not": ("64:ff9b::11.1.2.3", False),
    "6to4 of what is listed": ("2002:a01:203::1", True),
    "6to4 of what is not": ("2002:b01:203::1", False),
    "ISATAP, both listed": ("2a00:1::5efe:10.1.2.3", True),
    "ISATAP, the tunnel's end not": ("2a00:1::5efe:11.1.2.3", False),
    "ISATAP, the router not": ("2a00:2::5efe:10.1.2.3", False),
}


@pytest.mark.parametrize("name", INSIDE)
def test_an_address_that_carries_another_is_judged_by_where_it_comes_out(name: str) -> None:
    address, allowed = INSIDE[name]
    listed = AllowList.parse(["10.0.0.0/8", "2a00:1::/32", "64:ff9b::/96", "2002::/16"])

    assert (listed.refusal("anything", 1, address) == "") is allowed


@pytest.mark.parametrize(
    ("entries", "host", "port", "expected"),
    [
        (["*.tools.internal:7761"], "a.tools.internal", 7761, True),
        (["*.tools.internal:7761"], "a.tools.internal", 7762, False),
        (["*.tools.internal:7761"], "evil.example", 7761, False),
        (["*.tools.internal:7761", "10.0.0.0/8"], "evil.example", 1, True),
        ([], "localhost", 1, False),
    ],
)
def test_a_name_need_not_be_resolved_that_is_refused_wherever_it_leads(
    entries: list[str], host: str, port: int, expected: bool
) -> None:
    assert AllowList.parse(entries).may_cover(host, port) is expected


@pytest.mark.parametrize(
    "entry", ["", "localhost", "10.0.0.0/33", "10.0.0.1/8", "*", "*:80", "a*.b:80", "host:x", "a b:1"]
)
def test_an_entry_that_is_none_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match=r"does not appear to be|has host bits"):
        AllowList.parse([entry])


def test_an_address_in_disguise_is_dialled_as_what_it_is() -> None:
    assert [str(plain(text)) for text in ("::ffff:10.0.0.1", "10.0.0.1", "::1")] == ["10.0.0.1", "10.0.0.1", "::1"]


def test_an_empty_list_allows_nothing() -> None:
    nothing = AllowList.parse([])

    assert nothing.is_empty
    assert nothing.refusal("localhost", 80, "127.0.0.1")
