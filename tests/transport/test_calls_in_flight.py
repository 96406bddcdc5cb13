"""Peers that send half and read nothing take up a bounded part of the server, and the others are served beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from runwright._gen.runwright.v1 import content_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright._gen.runwright.v1.runtime_service_pb2_grpc import RuntimeServiceStub
from runwright.testing import FunctionTools
from runwright.transport.calls import CallTimes, address_of
from runwright.transport.connections import MAX_START_BYTES, ConnectionLimits
from runwright.transport.usage import ADDRESS, CONNECTION, FEW_CALLS, MIB, PAGE_BYTES

from tests import builders as b
from tests.runtime.watching import eventually
from tests.transport.conftest import Serve
from tests.transport.known import add_key, authenticator, bearer
from tests.transport.raw_http2 import RawConnection, Stream, message, raw_connection
from tests.transport.serving import CALL_SECONDS, SERVICE, Served, refused, run_request
from tests.transport.slow_reader import LONG, talkative

WATCH, CHECK = "/grpc.health.v1.Health/Watch", "/grpc.health.v1.Health/Check"
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
INVALID = grpc.StatusCode.INVALID_ARGUMENT.value[0]
SNAPSHOT_BYTES = 60_000
PATIENT = CallTimes(request=60.0, stall=60.0)
ROOM = CONNECTION.request_bytes // MAX_START_BYTES  # for requests that may be as large as any
LARGE_PAGE = pb.ListEventsRequest(scope=pb.StreamScope(run_id="run-1"), view=pb.EVENT_VIEW_FULL, page_size=1000)


def half(connection: RawConnection, path: str = SERVICE + "StartRun", announced: int = 1000) -> Stream:
    """A call with the beginning of a request."""
    stream = connection.call(path)
    connection.send(stream, message(b"x" * 10, announced=announced))
    return stream


def large(size: int = 5 * MIB) -> pb.StartRunRequest:
    """A start that shows an image."""
    image = content_pb2.InputData(media_type="image/png", data=b.PIXEL + bytes(size - len(b.PIXEL)))
    return pb.StartRunRequest(run=run_request(input=[content_pb2.InputPart(data=image)]))


async def check(served: Served) -> int:
    """A health check on a connection of its own."""
    stub = health_pb2_grpc.HealthStub(served.channel())
    return int((await stub.Check(health_pb2.HealthCheckRequest(), timeout=CALL_SECONDS)).status)


class Pages:
    """Counts how many pages of events are made."""

    def __init__(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made = 0
        listed = served.runtime.list_selected

        async def counted(*requested: Any, **more: Any) -> Any:
            self.made += 1
            return await listed(*requested, **more)

        monkeypatch.setattr(served.runtime, "list_selected", counted)


@pytest.fixture
async def much(serve: Serve) -> AsyncIterator[Served]:
    """A server with a run of several pages."""
    served = await serve(b.Bench(tools=talkative(), packages=(LONG,)), times=PATIENT)
    await served.ended()
    yield served


async def test_a_stranger_is_refused_before_a_byte_of_the_request_is_there(serve: Serve, tmp_path: Path) -> None:
    add_key(tmp_path / "keys.json", "caller")
    served = await serve(authenticator=authenticator(tmp_path / "keys.json"))
    async with raw_connection(served.port) as connection:
        calls = [connection.call(SERVICE + "StartRun", *bearer("rwk_0_0")) for _ in range(50)]

        statuses = {await connection.ended(call) for call in calls}

    assert statuses == {grpc.StatusCode.UNAUTHENTICATED.value[0]}


async def test_a_request_that_stays_half_is_ended_and_the_connection_goes_on(serve: Serve) -> None:
    served = await serve(times=CallTimes(request=0.1))
    async with raw_connection(served.port) as connection:
        calls = [half(connection, path) for path in (SERVICE + "StartRun", SERVICE + "Subscribe", CHECK, WATCH)]

        statuses = {await connection.ended(call) for call in calls}
        after = connection.call(CHECK, body=message(b""))

        assert statuses == {INVALID}
        assert await connection.ended(after) == 0


async def test_a_reflection_stream_that_asks_nothing_is_ended(serve: Serve) -> None:
    served = await serve(times=CallTimes(idle=0.1))
    async with raw_connection(served.port) as connection:
        call = connection.call("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")

        assert await connection.ended(call) == INVALID


async def test_half_requests_beyond_the_limit_make_room_for_whole_ones(serve: Serve) -> None:
    served = await serve(times=PATIENT)
    async with raw_connection(served.port) as connection:
        halves = [half(connection) for _ in range(CONNECTION.requests + 10)]
        request = pb.StartRunRequest(run=run_request()).SerializeToString()
        whole = connection.call(SERVICE + "StartRun", body=message(request))

        assert await connection.ended(whole) == 0, "long before a request's time is over"
        ended = [call.status for call in halves if call.is_ended]
        assert set(ended) == {EXHAUSTED}


async def test_requests_that_may_be_large_are_few_and_the_others_are_ended(serve: Serve) -> None:
    served = await serve(times=PATIENT)
    async with raw_connection(served.port) as connection:
        halves = [half(connection, announced=20 * MIB) for _ in range(CONNECTION.requests)]

        await connection.until(lambda: sum(call.is_ended for call in halves) == len(halves) - ROOM)
        beside = await refused(served.stub.StartRun(large(8 * MIB), timeout=CALL_SECONDS))
        small = await served.start("run-2")

        assert {call.status for call in halves if call.is_ended} == {EXHAUSTED}
        assert sum(not call.is_ended for call in halves) == ROOM, "a photo on a slow way has its time"
        assert served.server._server.calls._server.request_bytes == ROOM * MAX_START_BYTES
        assert (beside.info.reason, beside.info.metadata["limit"]) == ("TOO_MANY_CALLS", "principal_request_bytes")
        assert small.run_id == "run-2"
    await eventually(lambda: served.server._server.calls._server.request_bytes == 0)
    assert (await served.stub.StartRun(large(), timeout=CALL_SECONDS)).created
    await eventually(lambda: served.server._server.calls._server.request_bytes == 0)


async def test_a_large_request_that_comes_slowly_is_taken(serve: Serve) -> None:
    served = await serve(times=CallTimes(request=0.5, small_request=0.25))
    body = message(large().SerializeToString())
    usage = served.server._server.calls._server
    async with raw_connection(served.port) as connection:
        call = connection.call(SERVICE + "StartRun")
        sent = connection.send(call, body)
        await eventually(lambda: usage.request_bytes > 0)
        await connection.send_all(call, body[sent:])
        connection.send(call, b"", end=True)

        assert await connection.ended(call) == 0
        await eventually(lambda: usage.request_bytes == 0)


async def test_a_stranger_has_nothing_large_to_say(serve: Serve) -> None:
    served = await serve(times=PATIENT)
    async with raw_connection(served.port) as connection:
        halves = [half(connection, CHECK, announced=20 * MIB) for _ in range(ADDRESS.requests)]

        assert {await connection.ended(call) for call in halves} == {INVALID}
        assert served.server._server.calls._server.request_bytes == 0


async def test_half_requests_without_a_key_do_not_keep_a_probe_from_its_answer(serve: Serve) -> None:
    served = await serve(times=PATIENT)
    async with raw_connection(served.port) as connection:
        for _ in range(ADDRESS.requests + 4):
            half(connection, CHECK)
        await connection.sent()

        assert await check(served) == health_pb2.HealthCheckResponse.SERVING


async def test_pages_that_nobody_reads_are_not_all_made(much: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = Pages(much, monkeypatch)
    requested = message(LARGE_PAGE.SerializeToString())
    async with raw_connection(much.port, window=0) as connection:
        for _ in range(100):
            connection.call(SERVICE + "ListEvents", body=requested)
        await eventually(lambda: pages.made >= CONNECTION.answer_bytes // PAGE_BYTES)
        beside = await much.stub.ListEvents(LARGE_PAGE, timeout=CALL_SECONDS)
        snapshot = await much.stub.Snapshot(pb.SnapshotRequest(run_id="run-1"), timeout=CALL_SECONDS)
        await connection.sent()

        assert pages.made <= CONNECTION.answer_bytes // PAGE_BYTES + 3, "pages weigh a little less than they may"
        assert beside.frames and snapshot.run.done


async def test_everything_is_free_again_once_a_connection_is_gone(much: Served) -> None:
    requested = message(LARGE_PAGE.SerializeToString())
    async with raw_connection(much.port, window=0) as connection:
        for _ in range(40):
            connection.call(SERVICE + "ListEvents", body=requested)
            half(connection)
            connection.call(WATCH, body=message(b""))
        await connection.sent()
        await eventually(lambda: much.server.open_calls > 0)

    await eventually(lambda: much.server.open_calls == 0)
    server = much.server._server.calls._server
    assert (server.calls, server.requests.used, server.answers.used) == (0, 0, 0)
    assert not +server.calls_by_method


async def test_an_answer_that_is_large_and_finds_no_room_is_refused(serve: Serve) -> None:
    """A snapshot says how large it is only once it is there."""
    says = b.package({"text": "x" * SNAPSHOT_BYTES})
    served = await serve(b.Bench(packages=(says,), tools=FunctionTools({})), times=PATIENT)
    await served.ended()
    requested = message(pb.SnapshotRequest(run_id="run-1").SerializeToString())
    async with raw_connection(served.port, window=0) as connection:
        fits = CONNECTION.answer_bytes // SNAPSHOT_BYTES
        calls = [connection.call(SERVICE + "Snapshot", body=requested) for _ in range(fits + 5)]

        await connection.until(lambda: sum(call.is_ended for call in calls) >= 5)

        refusals = [call for call in calls if call.is_ended]
        assert {call.status for call in refusals} == {EXHAUSTED}
        beside = await served.stub.Snapshot(pb.SnapshotRequest(run_id="run-1"), timeout=CALL_SECONDS)
        assert beside.run.result.ref.size == SNAPSHOT_BYTES


async def test_watchers_without_a_key_are_few(serve: Serve) -> None:
    served = await serve(times=PATIENT)
    most = (await served.stub.GetServerInfo(pb.GetServerInfoRequest())).limits["health_watches_per_address"]
    stub = health_pb2_grpc.HealthStub(served.channel())
    async with raw_connection(served.port, window=0) as connection:
        for _ in range(most):
            connection.call(WATCH, body=message(b""))
        await connection.sent()
        await eventually(lambda: served.server.open_calls == most)

        refusal = await refused(stub.Watch(health_pb2.HealthCheckRequest(), timeout=CALL_SECONDS))

        assert refusal.info.reason == "TOO_MANY_CALLS"
        assert refusal.info.metadata["retry_after"] == "1s"
        assert await check(served) == health_pb2.HealthCheckResponse.SERVING
    await eventually(lambda: served.server.open_calls == 0)
    watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=CALL_SECONDS)
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()


async def test_a_watcher_that_does_not_read_is_let_go_and_still_counted(serve: Serve) -> None:
    served = await serve(times=CallTimes(stall=0.1))
    async with raw_connection(served.port, window=0) as connection:
        connection.call(WATCH, body=message(b""))
        await connection.sent()
        calls = served.server._server.calls
        await eventually(lambda: served.server.open_calls == 1)
        [call] = next(each for each in calls.open_by_owner.values() if each)

        await eventually(lambda: not call.is_served)

        assert served.server.open_calls == 1, "what gRPC still holds for it is not forgotten"
    await eventually(lambda: served.server.open_calls == 0)


@pytest.mark.parametrize(
    ("peer", "counted"),
    [
        ("ipv4:10.0.0.1:5000", "10.0.0.1"),
        ("ipv6:%5B::1%5D:5000", "::/64"),
        ("ipv6:%5B2001:db8:0:1::17%5D:5000", "2001:db8:0:1::/64"),
        ("ipv6:%5Bfe80::1%25eth0%5D:5000", "fe80::/64"),
        ("ipv6:%5B::ffff:10.0.0.1%5D:5000", "10.0.0.1"),
        ("unix:/tmp/socket", "unix"),
    ],
)
def test_who_has_many_addresses_counts_once(peer: str, counted: str) -> None:
    assert address_of(peer) == counted


async def test_the_last_quarter_of_a_principals_calls_is_for_connections_with_few(serve: Serve) -> None:
    limit = 4 * FEW_CALLS
    served = await serve(b.Bench(), times=PATIENT, connections=ConnectionLimits(principal_calls=limit))
    await served.start()
    one, other = (RuntimeServiceStub(served.channel()) for _ in range(2))
    everything = pb.SubscribeRequest(scope=pb.StreamScope(all=pb.AllRuns()))
    streams = [one.Subscribe(everything) for _ in range(limit * 3 // 4)]
    for stream in streams:
        await stream.read()

    refusal = await refused(one.Subscribe(everything, timeout=CALL_SECONDS))
    beside = [other.Subscribe(everything) for _ in range(FEW_CALLS)]
    for stream in beside:
        await stream.read()
    last = await refused(other.Subscribe(everything, timeout=CALL_SECONDS))

    assert {each.info.metadata["limit"] for each in (refusal, last)} == {"principal_calls"}
    for stream in (*streams, *beside):
        stream.cancel()
