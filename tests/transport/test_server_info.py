"""GetServerInfo tells the whole package: whoever computes its fingerprint gets the one the server uses."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
import pytest
from runwright._gen.runwright.v1 import approval_service_pb2 as approval_pb
from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright._gen.runwright.v1.approval_service_pb2_grpc import ApprovalServiceStub
from runwright._gen.runwright.v1.runtime_service_pb2_grpc import RuntimeServiceStub
from runwright.core.package import RuntimePackage
from runwright.core.principal import Role
from runwright.wire.packages import to_package

from tests import builders as b
from tests.e2e.tools import GRPCURL, ran
from tests.transport.conftest import Serve
from tests.transport.known import add_key, authenticator, bearer, keys_for
from tests.transport.serving import CALL_SECONDS, Served, refused, run_request, scope

GET_SERVER_INFO = "runwright.v1.RuntimeService/GetServerInfo"
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "minimum": -5}, "ä": {"enum": [1.5, None]}}}
FULL = b.package(
    b.says("hi"),
    id="full",
    agent={"id": "full-agent", "name": "Füll", "instructions": "Line one.\nLine two. \u2028"},
    policy="builtin:read-only",
    budget={"rounds": 3, "tool_calls": 0, "parallel_calls": 2},
    tools=(
        b.tool("z", description="Last.", timeout_ms=1, unavailable_timeout_ms=2, max_attempts=7),
        b.tool("a", parameters=SCHEMA, effect="network", idempotent=True),
        b.tool("p", effect="process"),
        b.writing_tool("w", executor="other"),
    ),
)


async def info(served: Served) -> pb.GetServerInfoResponse:
    """What the server says of itself."""
    response: pb.GetServerInfoResponse = await served.stub.GetServerInfo(
        pb.GetServerInfoRequest(), timeout=CALL_SECONDS
    )
    return response


async def test_a_package_comes_back_with_the_same_fingerprint(serve: Serve) -> None:
    served = await serve(b.Bench(packages=(b.one_call_package(), FULL)))

    message = (await info(served)).packages

    for known, package in zip(message, (b.one_call_package(), FULL), strict=True):
        assert to_package(known.package) == package
        assert to_package(known.package).fingerprint() == known.fingerprint == package.fingerprint()


async def test_a_run_says_the_fingerprint_that_was_told(serve: Serve) -> None:
    served = await serve(b.Bench(packages=(b.one_call_package(), FULL)))
    [_, full] = (await info(served)).packages

    run = await served.start(package=run_pb2.PackageSelector(fingerprint=full.fingerprint))

    assert (run.package_id, run.package_fingerprint) == ("full", full.fingerprint)


@pytest.mark.parametrize(("role", "starts_runs"), [(role, role in (Role.CALLER, Role.ADMIN)) for role in Role])
async def test_instructions_are_shown_to_roles_that_start_runs(
    serve: Serve, tmp_path: Path, role: Role, starts_runs: bool
) -> None:
    [key], known = keys_for(tmp_path, role.value)
    served = await serve(b.Bench(packages=(FULL,)), authenticator=known)
    requested = pb.GetServerInfoRequest()

    message = await served.stub.GetServerInfo(requested, timeout=CALL_SECONDS, metadata=bearer(key))

    [shown] = message.packages
    assert (shown.package.agent.instructions == FULL.agent.instructions) is starts_runs
    assert ("Line one" in str(message)) is starts_runs
    assert shown.instructions_hidden is not starts_runs
    assert (shown.package.package_id, shown.fingerprint) == ("full", FULL.fingerprint())


def large(number: int) -> RuntimePackage:
    """A package of some 60 KB."""
    return b.package(b.says("hi"), id=f"package-{number}", agent={"id": "a", "name": "A", "instructions": "x" * 60_000})


async def test_many_packages_come_in_pages_that_a_client_with_default_limits_takes(serve: Serve) -> None:
    packages = tuple(large(number) for number in range(80))
    served = await serve(b.Bench(packages=packages))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{served.port}") as channel:
        seen: list[pb.PackageInfo] = []
        token = ""
        while True:
            request = pb.GetServerInfoRequest(page_token=token)
            page = await RuntimeServiceStub(channel).GetServerInfo(request, timeout=CALL_SECONDS)
            assert 0 < page.ByteSize() < 1_200_000
            seen += page.packages
            token = page.next_page_token
            if not token:
                break

    assert [info.package.package_id for info in seen] == [package.id for package in packages]
    assert [info.is_default for info in seen] == [True] + [False] * 79


async def test_many_packages_do_not_break_a_tool_that_takes_4_mib(serve: Serve) -> None:
    packages = tuple(large(number) for number in range(80))
    served = await serve(b.Bench(packages=packages))
    seen: list[str] = []
    token = ""
    while token or not seen:
        body = ("-d", json.dumps({"page_token": token}))
        answer = await ran(GRPCURL, "-plaintext", *body, f"127.0.0.1:{served.port}", GET_SERVER_INFO)
        (page,) = answer.messages()
        seen += [known["package"]["package_id"] for known in page["packages"]]
        token = page.get("next_page_token", "")

    assert seen == [package.id for package in packages]


SECRET = b.package(b.says("hi"), id="secret", agent={"id": "spy", "name": "Spy", "instructions": "Tell nobody."})


async def namespaces(serve: Serve, folder: Path) -> tuple[Served, dict[str, str]]:
    """A server with a package for everybody and one of two namespaces, and a key of each namespace."""
    keys = {name: add_key(folder / "keys.json", "caller", name) for name in ("team-a", "team-b", "team-c")}
    bench = b.Bench(packages=(SECRET, FULL), package_namespaces={"secret": ("team-a", "team-b")})
    return await serve(bench, authenticator=authenticator(folder / "keys.json")), keys


async def test_a_caller_sees_the_packages_of_its_namespace_and_no_other(serve: Serve, tmp_path: Path) -> None:
    served, keys = await namespaces(serve, tmp_path)

    seen, shown = {}, {}
    for name, key in keys.items():
        info = await served.stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=CALL_SECONDS, metadata=bearer(key))
        seen[name] = [(known.package.package_id, known.is_default) for known in info.packages]
        shown[name] = str(info)

    assert seen == {
        "team-a": [("secret", True), ("full", False)],
        "team-b": [("secret", True), ("full", False)],
        "team-c": [("full", True)],
    }
    assert "secret" not in shown["team-c"] and SECRET.fingerprint() not in shown["team-c"]


@pytest.mark.parametrize(
    "selector", [{"package_id": "secret"}, {"package_id": "secre"}, {"fingerprint": SECRET.fingerprint()}], ids=str
)
async def test_a_package_of_other_namespaces_is_not_there(
    serve: Serve, tmp_path: Path, selector: dict[str, str]
) -> None:
    served, keys = await namespaces(serve, tmp_path)
    request = pb.StartRunRequest(run=run_request(package=run_pb2.PackageSelector(**selector)))

    refusal = await refused(served.stub.StartRun(request, timeout=CALL_SECONDS, metadata=bearer(keys["team-c"])))

    assert (refusal.code, refusal.info.reason) == (grpc.StatusCode.NOT_FOUND, "PACKAGE_NOT_FOUND")
    assert "Did you mean" not in refusal.error.remedy


async def test_a_run_gets_the_default_package_of_its_namespace(serve: Serve, tmp_path: Path) -> None:
    served, keys = await namespaces(serve, tmp_path)
    request = pb.StartRunRequest(run=run_request())

    started = {
        name: (await served.stub.StartRun(request, timeout=CALL_SECONDS, metadata=bearer(key))).run.package_id
        for name, key in keys.items()
    }

    assert started == {"team-a": "secret", "team-b": "secret", "team-c": "full"}


async def test_an_agent_of_another_namespaces_package_is_not_named(serve: Serve, tmp_path: Path) -> None:
    served, keys = await namespaces(serve, tmp_path)
    request = pb.StartRunRequest(run=run_request(agent_id="spy"))

    refusal = await refused(served.stub.StartRun(request, timeout=CALL_SECONDS, metadata=bearer(keys["team-c"])))

    assert refusal.info.reason == "AGENT_MISMATCH"
    assert "secret" not in str(refusal.error)


async def test_a_page_of_another_namespaces_package_cannot_be_asked_for(serve: Serve, tmp_path: Path) -> None:
    served, keys = await namespaces(serve, tmp_path)
    request = pb.GetServerInfoRequest(page_token="secret")

    refusal = await refused(served.stub.GetServerInfo(request, timeout=CALL_SECONDS, metadata=bearer(keys["team-c"])))

    assert refusal.info.metadata["field"] == "page_token"


async def test_pages_of_packages_hold_as_many_as_asked_for(serve: Serve) -> None:
    served = await serve(b.Bench(packages=(b.one_call_package(), FULL)))
    ask = served.stub.GetServerInfo

    first = await ask(pb.GetServerInfoRequest(page_size=1), timeout=CALL_SECONDS)
    second = await ask(pb.GetServerInfoRequest(page_size=1, page_token=first.next_page_token), timeout=CALL_SECONDS)
    unknown = await refused(ask(pb.GetServerInfoRequest(page_token="nobody"), timeout=CALL_SECONDS))
    endless = await refused(ask(pb.GetServerInfoRequest(page_size=1_001), timeout=CALL_SECONDS))

    assert [len(page.packages) for page in (first, second)] == [1, 1]
    assert [info.package.package_id for info in second.packages] == ["full"]
    assert second.next_page_token == ""
    assert unknown.info.metadata["field"] == "page_token"
    assert endless.info.metadata["field"] == "page_size"


async def test_the_incarnation_is_the_journals(served: Served) -> None:
    assert (await info(served)).incarnation == served.bench.journal.incarnation


async def test_the_limits_that_are_told_are_those_that_hold(served: Served) -> None:
    limits = (await info(served)).limits

    at_the_limit = run_pb2.RunRequest(
        run_id="run-1",
        input=[run_pb2.RunRequest().input.add(text="x" * (limits["input_bytes"] // limits["input_parts"]))]
        * limits["input_parts"],
        labels={f"l{number}": "x" * limits["label_bytes"] for number in range(limits["labels"])},
    )
    answer = await served.stub.StartRun(pb.StartRunRequest(run=at_the_limit), timeout=CALL_SECONDS)

    assert answer.created
    assert set(limits) == {
        "input_parts",
        "input_bytes",
        "image_bytes",
        "images_bytes",
        "id_length",
        "labels",
        "label_bytes",
        "filter_entries",
        "message_bytes",
        "start_message_bytes",
        "batch_decide_message_bytes",
        "metadata_bytes",
        "inline_content_bytes",
        "tool_result_bytes",
        "model_request_bytes",
        "model_request_image_bytes",
        "run_conversation_memory_bytes",
        "conversation_memory_bytes",
        "batch_frames",
        "batch_bytes",
        "page_size",
        "page_bytes",
        "cancel_grace_seconds",
        "cancel_reason_bytes",
        "wait_seconds",
        "stall_seconds",
        "streams_per_connection",
        "connection_age_seconds",
        "min_ping_interval_seconds",
        "request_seconds",
        "large_request_seconds",
        "idle_seconds",
        "connections",
        *(f"{scope}_calls" for scope in ("principal", "address", "server")),
        *(f"{scope}_requests" for scope in ("connection", "principal", "address", "server")),
        *(f"{scope}_request_bytes" for scope in ("connection", "principal", "address", "server")),
        *(f"{scope}_answer_bytes" for scope in ("connection", "principal", "address", "server")),
        "health_watches",
        "health_watches_per_address",
        "reflection_streams_per_principal",
        "exports",
        "exports_per_principal",
    }


async def test_a_batch_of_decisions_is_as_large_as_told_whatever_each_may_have(served: Served) -> None:
    most = (await info(served)).limits["batch_decide_message_bytes"]
    approvals = ApprovalServiceStub(served.channel())
    batch = approval_pb.BatchDecideRequest(decisions=[approval_pb.DecisionRequest(approval_id="run-1/a1.1.1")])
    batch.decisions[0].arguments_json = b"x" * (4 * 1024 * 1024)
    batch.decisions[0].arguments_json += b"x" * (most - batch.ByteSize())
    fits = batch.ByteSize()
    answer = await approvals.BatchDecide(batch, timeout=CALL_SECONDS)
    batch.decisions[0].arguments_json += b"x"

    refusal = await refused(approvals.BatchDecide(batch, timeout=CALL_SECONDS))

    assert fits == most
    assert answer.results[0].HasField("error")
    assert refusal.info.reason == "INVALID_REQUEST"
    assert f"at most {most} bytes, not {most + 1}" in refusal.text


async def test_ids_pages_reasons_and_messages_are_limited_as_told(served: Served) -> None:
    limits = (await info(served)).limits
    longest = "x" * limits["id_length"]
    await served.ended(longest)

    page = pb.ListEventsRequest(scope=scope(longest), page_size=limits["page_size"])
    cancel = pb.CancelRequest(run_id=longest, reason="x" * limits["cancel_reason_bytes"])
    assert (await served.stub.ListEvents(page, timeout=CALL_SECONDS)).frames
    assert not (await served.stub.Cancel(cancel, timeout=CALL_SECONDS)).barrier_seq

    page.page_size += 1
    cancel.reason += "x"
    fat = pb.SnapshotRequest(run_id="x" * limits["message_bytes"])
    fatter = pb.SnapshotRequest(run_id="x" * limits["start_message_bytes"])
    refusals = [
        await refused(served.stub.StartRun(pb.StartRunRequest(run=run_request(longest + "x")))),
        await refused(served.stub.ListEvents(page)),
        await refused(served.stub.Cancel(cancel)),
        await refused(served.stub.Snapshot(fat)),
    ]
    assert [refusal.info.reason for refusal in refusals] == ["INVALID_REQUEST"] * 4
    with pytest.raises(grpc.aio.AioRpcError) as too_large:
        await served.stub.Snapshot(fatter, timeout=CALL_SECONDS)
    assert too_large.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
