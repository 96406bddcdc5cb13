"""TLS: one's own authority, a client's certificate, another name than the host's."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from relay import Relay
from tests.e2e.conftest import MakeServer
from tests.e2e.packages import LOOK, one_call
from tests.transport.known import add_key, certificate

from runwright_client import Client, RunwrightError, Tls


async def test_both_sides_show_certificates(make_server: MakeServer, relay: Relay, tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    authority, _ = certificate(folder, "authority")
    cert, key = certificate(folder, "server.internal", authority="authority")
    mine, my_key = certificate(folder, "client", authority="authority")
    secret = add_key(tmp_path / "keys.json", "caller")
    options = ("--keys", tmp_path / "keys.json", "--tls-cert", cert, "--tls-key", key, "--tls-client-ca", authority)
    server = make_server(one_call("one", LOOK), options=tuple(map(str, options)))
    await server.start()
    relay.to = server.address
    tls = Tls(ca=authority, cert=mine, key=my_key, server_name="server.internal")

    async with Client.connect(relay.address, key=secret, tls=tls) as client:
        started = await client.start("hello", run_id="r1")
        frames = [frame async for frame in client.subscribe("r1")]
    async with Client.connect(relay.address, key=secret, tls=Tls(ca=authority)) as nameless:
        with pytest.raises(RunwrightError) as without_certificate:
            await nameless.snapshot("r1", deadline=5)
    stranger, _ = certificate(folder, "stranger")
    async with Client.connect(relay.address, tls=Tls(ca=stranger)) as distrustful:
        with pytest.raises(RunwrightError) as distrusted:
            await distrustful.snapshot("r1")
        with pytest.raises(RunwrightError, match="not trusted"):
            async with asyncio.timeout(60):
                await anext(distrustful.subscribe("r1"))
    other_name = Tls(ca=authority, cert=mine, key=my_key, server_name="another.internal")
    async with Client.connect(relay.address, key=secret, tls=other_name) as misled:
        with pytest.raises(RunwrightError, match="for another name"):
            await misled.snapshot("r1")

    assert started.created
    assert frames
    assert without_certificate.value.code == "UNAVAILABLE"
    assert (distrusted.value.code, distrusted.value.retryable) == ("UNAVAILABLE", False)


async def test_files_that_are_no_certificates_are_named_at_once(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "one")
    other, _ = certificate(tmp_path, "other")
    junk = tmp_path / "junk.pem"
    junk.write_text("certificate")
    empty = tmp_path / "empty.pem"
    empty.write_bytes(b"\xff")

    for tls, message in (
        (Tls(ca=junk), "Tls.ca: .*junk.pem holds no certificates"),
        (Tls(ca=empty), "Tls.ca: .*empty.pem holds no certificates"),
        (Tls(cert=cert), "Tls.cert: .*one.pem must be a PEM certificate whose private key is in it, too"),
        (Tls(cert=other, key=key), "Tls.cert: .*other.pem must be a PEM certificate whose private key is in .*one.key"),
        (Tls(key=key), "Tls.key: its certificate is missing"),
    ):
        with pytest.raises(ValueError, match=message):
            Client.connect("localhost:1", tls=tls)
