"""TLS and client certificates, with real handshakes."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright._gen.runwright.v1.runtime_service_pb2_grpc import RuntimeServiceStub
from runwright.core.errors import AgentError, ErrorReason
from runwright.transport.tls import TlsFiles

from tests.transport.conftest import Serve
from tests.transport.known import add_key, authenticator, certificate
from tests.transport.serving import CALL_SECONDS


async def info(port: int, trusted: Path, own: tuple[Path, Path] | None = None) -> pb.GetServerInfoResponse:
    """What a client gets that trusts one authority, perhaps with a certificate of its own."""
    pair = (own[1].read_bytes(), own[0].read_bytes()) if own else (None, None)
    credentials = grpc.ssl_channel_credentials(trusted.read_bytes(), *pair)
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
        return await RuntimeServiceStub(channel).GetServerInfo(pb.GetServerInfoRequest(), timeout=CALL_SECONDS)


async def test_a_certificate_is_a_principal(serve: Serve, tmp_path: Path) -> None:
    certificate(tmp_path, "authority")
    server = certificate(tmp_path, "server", authority="authority")
    known, unknown = (certificate(tmp_path, name, authority="authority") for name in ("billing", "stranger"))
    add_key(tmp_path / "keys.json", "caller", subject="billing")
    tls = TlsFiles(*server, tmp_path / "authority.pem").credentials()
    served = await serve(authenticator=authenticator(tmp_path / "keys.json"), tls=tls)

    answer = await info(served.port, tmp_path / "authority.pem", known)
    with pytest.raises(grpc.aio.AioRpcError) as foreign:
        await info(served.port, tmp_path / "authority.pem", unknown)
    with pytest.raises(grpc.aio.AioRpcError) as bare:
        await info(served.port, tmp_path / "authority.pem")

    assert answer.version
    assert foreign.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert bare.value.code() is grpc.StatusCode.UNAVAILABLE, "the handshake itself fails"


async def test_a_renewed_certificate_needs_no_restart(serve: Serve, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "first")
    new_cert, new_key = certificate(tmp_path, "second")
    served = await serve(tls=TlsFiles(cert, key).credentials())
    trusted_before = tmp_path / "before.pem"
    trusted_before.write_bytes(cert.read_bytes())
    before = await info(served.port, trusted_before)

    key.write_bytes(new_key.read_bytes())
    cert.write_bytes(new_cert.read_bytes())
    after = await info(served.port, new_cert)

    assert before.incarnation == after.incarnation


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None) -> None:
    cert, key = certificate(tmp_path, "server")
    cert.unlink()
    if content is not None:
        cert.write_bytes(content)

    with pytest.raises(AgentError) as caught:
        TlsFiles(cert, key).credentials()

    assert caught.value.reason is ErrorReason.INVALID_REQUEST
    assert str(cert) in caught.value.message
    assert caught.value.metadata["field"] == "--tls-cert"


GARBAGE = b"-----BEGIN CERTIFICATE-----\ngarbage\n"


@pytest.mark.parametrize("broken", ["certificate", "key", "pair", "authority"])
def test_pem_that_is_none_and_a_key_of_another_certificate_are_said_to_be_so(tmp_path: Path, broken: str) -> None:
    cert, key = certificate(tmp_path, "server")
    authority, other_key = certificate(tmp_path, "other")
    match broken:
        case "certificate":
            cert.write_bytes(GARBAGE)
        case "key":
            key.write_bytes(GARBAGE)
        case "pair":
            key = other_key
        case "authority":
            authority.write_bytes(GARBAGE)

    with pytest.raises(AgentError) as caught:
        TlsFiles(cert, key, authority).credentials()

    assert caught.value.reason is ErrorReason.INVALID_REQUEST
    field = "--tls-client-ca" if broken == "authority" else "--tls-cert"
    assert caught.value.metadata["field"] == field
    assert str(authority if broken == "authority" else cert) in caught.value.message


async def test_half_of_a_renewal_keeps_the_old_certificate_in_force(serve: Serve, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "first")
    new_cert, new_key = certificate(tmp_path, "second")
    served = await serve(tls=TlsFiles(cert, key).credentials())

    key.write_bytes(new_key.read_bytes())
    between = await info(served.port, cert)
    cert.write_bytes(GARBAGE)
    with pytest.raises(grpc.aio.AioRpcError):
        await info(served.port, new_cert)
    cert.write_bytes(new_cert.read_bytes())
    after = await info(served.port, new_cert)

    assert between.incarnation == after.incarnation


async def test_an_authority_may_begin_with_a_byte_order_mark_and_a_pair_that_does_is_told_so(
    serve: Serve, tmp_path: Path
) -> None:
    certificate(tmp_path, "authority")
    server, client = (certificate(tmp_path, name, authority="authority") for name in ("server", "client"))
    marked = tmp_path / "marked.pem"
    marked.write_bytes(b"\xef\xbb\xbf" + (tmp_path / "authority.pem").read_bytes())
    served = await serve(tls=TlsFiles(*server, marked).credentials())

    assert (await info(served.port, tmp_path / "authority.pem", client)).version
    for number, field in enumerate(("--tls-cert", "--tls-key")):
        pair = list(server)
        pair[number] = tmp_path / f"marked-{number}.pem"
        pair[number].write_bytes(b"\xef\xbb\xbf" + server[number].read_bytes())
        with pytest.raises(AgentError, match="byte order mark") as caught:
            TlsFiles(*pair).credentials()
        assert caught.value.metadata["field"] == field
