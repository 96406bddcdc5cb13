"""The registry on the wire: fields and limits, roles, namespaces, secrets, and runs that use what is registered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToJson
from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as pb
from runwright._gen.runwright.v1 import error_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as runtime_pb
from runwright.adapters.clock import SystemClock
from runwright.adapters.keys import KeysFile, read_keys, write_keys
from runwright.adapters.log import JsonFormatter
from runwright.adapters.memory.audit import MemoryAudit
from runwright.adapters.sqlite import SqliteJournal
from runwright.core.callback_kinds import CallbackKind
from runwright.core.executor_names import ExecutorNames
from runwright.core.ids import Namespace
from runwright.core.kinds import EventKind
from runwright.core.principal import Role

from tests import builders as b
from tests.adapters.callback_hosts import SECRET, Host
from tests.runtime.watching import eventually
from tests.transport.conftest import Serve
from tests.transport.known import add_key, authenticator, bearer
from tests.transport.serving import CALL_SECONDS, Served, dialling, refused, registration, run_request

ID_RULE = "1 to 128 characters"


def register(served: Served, request: pb.RegisterCallbackRequest, key: str = "") -> Any:
    """A RegisterCallback."""
    metadata = bearer(key) if key else None
    return served.callbacks.RegisterCallback(request, timeout=CALL_SECONDS, metadata=metadata)


async def listed(served: Served, key: str = "", **fields: Any) -> pb.ListCallbacksResponse:
    """A ListCallbacks."""
    metadata = bearer(key) if key else None
    return await served.callbacks.ListCallbacks(
        pb.ListCallbacksRequest(**fields), timeout=CALL_SECONDS, metadata=metadata
    )


async def test_a_registration_comes_back_as_it_stands(served: Served) -> None:
    tls = pb.CallbackTls(server_name="tools.internal")
    answer = await register(served, registration(tools=["look", "see", "look"], tls=tls, lease=90))

    callback = answer.callback
    tool_executor = pb.CALLBACK_KIND_TOOL_EXECUTOR
    assert callback.spec == registration(tools=["look", "see"], tls=tls, kind=tool_executor).spec
    assert (callback.owner, callback.lease.seconds) == ("local", 90)
    assert callback.expires_at.ToMicroseconds() == served.bench.clock.now() + 90 * b.SECOND
    assert callback.health == pb.CALLBACK_HEALTH_UNKNOWN
    assert (await listed(served)).callbacks[0].spec == callback.spec


async def test_whoever_says_no_kind_registers_a_tool_executor(served: Served) -> None:
    silent = await register(served, registration())
    said = await register(served, registration(kind=pb.CALLBACK_KIND_TOOL_EXECUTOR))

    assert silent.callback.spec == said.callback.spec
    assert [line.event for line in served.bench.log.lines] == ["callback registered"], "the second was a renewal"
    assert served.bench.log.lines[0].fields["kind"] == "TOOL_EXECUTOR"


async def test_a_lease_has_a_default_and_a_longest(served: Served) -> None:
    leases = [
        (await register(served, registration(str(number), lease=lease))).callback.lease.seconds
        for number, lease in enumerate((None, 5, 10**9))
    ]

    assert leases == [60, 5, 3600]


BAD: dict[str, tuple[pb.RegisterCallbackRequest, str, str]] = {
    "nothing": (pb.RegisterCallbackRequest(), "spec", "set"),
    "no id": (registration(""), "spec.callback_id", ID_RULE),
    "a bad executor": (registration(executor="a b"), "spec.executor", ID_RULE),
    "no address": (registration(address=""), "spec.address", "host:port"),
    "no port": (registration(address="desk"), "spec.address", "host:port"),
    "port 0": (registration(address="desk:0"), "spec.address", "65535"),
    "a port too high": (registration(address="desk:65536"), "spec.address", "65535"),
    "a scheme": (registration(address="unix:///tmp/x:1"), "spec.address", "host:port"),
    "a user": (registration(address="user@desk:1"), "spec.address", "host:port"),
    "a bare IPv6": (registration(address="::1:80"), "spec.address", "brackets"),
    "an endless host": (registration(address="a" * 254 + ":1"), "spec.address", "host:port"),
    "a kind of a newer server": (
        registration(kind=7),
        "spec.kind",
        "a kind that this server takes: CALLBACK_KIND_TOOL_EXECUTOR",
    ),
    "a bad tool": (registration(tools=["look", "a b"]), "spec.tools[1]", "a tool's name"),
    "129 tools": (registration(tools=[f"t{n}" for n in range(129)]), "spec.tools", "at most 128"),
    "an endless CA": (registration(tls=pb.CallbackTls(ca_pem=b"x" * 65_537)), "spec.tls.ca_pem", "65536 bytes"),
    "a CA that is none": (registration(tls=pb.CallbackTls(ca_pem=b"x")), "spec.tls.ca_pem", "PEM"),
    "a bad server name": (registration(tls=pb.CallbackTls(server_name="a b")), "spec.tls.server_name", "host name"),
    "an endless credential": (registration(credential="x" * 4097), "credential", "4096"),
    "a credential of two lines": (registration(credential="a\nb"), "credential", "printable"),
    "a credential with a space": (registration(credential="Bearer x"), "credential", "without spaces"),
    "a lease too short": (registration(lease=4), "lease", "5 s to 3600 s"),
    "a negative lease": (
        pb.RegisterCallbackRequest(spec=registration().spec, lease=Duration(nanos=-1)),
        "lease",
        "0 to",
    ),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_field_is_named_with_its_rule_and_leaves_a_line(served: Served, name: str) -> None:
    request, field, rule = BAD[name]

    refusal = await refused(register(served, request))

    assert (refusal.code, refusal.info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert refusal.info.metadata["field"] == field
    assert rule in refusal.info.metadata["expected"]
    [line] = served.bench.log.lines
    assert (line.event, line.fields["reason"], line.fields["principal"]) == (
        "callback refused",
        "INVALID_REQUEST",
        "local",
    )
    assert (await listed(served)).callbacks == []


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"page_size": -1}, "page_size"),
        ({"page_size": 1001}, "page_size"),
        ({"page_token": "a b"}, "page_token"),
        ({"executor": "?"}, "executor"),
    ],
)
async def test_a_bad_list_is_named_too(served: Served, fields: dict[str, Any], field: str) -> None:
    refusal = await refused(served.callbacks.ListCallbacks(pb.ListCallbacksRequest(**fields), timeout=CALL_SECONDS))

    assert refusal.info.metadata["field"] == field


async def test_lists_come_in_pages(served: Served) -> None:
    for name in "cab":
        await register(served, registration(name))

    first = await listed(served, page_size=2)
    second = await listed(served, page_size=2, page_token=first.next_page_token)

    assert [each.spec.callback_id for each in (*first.callbacks, *second.callbacks)] == ["a", "b", "c"]
    assert (first.next_page_token, second.next_page_token) == ("b", "")


@pytest.mark.parametrize("role", Role)
async def test_roles(serve: Serve, tmp_path: Path, role: Role) -> None:
    key = add_key(tmp_path / "keys.json", role.value)
    served = await serve(authenticator=authenticator(tmp_path / "keys.json"))
    ending = pb.UnregisterCallbackRequest(callback_id="one")
    kinds = {Role.POLICY: pb.CALLBACK_KIND_POLICY, Role.DISPATCHER: pb.CALLBACK_KIND_APPROVAL_DISPATCHER}
    kind = kinds.get(role, pb.CALLBACK_KIND_UNSPECIFIED)
    calls = {
        "register": lambda: register(served, registration(kind=kind), key),
        "list": lambda: listed(served, key),
        "unregister": lambda: served.callbacks.UnregisterCallback(ending, timeout=CALL_SECONDS, metadata=bearer(key)),
    }

    allowed = set()
    for name, call in calls.items():
        try:
            await call()
            allowed.add(name)
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.PERMISSION_DENIED

    changes = {"register", "unregister"} if role in (*kinds, Role.EXECUTOR, Role.ADMIN) else set()
    lists = role not in (Role.AUTHOR, Role.APPROVER)
    assert allowed == changes | ({"list"} if lists else set())


@pytest.mark.parametrize(
    ("role", "kind"),
    [
        ("executor", pb.CALLBACK_KIND_POLICY),
        ("policy", 0),
        ("policy", pb.CALLBACK_KIND_APPROVAL_DISPATCHER),
        ("dispatcher", pb.CALLBACK_KIND_POLICY),
    ],
)
async def test_a_key_registers_what_its_role_is_for_and_nothing_else(
    serve: Serve, tmp_path: Path, role: str, kind: pb.CallbackKind.ValueType
) -> None:
    key = add_key(tmp_path / "keys.json", role)
    served = await serve(authenticator=authenticator(tmp_path / "keys.json"))

    refusal = await refused(register(served, registration(kind=kind), key))

    assert (refusal.code, refusal.info.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_MISSING")


async def test_namespaces_do_not_see_or_end_each_others(serve: Serve, tmp_path: Path) -> None:
    ours, theirs = (add_key(tmp_path / "keys.json", "executor", namespace) for namespace in ("team-a", "team-b"))
    served = await serve(authenticator=authenticator(tmp_path / "keys.json"))
    await register(served, registration(), ours)

    seen = await listed(served, theirs)
    ending = pb.UnregisterCallbackRequest(callback_id="one")
    absent = await refused(served.callbacks.UnregisterCallback(ending, timeout=CALL_SECONDS, metadata=bearer(theirs)))
    twin = await register(served, registration(address="127.0.0.1:2"), theirs)

    assert seen.callbacks == []
    assert absent.info.reason == "CALLBACK_NOT_FOUND"
    assert twin.callback.spec.address == "127.0.0.1:2"
    assert (await listed(served, ours)).callbacks[0].spec.address == "127.0.0.1:1"


async def test_a_run_is_served_by_its_own_namespace_alone(serve: Serve, tmp_path: Path) -> None:
    ours, theirs = Host(), Host()
    for host in (ours, theirs):
        await host.start()
    file = tmp_path / "keys.json"
    keys = {name: (add_key(file, "executor", name), add_key(file, "caller", name)) for name in ("team-a", "team-b")}
    bench = b.Bench(clock=SystemClock())
    bench.tools = dialling(bench)
    served = await serve(bench, authenticator=authenticator(file))
    await register(served, registration(address=f"127.0.0.1:{theirs.port}"), keys["team-b"][0])
    caller = bearer(keys["team-a"][1])
    await served.stub.StartRun(runtime_pb.StartRunRequest(run=run_request()), timeout=CALL_SECONDS, metadata=caller)
    waiting = await until(served, EventKind.RETRY_SCHEDULED, caller)

    await register(served, registration(address=f"127.0.0.1:{ours.port}"), keys["team-a"][0])
    ended = await served.stub.Wait(runtime_pb.WaitRequest(run_id="run-1"), timeout=CALL_SECONDS, metadata=caller)

    assert (waiting.status, ended.run.status) == (run_pb2.RUN_STATUS_WAITING, run_pb2.RUN_STATUS_COMPLETED)
    assert (len(ours.requested), len(theirs.requested)) == (1, 0)
    for host in (ours, theirs):
        await host.stop()


async def test_a_name_that_another_principal_holds_is_taken(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    ours, theirs = (add_key(file, "executor", name=name) for name in ("desk-host", "stranger"))
    served = await serve(authenticator=authenticator(file))
    await register(served, registration("one"), ours)

    refusal = await refused(register(served, registration("two", address="127.0.0.1:2"), theirs))

    assert (refusal.code, refusal.info.reason) == (grpc.StatusCode.PERMISSION_DENIED, "CALLBACK_TAKEN")
    assert refusal.info.metadata["executor"] == "tools"
    assert [each.owner for each in (await listed(served, ours)).callbacks] == ["desk-host"]


async def test_only_the_principals_that_the_operator_names_register_a_name(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    ours, theirs = (add_key(file, "executor", name=name) for name in ("desk-host", "stranger"))
    owners = {CallbackKind.TOOL_EXECUTOR: ExecutorNames({"tools": ("desk-host",)})}
    served = await serve(authenticator=authenticator(file), owners=owners)

    refusal = await refused(register(served, registration("first"), theirs))
    answer = await register(served, registration("second"), ours)

    assert refusal.info.reason == "CALLBACK_TAKEN"
    assert answer.callback.owner == "desk-host"


async def test_what_became_of_a_call_says_which_registration_had_it(serve: Serve) -> None:
    host, clock = Host(), SystemClock()
    await host.start()
    host.fails_with = grpc.StatusCode.ABORTED
    tools = (b.tool(max_attempts=2), b.writing_tool())
    script = (b.asks("look"), b.asks("write"), b.says("done"))
    packages = (b.package(*script, tools=tools, policy="builtin:allow-declared"),)
    bench = b.Bench(clock=clock, packages=packages)
    bench.tools = dialling(bench)
    served = await serve(bench)
    await register(served, registration("desk-7", address=f"127.0.0.1:{host.port}"))
    await served.start()

    waiting = await until(served, EventKind.TOOL_RECOVERY_REQUIRED, None)
    request = runtime_pb.ListEventsRequest(scope=runtime_pb.StreamScope(run_id="run-1"))
    bodies = [frame.event for frame in (await served.stub.ListEvents(request, timeout=CALL_SECONDS)).frames]

    who = run_pb2.ExecutorIdentity(callback_id="desk-7", principal="local", address=f"127.0.0.1:{host.port}")
    named = {
        (event.effect_id, body): getattr(event, body).executor_identity
        for event in bodies
        if (body := event.WhichOneof("body")) in ("retry_scheduled", "tool_failed", "tool_recovery_required")
        and getattr(event, body).reason != error_pb2.ERROR_REASON_EXECUTOR_UNAVAILABLE
    }
    assert named == {
        ("c1.1", "retry_scheduled"): who,
        ("c1.1", "tool_failed"): who,
        ("c2.1", "tool_recovery_required"): who,
    }
    assert [effect.executor_identity for effect in waiting.open_effects] == [who]
    await host.stop()


def revoke(file: Path, role: str) -> None:
    """Takes the keys of a role out of a keys file."""
    known = read_keys(file).keys
    write_keys(file, KeysFile(keys=tuple(entry for entry in known if Role(role) not in entry.roles)))


async def test_a_revoked_key_ends_its_registrations_and_nothing_more_is_sent_there(
    serve: Serve, tmp_path: Path
) -> None:
    host, file = Host(), tmp_path / "keys.json"
    await host.start()
    keys = {role: add_key(file, role) for role in ("executor", "caller", "admin")}
    bench = b.Bench(clock=SystemClock())
    bench.tools, bench.audit = dialling(bench), MemoryAudit(bench.clock)
    served = await serve(bench, authenticator=authenticator(file))
    await register(served, registration(address=f"127.0.0.1:{host.port}"), keys["executor"])
    [registered] = [one.callback for one in served.registry.page(Namespace("default"), limit=9)[0]]
    await eventually(lambda: served.dialer.callbacks.health(registered).kind.name == "HEALTHY")

    revoke(file, "executor")
    await eventually(lambda: not served.registry.page(Namespace("default"), limit=9)[0])
    caller = bearer(keys["caller"])
    await served.stub.StartRun(runtime_pb.StartRunRequest(run=run_request()), timeout=CALL_SECONDS, metadata=caller)
    waiting = await until(served, EventKind.RETRY_SCHEDULED, caller)
    seen = await served.stub.ListAuditEvents(
        runtime_pb.ListAuditEventsRequest(), timeout=CALL_SECONDS, metadata=bearer(keys["admin"])
    )

    assert (waiting.status, host.requested) == (run_pb2.RUN_STATUS_WAITING, [])
    assert (await listed(served, keys["caller"])).callbacks == []
    [entry] = [each for each in seen.events if each.kind == runtime_pb.AUDIT_KIND_CREDENTIAL_REVOKED]
    assert (entry.principal, list(entry.subjects)) == ("executor-default", ["one"])
    await host.stop()


async def test_a_start_does_not_open_what_a_revoked_key_registered(serve: Serve, tmp_path: Path) -> None:
    host, file = Host(), tmp_path / "keys.json"
    await host.start()
    executor, caller = add_key(file, "executor"), add_key(file, "caller")
    journal = SqliteJournal.open(tmp_path / "data")
    first = await serve(b.Bench(journal=journal), authenticator=authenticator(file))
    await register(first, registration(address=f"127.0.0.1:{host.port}", credential=SECRET, lease=600), executor)
    before = [each.credential for each in await journal.callbacks().load()]
    revoke(file, "executor")

    second = await serve(b.Bench(journal=journal), authenticator=authenticator(file))

    assert before == [SECRET]
    assert (await listed(second, caller)).callbacks == []
    assert second.dialer.counts()["registered"] == 0
    assert list(await journal.callbacks().load()) == []
    await host.stop()


async def until(served: Served, kind: EventKind, caller: Any) -> run_pb2.RunSnapshot:
    """The run once it has come so far."""
    request = runtime_pb.SubscribeRequest(scope=runtime_pb.StreamScope(run_id="run-1"))
    call = served.stub.Subscribe(request, timeout=CALL_SECONDS, metadata=caller)
    async for response in call:
        if any(frame.event.kind == kind.value for frame in response.frames):
            break
    call.cancel()
    request = runtime_pb.SnapshotRequest(run_id="run-1")
    return (await served.stub.Snapshot(request, timeout=CALL_SECONDS, metadata=caller)).run


async def test_the_credential_is_in_no_answer_error_list_or_log(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    served = await serve()
    answers = [
        await register(served, registration(credential=SECRET)),
        await register(served, registration(credential=SECRET, tools=["look"])),
        await listed(served),
    ]
    refusal = await refused(register(served, registration("two", credential=SECRET, address="8.8.8.8:1")))
    ending = pb.UnregisterCallbackRequest(callback_id="one")
    answers.append(await served.callbacks.UnregisterCallback(ending, timeout=CALL_SECONDS))

    message = "".join(MessageToJson(answer) for answer in answers) + refusal.text + str(refusal.info)
    lines = [json.dumps({"event": line.event, **line.fields}, default=str) for line in served.bench.log.lines]
    assert len(lines) == 4
    assert SECRET not in message + "".join(lines) + "".join(JsonFormatter().format(record) for record in caplog.records)


async def test_health_is_told_as_it_is_found(serve: Serve) -> None:
    bench = b.Bench(clock=SystemClock())
    served, host = await serve(bench), Host()
    await host.start()
    await register(served, registration("well", address=f"127.0.0.1:{host.port}"))
    await register(served, registration("ill", address="127.0.0.1:1"))
    [ill, well] = [one.callback for one in served.registry.page(Namespace("default"), limit=9)[0]]

    await eventually(lambda: served.dialer.callbacks.health(well).kind.name == "HEALTHY")
    await eventually(lambda: served.dialer.callbacks.health(ill).kind.name == "UNHEALTHY")
    found = (await listed(served)).callbacks

    assert [each.health for each in found] == [pb.CALLBACK_HEALTH_UNHEALTHY, pb.CALLBACK_HEALTH_HEALTHY]
    assert "127.0.0.1:1" in found[0].health_detail
    assert found[1].health_detail == ""
    await host.stop()


async def test_registrations_survive_with_the_journal(serve: Serve, tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    first = await serve(b.Bench(journal=journal))
    await register(first, registration(credential=SECRET, lease=600))

    second = await serve(b.Bench(journal=journal))
    found = (await listed(second)).callbacks

    assert [(each.spec.callback_id, each.lease.seconds) for each in found] == [("one", 600)]
    assert [each.credential for each in await journal.callbacks().load()] == [SECRET]


async def test_digests_come_back_by_tool_and_wrong_ones_are_named(served: Served) -> None:
    good = "sha256:" + "0" * 64
    digests = [pb.ToolDigest(tool=tool, schema_digest=good) for tool in ("see", "look")]
    answer = await register(served, registration(tools=["look", "see"], tool_digests=digests))

    assert [each.tool for each in answer.callback.spec.tool_digests] == ["look", "see"]
    for wrong, field in (
        ([("look", "sha256:ABC")], "spec.tool_digests[0].schema_digest"),
        ([("look", good), ("peek", good)], "spec.tool_digests[1].tool"),
        ([("look", good), ("look", good)], "spec.tool_digests[1].tool"),
        ([(f"t{number}", good) for number in range(129)], "spec.tool_digests"),
    ):
        entries = [pb.ToolDigest(tool=tool, schema_digest=digest) for tool, digest in wrong]
        refusal = await refused(register(served, registration(tools=["look"], tool_digests=entries)))
        assert (refusal.info.reason, refusal.info.metadata["field"]) == ("INVALID_REQUEST", field)
