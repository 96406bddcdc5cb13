"""Where no Runwright server answers, one line says what is there and what to do, and nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from dialling import SECONDS
from tests.transport.known import certificate

from runwright_client import Client, RunwrightError, Tls, ToolServer


@dataclass
class Street:
    """Addresses at which something else than a Runwright server answers, or nobody."""

    plain: str
    tls: str
    mutual: str
    http: str
    closing: str
    silent: str
    authority: Path
    stranger: Path


async def _http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"SM\r\n\r\n")
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await reader.read()
    writer.close()


async def _closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


@pytest.fixture
async def street(tmp_path: Path) -> AsyncIterator[Street]:
    """All of them."""
    authority, _ = certificate(tmp_path, "authority")
    stranger, _ = certificate(tmp_path, "stranger")
    cert, key = certificate(tmp_path, "localhost", authority="authority")
    pair = [(key.read_bytes(), cert.read_bytes())]
    async with AsyncExitStack() as stack:

        async def grpc_at(credentials: grpc.ServerCredentials | None) -> str:
            server = grpc.aio.server()  # without any service
            where = "127.0.0.1:0"
            port = server.add_secure_port(where, credentials) if credentials else server.add_insecure_port(where)
            await server.start()
            stack.push_async_callback(server.stop, None)
            return f"localhost:{port}"

        async def tcp_at(answer: object) -> str:
            server = await stack.enter_async_context(await asyncio.start_server(answer, "127.0.0.1", 0))  # type: ignore[arg-type]
            return f"localhost:{server.sockets[0].getsockname()[1]}"

        yield Street(
            plain=await grpc_at(None),
            tls=await grpc_at(grpc.ssl_server_credentials(pair)),
            mutual=await grpc_at(grpc.ssl_server_credentials(pair, stranger.read_bytes(), True)),
            http=await tcp_at(_http),
            closing=await tcp_at(_closing),
            silent=await tcp_at(_silent),
            authority=authority,
            stranger=stranger,
        )


async def failure(address: str, tls: Tls | None = None, deadline: float = SECONDS) -> str:
    """What a call of a client says, without the address."""
    async with Client.connect(address, tls=tls, deadline=deadline) as client:
        with pytest.raises(RunwrightError) as failed:
            await client.server_info()
    assert str(failed.value).count("\n") == 0
    return str(failed.value).replace(address, "ADDRESS")


AWAY = "Start one with `runwright serve`, or give the address of one that runs."
CLOSES = "UNAVAILABLE: What answers at ADDRESS closes the connection before it has answered. "
IS_IT_ONE = "check that the address is that of a Runwright server."


async def test_each_way_of_not_being_there_is_one_line_with_a_remedy(street: Street) -> None:
    trusting = Tls(ca=street.authority)
    cases = {
        "away": failure("127.0.0.1:1"),
        "no such host": failure("nowhere.invalid:7760"),
        "another service": failure(street.plain),
        "no TLS there": failure(street.plain, trusting),
        "TLS there": failure(street.tls),
        "closing": failure(street.closing),
        "another authority": failure(street.tls, Tls(ca=street.stranger)),
        "public authorities": failure(street.tls, Tls()),
        "another name": failure(street.tls, Tls(ca=street.authority, server_name="elsewhere.example")),
        "no certificate of its own": failure(street.mutual, trusting),
        "HTTP": failure(street.http),
        "silent": failure(street.silent, deadline=0.3),
    }
    said = dict(zip(cases, await asyncio.gather(*cases.values()), strict=True))

    no_host = said.pop("no such host")
    assert no_host.startswith("UNAVAILABLE: No Runwright server answers at ADDRESS (")
    assert no_host.endswith(AWAY)
    not_trusted = said.pop("another authority"), said.pop("public authorities")
    for line in not_trusted:
        assert line.startswith("UNAVAILABLE: The certificate of ADDRESS is not trusted: ")
        assert line.endswith(". Give the authority that signed it as Tls.ca.")
    assert said == {
        "away": f"UNAVAILABLE: No Runwright server answers at ADDRESS (connection refused). {AWAY}",
        "another service": "UNIMPLEMENTED: What answers at ADDRESS does not serve this call."
        " Check the address, and that client and server are of one version.",
        "no TLS there": "UNAVAILABLE: What answers at ADDRESS does not speak TLS."
        " Leave tls out, or start the server with a certificate.",
        "TLS there": f"{CLOSES}If it is a server with TLS, give tls; else {IS_IT_ONE}",
        "closing": f"{CLOSES}If it is a server with TLS, give tls; else {IS_IT_ONE}",
        "another name": "UNAVAILABLE: The certificate of ADDRESS is for another name."
        " Connect by a name that the certificate has, or give that as Tls.server_name.",
        "no certificate of its own": f"{CLOSES}If it asks for a certificate of clients, give Tls.cert and Tls.key;"
        f" else {IS_IT_ONE}",
        "HTTP": "UNAVAILABLE: What answers at ADDRESS does not speak gRPC."
        " Check that the address is that of a Runwright server.",
        "silent": "DEADLINE_EXCEEDED: ADDRESS did not answer in time. Try again, and look at the server's log.",
    }


async def test_a_server_that_has_never_answered_is_given_up(street: Street) -> None:
    async def gives_up(address: str) -> list[str]:
        async with Client.connect(address, deadline=0.2) as client:
            tools = ToolServer()
            tools.add("look", lambda arguments, call: None)
            waits = client.wait("r1"), anext(client.subscribe("r1")), tools.serve_for(client, "desk")
            async with asyncio.timeout(SECONDS):
                ends = await asyncio.gather(*waits, return_exceptions=True)
        return [error.code if isinstance(error, RunwrightError) else repr(error) for error in ends]

    for codes in await asyncio.gather(gives_up("127.0.0.1:1"), gives_up(street.silent), gives_up(street.closing)):
        assert set(codes) <= {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
