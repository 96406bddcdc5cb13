"""What a call shows of itself: one key, or the names of one certificate; nothing that can be read in two ways."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import grpc
import pytest
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.adapters.memory.audit import MemoryAudit
from runwright.transport.tls import TlsFiles

from tests.builders import Bench
from tests.transport.conftest import Serve
from tests.transport.known import add_key, authenticator, bearer, certificate
from tests.transport.serving import CALL_SECONDS, refused
from tests.transport.test_audit import audited
from tests.transport.test_tls import info


@pytest.mark.parametrize("second", ["the same key", "another good key", "a wrong key", "Basic abc", ""])
@pytest.mark.parametrize("good_first", [True, False])
async def test_two_authorizations_are_refused_whatever_they_say(
    serve: Serve, tmp_path: Path, second: str, good_first: bool
) -> None:
    key, other = (add_key(tmp_path / "keys.json", role) for role in ("caller", "observer"))
    served = await serve(authenticator=authenticator(tmp_path / "keys.json"))
    value = {"the same key": f"Bearer {key}", "another good key": f"Bearer {other}", "a wrong key": "Bearer x"}
    extra = (("authorization", value.get(second, second)),)
    shown = (*bearer(key), *extra) if good_first else (*extra, *bearer(key))

    call = served.stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=CALL_SECONDS, metadata=shown)
    refusal = await refused(call)

    assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
    assert "2 authorization entries" in refusal.text
    assert refusal.info.metadata["expected"] == "one authorization entry in the metadata"
    assert key not in str(refusal)


async def test_two_authorizations_are_in_the_audit(serve: Serve, tmp_path: Path) -> None:
    key, admin = (add_key(tmp_path / "keys.json", role) for role in ("caller", "admin"))
    bench = Bench()
    bench.audit = MemoryAudit(bench.clock)
    served = await serve(bench, authenticator=authenticator(tmp_path / "keys.json"))

    shown = (*bearer(key), *bearer(key))
    await refused(served.stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=CALL_SECONDS, metadata=shown))

    (event,) = await audited(served, admin)
    assert (event.kind, event.reason) == (pb.AUDIT_KIND_UNAUTHENTICATED, "UNAUTHENTICATED")
    assert key not in str(event)


async def test_two_authorizations_of_nobody_are_no_matter_where_everybody_is_local(serve: Serve) -> None:
    served = await serve(Bench())

    shown = (("authorization", "Bearer a"), ("authorization", "Bearer b"))
    answer = await served.stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=CALL_SECONDS, metadata=shown)

    assert answer.version


def signed(folder: Path, name: str, common: str, alternative: str) -> tuple[Path, Path]:
    """A client's certificate with that common name and those alternative names, signed by `authority`."""
    cert, key, config = folder / f"{name}.pem", folder / f"{name}.key", folder / f"{name}.cnf"
    names = f"subjectAltName={alternative}\n[directory]\nO=Clients\n" if alternative else "[directory]\nO=Clients\n"
    config.write_text(f"[req]\ndistinguished_name=dn\n[dn]\n[own]\nbasicConstraints=critical,CA:FALSE\n{names}")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        f"/CN={common}",
    ]
    command += ["-config", config, "-extensions", "own", "-keyout", key, "-out", cert]
    command += ["-CA", folder / "authority.pem", "-CAkey", folder / "authority.key"]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


@pytest.mark.parametrize(
    ("alternative", "is_known"),
    [
        ("", True),  # a certificate of old, which has its common name alone
        ("DNS:stranger.internal", False),
        ("URI:spiffe://internal/stranger", False),
        ("email:stranger@internal", False),
        ("IP:10.0.0.9", False),
        ("dirName:directory", False),  # a kind that gRPC does not show
        ("RID:1.2.3.4", False),
        ("DNS:stranger.internal,DNS:billing", True),  # named where names belong
    ],
)
async def test_a_common_name_beside_alternative_names_makes_no_principal(
    serve: Serve, tmp_path: Path, alternative: str, is_known: bool
) -> None:
    certificate(tmp_path, "authority")
    server = certificate(tmp_path, "server", authority="authority")
    mine = signed(tmp_path, "client", "billing", alternative)
    add_key(tmp_path / "keys.json", "caller", subject="billing")
    tls = TlsFiles(*server, tmp_path / "authority.pem").credentials()
    served = await serve(authenticator=authenticator(tmp_path / "keys.json"), tls=tls)

    calling: Any = info(served.port, tmp_path / "authority.pem", mine)
    if is_known:
        assert (await calling).version
    else:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await calling
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
