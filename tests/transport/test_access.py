"""Who may call what: keys, roles, namespaces, revocation."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.adapters.keys import KeysFile, read_keys, write_keys
from runwright.core.principal import Role
from runwright.ports.access import Credentials
from runwright.testing import FunctionTools

from tests.builders import Bench
from tests.runtime.parts import HeldTool
from tests.transport.conftest import Serve
from tests.transport.known import add_key, authenticator, bearer
from tests.transport.serving import CALL_SECONDS, Served, refused, run_request, scope, subscription

OWN, OTHER = "team-a", "team-b"


def calls_of(served: Served, run_id: str, **options: Any) -> dict[str, Any]:
    """Every call that names a run."""
    stub = served.stub
    return {
        "Snapshot": stub.Snapshot(pb.SnapshotRequest(run_id=run_id), timeout=CALL_SECONDS, **options),
        "Cancel": stub.Cancel(pb.CancelRequest(run_id=run_id), timeout=CALL_SECONDS, **options),
        "Wait": stub.Wait(pb.WaitRequest(run_id=run_id), timeout=CALL_SECONDS, **options),
        "Subscribe": stub.Subscribe(subscription(run_id), timeout=CALL_SECONDS, **options),
        "ExportRun": stub.ExportRun(pb.ExportRunRequest(run_id=run_id), timeout=CALL_SECONDS, **options),
        "ListEvents": stub.ListEvents(pb.ListEventsRequest(scope=scope(run_id)), timeout=CALL_SECONDS, **options),
    }


async def start(served: Served, key: str, run_id: str = "run-1") -> pb.StartRunResponse:
    request = pb.StartRunRequest(run=run_request(run_id))
    return await served.stub.StartRun(request, timeout=CALL_SECONDS, metadata=bearer(key))


@pytest.mark.parametrize("credential", [(), bearer("rwk_0_0"), bearer(""), (("authorization", "Basic abc"),)])
async def test_a_stranger_gets_nothing(serve: Serve, tmp_path: Path, credential: Any) -> None:
    add_key(tmp_path / "keys.json", "caller")
    served = await serve(authenticator=authenticator(tmp_path / "keys.json"))

    refusals = [await refused(call) for call in calls_of(served, "run-1", metadata=credential).values()]

    assert {refusal.code for refusal in refusals} == {grpc.StatusCode.UNAUTHENTICATED}


async def test_health_needs_no_key_and_reflection_does(serve: Serve, tmp_path: Path) -> None:
    add_key(tmp_path / "keys.json", "caller")
    served = await serve(authenticator=authenticator(tmp_path / "keys.json"))
    channel = served.channel()

    health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=CALL_SECONDS)
    method = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in method(iter([b""]), timeout=CALL_SECONDS):
            pass

    assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(("role", "may_start"), [(role.value, role in (Role.CALLER, Role.ADMIN)) for role in Role])
async def test_only_callers_and_admins_start_runs(serve: Serve, tmp_path: Path, role: str, may_start: bool) -> None:
    key = add_key(tmp_path / "keys.json", role)
    served = await serve(authenticator=authenticator(tmp_path / "keys.json"))

    if may_start:
        assert (await start(served, key)).created
    else:
        request = pb.StartRunRequest(run=run_request())
        refusal = await refused(served.stub.StartRun(request, timeout=CALL_SECONDS, metadata=bearer(key)))
        assert refusal.code is grpc.StatusCode.PERMISSION_DENIED
        assert refusal.info.metadata["role"] == "caller"


async def test_another_namespaces_run_is_not_there(serve: Serve, tmp_path: Path) -> None:
    own, other = (add_key(tmp_path / "keys.json", "caller", namespace) for namespace in (OWN, OTHER))
    served = await serve(authenticator=authenticator(tmp_path / "keys.json"))
    await start(served, own)
    waited = await served.stub.Wait(pb.WaitRequest(run_id="run-1"), timeout=CALL_SECONDS, metadata=bearer(own))

    refusals = [await refused(call) for call in calls_of(served, "run-1", metadata=bearer(other)).values()]
    absent = [await refused(call) for call in calls_of(served, "nowhere", metadata=bearer(other)).values()]
    twin = await start(served, other)

    assert [(each.code, each.info.reason) for each in refusals] == [(each.code, each.info.reason) for each in absent]
    assert {refusal.info.reason for refusal in refusals} == {"RUN_NOT_FOUND"}
    assert twin.created, "the same id in another namespace is another run"
    assert waited.run.last_cursor != twin.run.last_cursor


async def test_a_cursor_of_another_namespace_is_refused(serve: Serve, tmp_path: Path) -> None:
    own, other = (add_key(tmp_path / "keys.json", "caller", namespace) for namespace in (OWN, OTHER))
    served = await serve(authenticator=authenticator(tmp_path / "keys.json"))
    cursors = [(await start(served, key)).run.last_cursor for key in (own, other)]

    request = pb.ListEventsRequest(scope=scope(), page_token=cursors[0])
    refusal = await refused(served.stub.ListEvents(request, timeout=CALL_SECONDS, metadata=bearer(other)))

    assert refusal.info.reason == "CURSOR_SCOPE_MISMATCH"


async def test_the_principal_is_on_record(serve: Serve, tmp_path: Path) -> None:
    key = add_key(tmp_path / "keys.json", "caller", OWN)
    served = await serve(authenticator=authenticator(tmp_path / "keys.json"))
    await start(served, key)

    request = pb.ListEventsRequest(scope=scope())
    page = await served.stub.ListEvents(request, timeout=CALL_SECONDS, metadata=bearer(key))

    assert {frame.event.principal for frame in page.frames} == {f"caller-{OWN}"}
    assert page.frames[0].event.run_started.namespace == OWN


async def test_a_stream_ends_when_its_key_is_revoked_and_others_go_on(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "keys.json"
    tool = HeldTool()
    key, retained = add_key(file, "caller"), add_key(file, "observer")
    served = await serve(Bench(tools=FunctionTools({"look": tool})), authenticator=authenticator(file))
    await start(served, key)
    await tool.begun.wait()
    streams = [served.stub.Subscribe(subscription(), metadata=bearer(each)) for each in (key, retained)]
    for stream in streams:
        await stream.read()

    write_keys(file, KeysFile(keys=read_keys(file).keys[1:]))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        while await streams[0].read() is not grpc.aio.EOF:
            pass
    tool.let_go.set()
    while await streams[1].read() is not grpc.aio.EOF:
        pass

    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert await streams[1].code() is grpc.StatusCode.OK


async def test_a_wait_ends_when_its_key_is_revoked_and_others_go_on(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "keys.json"
    tool = HeldTool()
    key, retained = add_key(file, "caller"), add_key(file, "observer")
    known = authenticator(file)
    served = await serve(Bench(tools=FunctionTools({"look": tool})), authenticator=known)
    await start(served, key)
    await tool.begun.wait()
    requested: asyncio.Queue[Credentials] = asyncio.Queue()
    authenticate = known.authenticate
    monkeypatch.setattr(known, "authenticate", lambda value: (authenticate(value), requested.put_nowait(value))[0])
    waits = [
        served.stub.Wait(pb.WaitRequest(run_id="run-1"), timeout=CALL_SECONDS, metadata=bearer(each))
        for each in (key, retained)
    ]
    for _ in waits:
        await requested.get()

    write_keys(file, KeysFile(keys=read_keys(file).keys[1:]))
    refusal = await refused(waits[0])
    tool.let_go.set()

    assert refusal.code is grpc.StatusCode.UNAUTHENTICATED
    assert (await waits[1]).done


async def test_an_expired_key_is_no_key(serve: Serve, tmp_path: Path) -> None:
    key = add_key(tmp_path / "keys.json", "caller", expires_at=1)
    served = await serve(authenticator=authenticator(tmp_path / "keys.json"))

    refusals = [await refused(call) for call in calls_of(served, "run-1", metadata=bearer(key)).values()]

    assert {refusal.code for refusal in refusals} == {grpc.StatusCode.UNAUTHENTICATED}


async def test_a_keys_file_that_turns_bad_keeps_the_last_good_one(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    key = add_key(file, "caller")
    bench = Bench()
    served = await serve(bench, authenticator=authenticator(file, bench.log))

    file.write_text("{")
    await asyncio.sleep(0)

    assert (await start(served, key)).created
    assert any("keys file cannot be used" in line.event for line in bench.log.lines)


async def test_streams_and_lists_over_many_runs_stay_in_their_namespace(serve: Serve, tmp_path: Path) -> None:
    own, other = (add_key(tmp_path / "keys.json", "caller", namespace) for namespace in (OWN, OTHER))
    served = await serve(authenticator=authenticator(tmp_path / "keys.json"))
    for key, run_id in ((own, "run-1"), (other, "run-2")):
        await start(served, key, run_id)
        await served.stub.Wait(pb.WaitRequest(run_id=run_id), timeout=CALL_SECONDS, metadata=bearer(key))

    every = pb.ListEventsRequest(scope=pb.StreamScope(all={}))
    pages = [await served.stub.ListEvents(every, timeout=CALL_SECONDS, metadata=bearer(key)) for key in (own, other)]
    lists = [
        await served.stub.ListRuns(pb.ListRunsRequest(), timeout=CALL_SECONDS, metadata=bearer(key))
        for key in (own, other)
    ]

    assert [{frame.event.run_id for frame in page.frames} for page in pages] == [{"run-1"}, {"run-2"}]
    assert [[run.run_id for run in listed.runs] for listed in lists] == [["run-1"], ["run-2"]]
