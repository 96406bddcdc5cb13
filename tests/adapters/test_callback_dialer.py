"""What is dialled for a registration: checked addresses only, after DNS, every time; and who may answer there."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from runwright.adapters.remote import callback_connection, dialer
from runwright.adapters.remote.executors import DialledExecutors
from runwright.core.callback_kinds import ToolExecutor
from runwright.core.callbacks import HealthKind, Tls
from runwright.core.errors import AgentError, ErrorReason
from runwright.ports.tools import ToolOutcomeKind as Kind
from runwright.testing import ManualClock

from tests.adapters.callback_hosts import SECRET, Host, callback, dialling, executed, found, healthy, invocation
from tests.runtime.watching import eventually
from tests.transport.known import certificate


class Dns:
    """Answers as it is told, and counts how often it was asked."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.requested = 0

    async def __call__(self, host: str, port: int) -> tuple[str, ...]:
        self.requested += 1
        return self.addresses


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    """An executor that is up."""
    served = Host()
    await served.start()
    yield served
    await served.stop()


async def refusal(tools: DialledExecutors, *value: Any, **fields: Any) -> AgentError:
    """How a registration is refused."""
    with pytest.raises(AgentError) as refused:
        await tools.callbacks.examine(callback(*value, **fields))
    return refused.value


@pytest.mark.parametrize(
    "addresses",
    [
        ("10.0.0.1",),
        ("127.0.0.1", "10.0.0.1"),
        ("127.0.0.1", "::ffff:169.254.169.254"),
        ("127.0.0.1",) * 9 + ("8.8.8.8",),
    ],
)
async def test_every_address_of_a_name_must_be_allowed(addresses: tuple[str, ...]) -> None:
    async with dialling(resolve=Dns(*addresses)) as tools:
        error = await refusal(tools, 80, address="tools.internal:80")

    assert error.reason is ErrorReason.CALLBACK_ADDRESS_REFUSED
    assert error.metadata["address"] == "tools.internal:80"


@pytest.mark.parametrize("addresses", [(), tuple(f"127.0.0.{number}" for number in range(1, 19))])
async def test_a_name_of_nothing_or_of_too_much_is_refused(addresses: tuple[str, ...]) -> None:
    async with dialling(resolve=Dns(*addresses)) as tools:
        assert "resolves" in (await refusal(tools, 80, address="tools.internal:80")).metadata["rule"]


async def test_a_dns_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(dialer, "RESOLVE_SECONDS", 0.05)
    async with dialling(resolve=never) as tools, asyncio.timeout(60):
        error = await refusal(tools, 80, address="tools.internal:80")

    assert error.reason is ErrorReason.CALLBACK_ADDRESS_REFUSED


async def test_a_name_that_is_refused_wherever_it_leads_is_not_looked_up() -> None:
    dns = Dns("10.0.0.1")
    async with dialling(allow=["*.tools.internal:80"], resolve=dns) as tools:
        error = await refusal(tools, 80, address="evil.example:80")

    assert "callback_allow" in error.metadata["rule"]
    assert dns.requested == 0


async def test_four_slow_names_do_not_hold_up_the_fifth(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()

    def getaddrinfo(host: str, *_: Any, **__: Any) -> list[Any]:
        if host.startswith("slow"):
            answers.wait(60)
        return [(None, None, None, None, ("127.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(dialer, "RESOLVE_SECONDS", 60)
    async with dialling() as tools:
        slow = [
            asyncio.create_task(tools.callbacks.examine(callback(80, address=f"slow-{number}.example:80")))
            for number in range(4)
        ]
        await asyncio.sleep(0)

        await tools.callbacks.examine(callback(80, address="quick.example:80"))
        waited = [task.done() for task in slow]
        answers.set()
        await asyncio.gather(*slow)

    assert waited == [False] * 4


async def test_names_are_resolved_by_the_system_without_an_injected_one(host: Host) -> None:
    named = callback(host, address=f"localhost:{host.port}")
    async with dialling() as tools:
        await tools.callbacks.examine(named)
        await healthy(tools, named)

        assert (await executed(tools)).kind is Kind.RESULT
        assert "resolves" in (await refusal(tools, 80, address="no-such-name.invalid:80")).metadata["rule"]


async def test_a_name_that_moves_to_a_forbidden_address_is_not_followed(host: Host) -> None:
    """DNS rebinding: allowed when it was registered, another machine at the next connection."""
    dns, clock = Dns("127.0.0.1"), ManualClock()
    moving = callback(host, address=f"tools.internal:{host.port}", clock=clock)
    async with dialling(resolve=dns, clock=clock) as tools:
        await tools.callbacks.examine(moving)
        await healthy(tools, moving)
        requested = dns.requested
        dns.addresses = ("169.254.169.254",)
        await host.stop()

        def judged() -> bool:
            # The connection may still look whole at the first examinations: they find that out, the next one dials.
            if clock.waiting:
                clock.advance(callback_connection.ILL_US)
            return "link-local" in tools.callbacks.health(moving).detail

        await eventually(judged)
        outcome = await executed(tools, invocation(clock=clock))

    assert tools.callbacks.health(moving).kind is HealthKind.UNHEALTHY
    assert dns.requested > requested
    assert outcome.kind is Kind.NOT_SENT


async def test_a_connection_goes_to_the_checked_address_and_asks_for_the_name(host: Host) -> None:
    dns = Dns("127.0.0.1")
    named = callback(host, address=f"tools.internal:{host.port}")  # a name that only this DNS knows
    async with dialling(resolve=dns) as tools:
        await healthy(tools, named)

        assert (await executed(tools)).kind is Kind.RESULT
        assert dns.requested == 1


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    second, clock = Host(), ManualClock()
    await second.start(host="127.0.0.2")
    named = callback(second, address=f"tools.internal:{second.port}", clock=clock)
    async with dialling(resolve=Dns("127.0.0.1", "127.0.0.2"), clock=clock) as tools:
        tools.callbacks.open(named)
        await found(tools, named, HealthKind.UNHEALTHY)
        clock.advance(callback_connection.ILL_US)

        await found(tools, named, HealthKind.HEALTHY)
    await second.stop()


@pytest.fixture
def tls(tmp_path: Path) -> tuple[grpc.ServerCredentials, bytes]:
    """A server's credentials, and the authority that made them."""
    certificate(tmp_path, "authority")
    cert, key = certificate(tmp_path, "tools.internal", authority="authority")
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())])
    return credentials, (tmp_path / "authority.pem").read_bytes()


async def test_tls_with_an_authority_of_its_own(tls: tuple[grpc.ServerCredentials, bytes], tmp_path: Path) -> None:
    credentials, authority = tls
    foreign = certificate(tmp_path, "foreign")[0].read_bytes()
    host = Host(accepts=f"Bearer {SECRET}")
    await host.start(tls=credentials)
    right = callback(host, "right", tls=Tls(authority, "tools.internal"), credential=SECRET)
    wrong = {
        "another authority": callback(host, "a", tls=Tls(foreign, "tools.internal"), details=ToolExecutor(("none",))),
        "another name": callback(host, "b", tls=Tls(authority, "billing.internal"), details=ToolExecutor(("none",))),
        "no tls": callback(host, "c", details=ToolExecutor(("none",))),
    }
    async with dialling() as tools:
        await healthy(tools, right)
        outcome = await executed(tools)
        for each in wrong.values():
            tools.callbacks.open(each)

        message = {name: await found(tools, each, HealthKind.UNHEALTHY) for name, each in wrong.items()}
    await host.stop()

    assert outcome.kind is Kind.RESULT
    assert all("does not answer" in detail for detail in message.values()), message
    assert "with TLS" in message["another name"]


async def test_the_certificate_must_carry_the_host_unless_a_name_is_given(
    tls: tuple[grpc.ServerCredentials, bytes],
) -> None:
    host = Host()
    await host.start(tls=tls[0])
    named = callback(host, address=f"tools.internal:{host.port}", tls=Tls(tls[1]))
    async with dialling(resolve=Dns("127.0.0.1")) as tools:
        await healthy(tools, named)
    await host.stop()


async def test_a_credential_is_not_shown_in_clear_text_beyond_this_machine() -> None:
    async with dialling(allow=["10.0.0.0/8"], resolve=Dns("10.0.0.1")) as tools:
        named = {"address": "tools.internal:80"}
        error = await refusal(tools, 80, credential=SECRET, **named)
        await tools.callbacks.examine(callback(80, **named))
        await tools.callbacks.examine(callback(80, credential=SECRET, tls=Tls(), **named))

    assert "TLS" in error.metadata["rule"]
    assert SECRET not in str(error) + str(error.metadata)


@pytest.mark.parametrize(
    "pem", [b"no certificate", b"\xff", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
async def test_an_authority_that_is_none_is_refused(pem: bytes) -> None:
    async with dialling() as tools:
        error = await refusal(tools, 80, tls=Tls(pem))

    assert (error.reason, error.metadata["field"]) == (ErrorReason.INVALID_REQUEST, "spec.tls.ca_pem")


async def test_an_empty_list_takes_no_registrations() -> None:
    async with dialling(allow=[], configured={"near": "127.0.0.1:1"}) as tools:
        assert (await refusal(tools, 80)).reason is ErrorReason.CALLBACK_ADDRESS_REFUSED
        assert [tools.knows(callback(80).namespace, name) for name in ("near", "desk")] == [True, False]


async def test_a_cut_line_is_found_by_tcp_itself(host: Host) -> None:
    """What is not acknowledged for five seconds ends the connection; health checks always have something on the way."""
    async with dialling() as tools:
        await healthy(tools, callback(host))

        limits = [
            connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            for connection in connections_to(host.port)
        ]

    assert limits == [dialer.DEAD_PEER_MS]


def connections_to(port: int) -> list[socket.socket]:
    """This process's own connections to a port."""
    found_here = []
    for path in Path("/proc/self/fd").iterdir():
        try:
            copied = socket.socket(fileno=os.dup(int(path.name)))
            if copied.getpeername()[1] == port:
                found_here.append(copied)
        except (OSError, IndexError, TypeError):
            continue
    return found_here
