"""The contract as a synchronous client sees it: every method of the service, health and reflection, from outside."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from runwright._gen.runwright.v1 import event_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright._gen.runwright.v1.runtime_service_pb2_grpc import RuntimeServiceStub
from runwright.runtime import AgentRuntime
from runwright.testing import FunctionTools, InProcessServer

from tests import builders as b
from tests.transport.serving import CALL_SECONDS, refusal_of, run_request, scope, subscription

SERVICE = "runwright.v1.RuntimeService"
AWAY = b.tool("wait", executor="away", unavailable_timeout_ms=60_000)
ALWAYS_AWAY = b.package(b.asks("wait"), b.says("never"), id="waiting", tools=(AWAY,))


# pytest-grpc's own server is replaced by the real one, on a thread; channel and stub stay the plugin's.
@pytest.fixture(scope="module")
def grpc_server() -> Iterator[InProcessServer]:
    """The server under test."""

    def make() -> AgentRuntime:
        tools = FunctionTools({"look": b.look, "wait": b.look}, unreachable={"away"})
        return b.real_time_bench(tools=tools).runtime(b.one_call_package(), ALWAYS_AWAY)

    with InProcessServer(make) as server:
        yield server


@pytest.fixture(scope="module")
def grpc_addr(grpc_server: InProcessServer) -> str:
    """Where it is."""
    return grpc_server.address


@pytest.fixture(scope="module")
def grpc_stub_cls() -> type[RuntimeServiceStub]:
    """How it is called."""
    return RuntimeServiceStub


def start(stub: Any, run_id: str, **fields: Any) -> pb.StartRunResponse:
    """Starts a run."""
    return stub.StartRun(pb.StartRunRequest(run=run_request(run_id, **fields)), timeout=CALL_SECONDS)


def wait(stub: Any, run_id: str) -> run_pb2.RunSnapshot:
    """The run, ended."""
    response = stub.Wait(pb.WaitRequest(run_id=run_id), timeout=CALL_SECONDS)
    assert response.done
    return response.run


def frames(stub: Any, run_id: str, **fields: Any) -> list[event_pb2.EventFrame]:
    """Everything Subscribe sends."""
    call = stub.Subscribe(subscription(run_id, **fields), timeout=CALL_SECONDS)
    return [frame for response in call for frame in response.frames]


def test_a_run_is_started_once_and_answers(grpc_stub: Any) -> None:
    first, second = start(grpc_stub, "once"), start(grpc_stub, "once")

    ended = wait(grpc_stub, "once")

    assert (first.created, second.created) == (True, False)
    assert first.run.run_id == second.run.run_id == "once"
    assert ended.status == run_pb2.RUN_STATUS_COMPLETED
    assert ended.result.text == 'found "a lamp"'
    assert ended.stop_reason == run_pb2.STOP_REASON_END_TURN


def test_a_snapshot_shows_the_run_as_it_ended(grpc_stub: Any) -> None:
    start(grpc_stub, "shown", labels={"team": "blue"}, session_id="s-1")
    ended = wait(grpc_stub, "shown")

    shown = grpc_stub.Snapshot(pb.SnapshotRequest(run_id="shown"), timeout=CALL_SECONDS).run

    assert shown == ended and shown.done
    assert (dict(shown.labels), shown.session_id) == ({"team": "blue"}, "s-1")
    assert re.fullmatch(r"t-[0-9a-f]{16}", shown.turn_id)
    assert (shown.usage.rounds, shown.usage.tool_calls) == (2, 1)
    assert shown.HasField("ended_at") and shown.last_cursor
    assert not shown.HasField("error") and not shown.open_effects and not shown.waiting_on


def test_a_stream_is_whole_and_can_be_resumed(grpc_stub: Any) -> None:
    start(grpc_stub, "streamed")

    everything = frames(grpc_stub, "streamed")
    rest = frames(grpc_stub, "streamed", after_cursor=everything[3].cursor)

    assert everything[0].bookmark.opening
    assert [frame.ends_run for frame in everything] == [False] * (len(everything) - 1) + [True]
    assert [frame.event.seq for frame in everything[1:]] == list(range(1, len(everything)))
    assert everything[-1].event.HasField("run_completed")
    assert rest[0].bookmark.opening and rest[0].cursor == everything[3].cursor
    assert rest[1:] == everything[4:]


def test_a_list_is_what_the_stream_was(grpc_stub: Any) -> None:
    start(grpc_stub, "listed")
    streamed = frames(grpc_stub, "listed")[1:]

    listed = grpc_stub.ListEvents(pb.ListEventsRequest(scope=scope("listed")), timeout=CALL_SECONDS)

    assert list(listed.frames) == streamed
    assert listed.next_page_token == streamed[-1].cursor


def test_a_waiting_run_says_so_and_can_be_cancelled(grpc_stub: Any) -> None:
    start(grpc_stub, "cancelled", package=run_pb2.PackageSelector(package_id="waiting"))
    call = grpc_stub.Subscribe(subscription("cancelled"), timeout=CALL_SECONDS)
    while not any(frame.event.HasField("retry_scheduled") for frame in next(call).frames):
        pass
    waited = grpc_stub.Wait(pb.WaitRequest(run_id="cancelled", timeout=Duration()), timeout=CALL_SECONDS)

    cancelled = grpc_stub.Cancel(pb.CancelRequest(run_id="cancelled", reason="enough"), timeout=CALL_SECONDS)

    assert (waited.done, waited.run.done, waited.run.status) == (False, False, run_pb2.RUN_STATUS_WAITING)
    assert [(wait.kind, wait.subject) for wait in waited.run.waiting_on] == [(run_pb2.WAIT_KIND_EXECUTOR, "away")]
    assert cancelled.barrier_seq > 0 and cancelled.run.cancellation_requested
    ended = wait(grpc_stub, "cancelled")
    assert ended.status == run_pb2.RUN_STATUS_CANCELLED
    assert "enough" in ended.error.message
    assert [frame.event for response in call for frame in response.frames][-1].HasField("run_cancelled")


def test_a_failed_call_says_why_to_a_synchronous_client_too(grpc_stub: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        grpc_stub.Snapshot(pb.SnapshotRequest(run_id="nobody"), timeout=CALL_SECONDS)

    refusal = refusal_of(caught.value)
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    assert (refusal.info.reason, dict(refusal.info.metadata)) == ("RUN_NOT_FOUND", {"run_id": "nobody"})


def test_the_server_describes_itself(grpc_stub: Any) -> None:
    info = grpc_stub.GetServerInfo(pb.GetServerInfoRequest(), timeout=CALL_SECONDS)

    assert info.version and info.incarnation
    assert list(info.providers) == ["scripted"]
    assert [(known.package.package_id, known.is_default) for known in info.packages] == [
        ("helper-package", True),
        ("waiting", False),
    ]
    assert info.limits["input_bytes"] == 65_536


@pytest.mark.parametrize("service", ["", SERVICE])
def test_health_is_told_overall_and_of_the_service(grpc_channel: Any, service: str) -> None:
    health = health_pb2_grpc.HealthStub(grpc_channel)
    request = health_pb2.HealthCheckRequest(service=service)

    checked = health.Check(request, timeout=CALL_SECONDS)
    watched = next(health.Watch(request, timeout=CALL_SECONDS))

    assert checked.status == watched.status == health_pb2.HealthCheckResponse.SERVING


def test_health_of_a_service_nobody_serves_is_not_found(grpc_channel: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        health_pb2_grpc.HealthStub(grpc_channel).Check(
            health_pb2.HealthCheckRequest(service="nobody"), timeout=CALL_SECONDS
        )

    assert caught.value.code() is grpc.StatusCode.NOT_FOUND  # type: ignore[attr-defined]


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_lists_what_is_served(grpc_channel: Any, version: str) -> None:
    ask = grpc_channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )

    [answer] = ask(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=CALL_SECONDS)

    names = {service.name for service in answer.list_services_response.service}
    assert names == {
        SERVICE,
        "runwright.v1.ApprovalService",
        "runwright.v1.PackageService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
