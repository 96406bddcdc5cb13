"""A key that others can read on its way is warned of; TLS files as editors leave them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from tests.transport.known import certificate

from runwright_client import Client, Tls

KEY = "rwk_1_secret"


async def test_a_key_that_goes_out_in_plaintext_to_another_host_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    others = ["runs.example:7760", "10.0.0.9:7760", "[fd00::9]:7760", "localhost.example:7760"]
    for address in others * 2:
        await Client.connect(address, key=KEY).close()

    message = [record.getMessage() for record in caplog.records if record.name == "runwright_client"]
    assert [
        line for address, line in zip(others, message, strict=True) if f"to {address} in plaintext" in line
    ] == message
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    "address", ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "localhost:1", "LOCALHOST.:1"]
)
async def test_nothing_is_said_of_this_machine(caplog: pytest.LogCaptureFixture, address: str) -> None:
    await Client.connect(address, key=KEY).close()

    assert caplog.records == []


async def test_nothing_is_said_with_tls_or_without_a_key(caplog: pytest.LogCaptureFixture) -> None:
    await Client.connect("quiet.example:7760", key=KEY, tls=Tls()).close()
    await Client.connect("quiet.example:7760").close()

    assert caplog.records == []


async def test_an_authority_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    authority, _ = certificate(tmp_path, "authority")
    authority.write_bytes(b"\xef\xbb\xbf" + authority.read_bytes())

    assert Tls(ca=authority).context().cert_store_stats()["x509_ca"] == 1
