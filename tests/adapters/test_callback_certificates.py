"""Whose certificate a registered executor must show: the registered name's, and nobody else's of the same authority."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from runwright.core.callbacks import HealthKind, Tls
from runwright.ports.tools import ToolOutcomeKind as Kind

from tests.adapters.callback_hosts import SECRET, Host, callback, dialling, executed, found
from tests.adapters.test_callback_dialer import Dns
from tests.transport.known import certificate


@pytest.mark.parametrize(
    ("shown", "address", "server_name", "is_right"),
    [
        ("DNS:tools.internal", "tools.internal", "", True),
        ("DNS:tools.internal", "127.0.0.1", "tools.internal", True),
        ("IP:127.0.0.1", "127.0.0.1", "", True),
        # What leads to this machine is in the certificates of many who are not the executor.
        ("DNS:localhost", "tools.internal", "", False),
        ("DNS:localhost,IP:127.0.0.1", "tools.internal", "", False),
        ("DNS:localhost", "127.0.0.1", "tools.internal", False),
        ("IP:127.0.0.1", "tools.internal", "", False),
        ("DNS:billing.internal", "tools.internal", "", False),
        ("DNS:billing.internal", "127.0.0.1", "tools.internal", False),
        # The name that is given takes the place of the host's.
        ("DNS:tools.internal", "tools.internal", "billing.internal", False),
        ("DNS:internal", "tools.internal", "", False),
    ],
)
async def test_an_executor_shows_the_certificate_of_the_registered_name(
    tmp_path: Path, shown: str, address: str, server_name: str, is_right: bool
) -> None:
    authority, _ = certificate(tmp_path, "authority")
    cert, key = certificate(tmp_path, "executor", authority="authority", names=shown)
    host = Host(accepts=f"Bearer {SECRET}")
    await host.start(tls=grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())]))
    registered = callback(
        host, address=f"{address}:{host.port}", tls=Tls(authority.read_bytes(), server_name), credential=SECRET
    )
    async with dialling(resolve=Dns("127.0.0.1")) as tools:
        tools.callbacks.open(registered)

        message = await found(tools, registered, HealthKind.HEALTHY if is_right else HealthKind.UNHEALTHY)
        outcome = await executed(tools) if is_right else None
    await host.stop()

    assert is_right or "with TLS" in message
    assert outcome is None or outcome.kind is Kind.RESULT
    assert is_right or host.shown == [], "who is not the executor never sees its credential"
