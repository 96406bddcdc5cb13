"""Twenty thousand mutated bodies over all methods: only declared answers, and nothing of the inside."""

from __future__ import annotations

import asyncio
import random
import re

import grpc
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2
from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as callback_pb
from runwright._gen.runwright.v1 import package_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.transport.status import STATUS

from tests.transport.serving import CALL_SECONDS, Served, registration, run_request, scope, subscription

BODIES = 20_000
AT_ONCE = 16
SERVICE = "/runwright.v1.RuntimeService/"
CALLBACKS = "/runwright.callback.v1.CallbackRegistryService/"
DECLARED = set(STATUS.values()) | {grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND}
INSIDE = re.compile(r"Traceback|Error\b|Exception|<class|\.py\b|google\.protobuf|0x[0-9a-f]{6}")

GOOD = {
    SERVICE + "StartRun": pb.StartRunRequest(
        run=run_request(
            "",
            agent_id="helper",
            session_id="s",
            labels={"team": "blue"},
            budget=package_pb2.Budget(rounds=3),
            package=run_pb2.PackageSelector(package_id="p"),
        )
    ),
    SERVICE + "Cancel": pb.CancelRequest(run_id="run-1", reason="enough", grace=Duration(seconds=1)),
    SERVICE + "Snapshot": pb.SnapshotRequest(run_id="run-1"),
    SERVICE + "Wait": pb.WaitRequest(run_id="run-1", timeout=Duration(nanos=1000)),
    SERVICE + "Subscribe": subscription(view=pb.EVENT_VIEW_FULL),
    SERVICE + "ExportRun": pb.ExportRunRequest(run_id="run-1"),
    SERVICE + "ListEvents": pb.ListEventsRequest(scope=scope(), page_size=5, view=pb.EVENT_VIEW_SUMMARY),
    SERVICE + "GetServerInfo": pb.GetServerInfoRequest(),
    CALLBACKS + "RegisterCallback": registration(tools=["look"], lease=60, credential="tok"),
    CALLBACKS + "UnregisterCallback": callback_pb.UnregisterCallbackRequest(callback_id="one"),
    CALLBACKS + "ListCallbacks": callback_pb.ListCallbacksRequest(page_size=3, executor="tools"),
    "/grpc.health.v1.Health/Check": health_pb2.HealthCheckRequest(service="runwright.v1.RuntimeService"),
}


def mutated(body: bytes, seed: random.Random) -> bytes:
    """The body after one to four changes."""
    data = bytearray(body)
    for _ in range(seed.randint(1, 4)):
        at = seed.randint(0, len(data))
        match seed.randrange(5):
            case 0:
                data[at : at + 1] = bytes([seed.randrange(256)])
            case 1:
                data[at:at] = seed.randbytes(seed.randint(1, 8))
            case 2:
                del data[at : at + seed.randint(1, 8)]
            case 3:
                data += data[: seed.randint(0, 64)]
            case _:
                data[at:at] = b"\xff" * seed.randint(1, 10)
    return bytes(data)


async def answer(channel: grpc.aio.Channel, method: str, body: bytes) -> tuple[grpc.StatusCode, str]:
    """The status a body gets."""
    try:
        if method.endswith(("Subscribe", "ExportRun")):
            async for _ in channel.unary_stream(method)(body, timeout=CALL_SECONDS):
                pass
        else:
            await channel.unary_unary(method)(body, timeout=CALL_SECONDS)
    except grpc.aio.AioRpcError as failed:
        return failed.code(), failed.details() or ""
    return grpc.StatusCode.OK, ""


async def test_mutated_bodies_get_declared_answers_and_nothing_of_the_inside(served: Served) -> None:
    await served.ended()
    channel = served.channel()
    methods = sorted(GOOD)
    found: list[tuple[int, str, grpc.StatusCode, str]] = []

    async def send(numbers: range) -> None:
        for number in numbers:
            seed = random.Random(number)
            method = seed.choice(methods)
            code, told = await answer(channel, method, mutated(GOOD[method].SerializeToString(), seed))
            if code not in DECLARED or INSIDE.search(told):
                found.append((number, method, code, told))

    await asyncio.gather(*(send(range(first, BODIES, AT_ONCE)) for first in range(AT_ONCE)))

    assert found == []
    assert served.bench.log.incidents == set(), "no body is a fault of ours"
    assert (await answer(channel, SERVICE + "Snapshot", GOOD[SERVICE + "Snapshot"].SerializeToString()))[0] is (
        grpc.StatusCode.OK
    )
