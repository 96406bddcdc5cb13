"""The audit over the wire: refused calls are in it, without a secret, and each admin sees its own namespace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as callback_pb
from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright._gen.runwright.v1.runtime_service_pb2_grpc import RuntimeServiceStub
from runwright.adapters.clock import SystemClock
from runwright.adapters.keys import KeyFileAuthenticator, KeysFile, read_keys, write_keys
from runwright.adapters.memory.audit import MemoryAudit
from runwright.core.errors import AgentError
from runwright.core.principal import LOCAL
from runwright.ports.audit import refused_registration
from runwright.transport.tls import TlsFiles

from tests.builders import Bench, ListLog
from tests.transport.conftest import Serve
from tests.transport.known import add_key, authenticator, bearer, certificate
from tests.transport.serving import CALL_SECONDS, Served, refused, registration, run_request

STRANGER = "rwk_1a2b3c4d_topsecret"


@pytest.fixture
async def served(serve: Serve, tmp_path: Path) -> Served:
    """A server with keys and an audit."""
    add_key(tmp_path / "keys.json", "caller", "team-b")
    bench = Bench()
    bench.audit = MemoryAudit(bench.clock)
    return await serve(bench, authenticator=authenticator(tmp_path / "keys.json"))


async def audited(served: Served, key: str, **fields: Any) -> list[pb.AuditEvent]:
    """What an admin sees."""
    request = pb.ListAuditEventsRequest(**fields)
    response = await served.stub.ListAuditEvents(request, timeout=CALL_SECONDS, metadata=bearer(key))
    return list(response.events)


async def test_strangers_and_missing_roles_are_there_without_their_keys(served: Served, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    admin, observer = add_key(keys, "admin"), add_key(keys, "observer")
    start = pb.StartRunRequest(run=run_request())
    for _ in range(3):
        await refused(served.stub.StartRun(start, timeout=CALL_SECONDS, metadata=bearer(STRANGER)))
    await refused(served.stub.StartRun(start, timeout=CALL_SECONDS, metadata=bearer(observer)))

    denied, stranger = await audited(served, admin)

    assert (denied.kind, denied.principal, denied.namespace) == (
        pb.AUDIT_KIND_ROLE_DENIED,
        "observer-default",
        "default",
    )
    assert (denied.method, denied.reason) == ("/runwright.v1.RuntimeService/StartRun", "ROLE_MISSING")
    assert (stranger.kind, list(stranger.subjects)) == (pb.AUDIT_KIND_UNAUTHENTICATED, ["127.0.0.1"])
    assert (stranger.principal, stranger.namespace, stranger.count) == ("", "", 1)
    assert "topsecret" not in str([denied, stranger])


async def test_only_admins_read_it_and_only_their_own(served: Served, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    here, there = add_key(keys, "admin", "team-a"), add_key(keys, "admin", "team-b")
    caller, main = add_key(keys, "observer", "team-a"), add_key(keys, "admin")
    start = pb.StartRunRequest(run=run_request())
    await refused(served.stub.StartRun(start, timeout=CALL_SECONDS, metadata=bearer(caller)))
    await refused(served.stub.StartRun(start, timeout=CALL_SECONDS, metadata=bearer(STRANGER)))

    refusal = await refused(
        served.stub.ListAuditEvents(pb.ListAuditEventsRequest(), timeout=CALL_SECONDS, metadata=bearer(caller))
    )

    assert refusal.info.reason == "ROLE_MISSING"
    assert {event.namespace for event in await audited(served, here)} == {"team-a"}
    assert await audited(served, there) == []
    assert {event.namespace for event in await audited(served, main)} == {""}


async def test_pages_follow_their_tokens(served: Served, tmp_path: Path) -> None:
    admin = add_key(tmp_path / "keys.json", "admin")
    for number in range(5):
        refused_registration(served.runtime.ports.audit, LOCAL, f"tool-{number}", "ROLE_MISSING")
    seen, token = [], ""
    for _ in range(3):
        request = pb.ListAuditEventsRequest(page_size=2, page_token=token)
        page = await served.stub.ListAuditEvents(request, timeout=CALL_SECONDS, metadata=bearer(admin))
        seen += [event.subjects[0] for event in page.events]
        token = page.next_page_token

    assert seen == ["tool-4", "tool-3", "tool-2", "tool-1", "tool-0"]
    assert token == ""
    garbage = pb.ListAuditEventsRequest(page_token="garbage")
    wrong = await refused(served.stub.ListAuditEvents(garbage, timeout=CALL_SECONDS, metadata=bearer(admin)))
    assert wrong.info.reason == "CURSOR_MALFORMED"


async def test_a_stream_whose_key_is_revoked_is_there(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "keys.json"
    admin, reader = add_key(keys, "admin"), add_key(keys, "observer")
    call = served.stub.Subscribe(
        pb.SubscribeRequest(scope=pb.StreamScope(all=pb.AllRuns())), timeout=CALL_SECONDS, metadata=bearer(reader)
    )
    await call.read()
    known = read_keys(keys).keys
    write_keys(keys, KeysFile(keys=tuple(entry for entry in known if entry.name != "observer-default")))

    with pytest.raises(grpc.aio.AioRpcError) as ended:
        while await call.read() is not grpc.aio.EOF:
            pass

    assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED
    (event,) = await audited(served, admin)
    assert (event.kind, event.principal) == (pb.AUDIT_KIND_CREDENTIAL_REVOKED, "observer-default")
    assert event.method.endswith("/Subscribe")


async def test_keys_and_certificates_that_cannot_be_used_any_more_are_reported(serve: Serve, tmp_path: Path) -> None:
    message: list[AgentError] = []
    cert, key = certificate(tmp_path, "server")
    trusted = grpc.ssl_channel_credentials(cert.read_bytes())
    served = await serve(tls=TlsFiles(cert, key).credentials(message.append))
    cert.write_text("no certificate")

    async with grpc.aio.secure_channel(f"localhost:{served.port}", trusted) as channel:
        info = await RuntimeServiceStub(channel).GetServerInfo(pb.GetServerInfoRequest(), timeout=CALL_SECONDS)

    assert info.version  # by the old certificate
    assert {error.metadata["field"] for error in message} == {"--tls-cert"}
    add_key(tmp_path / "keys.json", "admin")
    known = KeyFileAuthenticator(tmp_path / "keys.json", SystemClock(), ListLog(), message.append, look_every_us=0)
    (tmp_path / "keys.json").write_text("{")
    known.is_current(LOCAL)
    assert message[-1].metadata["field"] == "--keys"


async def test_a_refused_registration_is_there_without_its_credential(served: Served, tmp_path: Path) -> None:
    admin, executor = (add_key(tmp_path / "keys.json", role, "team-b") for role in ("admin", "executor"))
    request = registration("desk", address="169.254.169.254:80", credential="topsecret")
    await refused(served.callbacks.RegisterCallback(request, timeout=CALL_SECONDS, metadata=bearer(executor)))
    gone = callback_pb.UnregisterCallbackRequest(callback_id="nobody")
    await refused(served.callbacks.UnregisterCallback(gone, timeout=CALL_SECONDS, metadata=bearer(executor)))

    entries = await audited(served, admin)

    assert {(entry.kind, entry.principal, entry.reason, *entry.subjects) for entry in entries} == {
        (pb.AUDIT_KIND_REGISTRATION_REFUSED, "executor-team-b", "CALLBACK_ADDRESS_REFUSED", "desk"),
        (pb.AUDIT_KIND_REGISTRATION_REFUSED, "executor-team-b", "CALLBACK_NOT_FOUND", "nobody"),
    }
    assert "topsecret" not in str(entries)


async def test_a_refused_start_says_who_wanted_what_and_why_not(served: Served, tmp_path: Path) -> None:
    admin, caller = (add_key(tmp_path / "keys.json", role, "team-b", name=role) for role in ("admin", "caller"))

    async def refused_start(**fields: Any) -> None:
        start = pb.StartRunRequest(run=run_request(**fields))
        await refused(served.stub.StartRun(start, timeout=CALL_SECONDS, metadata=bearer(caller)))

    await refused_start(package=run_pb2.PackageSelector(package_id="secret"))
    await refused_start(run_id="run-2", agent_id="somebody")
    await refused_start(run_id="run-3", input=[])

    entries = await audited(served, admin)

    assert {(entry.principal, entry.namespace) for entry in entries} == {("caller", "team-b")}
    assert {entry.kind for entry in entries} == {pb.AUDIT_KIND_START_REFUSED}
    assert [(entry.reason, *entry.subjects) for entry in entries] == [
        ("INVALID_REQUEST", "run-3"),
        ("AGENT_MISMATCH", "run-2"),
        ("PACKAGE_NOT_FOUND", "run-1", "secret"),
    ]


async def test_a_start_that_only_has_to_wait_is_not_audited(served: Served, tmp_path: Path) -> None:
    admin, caller = (add_key(tmp_path / "keys.json", role) for role in ("admin", "caller"))
    await served.runtime.drain(0)

    start = pb.StartRunRequest(run=run_request())
    await refused(served.stub.StartRun(start, timeout=CALL_SECONDS, metadata=bearer(caller)))

    assert await audited(served, admin) == []


async def test_one_tenants_refused_calls_leave_room_for_anothers(served: Served, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    noisy, observer = add_key(keys, "executor", "team-a"), add_key(keys, "observer", "team-b")
    admin = add_key(keys, "admin", "team-b")
    for number in range(70):
        request = registration(f"desk-{number}", address="169.254.169.254:80")
        await refused(served.callbacks.RegisterCallback(request, timeout=CALL_SECONDS, metadata=bearer(noisy)))

    start = pb.StartRunRequest(run=run_request())
    await refused(served.stub.StartRun(start, timeout=CALL_SECONDS, metadata=bearer(observer)))

    (denied,) = await audited(served, admin)
    assert (denied.kind, denied.principal) == (pb.AUDIT_KIND_ROLE_DENIED, "observer-team-b")
