"""Twenty thousand mutated bodies over all methods: only declared answers, and nothing of the inside."""

from __future__ import annotations

import asyncio
import random
import re

import grpc
from runwright.transport.status import STATUS

from tests.transport.bodies import GOOD, SERVICE, STREAMING, methods, mutated
from tests.transport.serving import CALL_SECONDS, Served

BODIES = 20_000
ENDLESS = ("WatchApprovals",)
AT_ONCE = 16
DECLARED = set(STATUS.values()) | {grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND}
INSIDE = re.compile(r"Traceback|Error\b|Exception|<class|\.py\b|google\.protobuf|0x[0-9a-f]{6}")


async def answer(channel: grpc.aio.Channel, method: str, body: bytes) -> tuple[grpc.StatusCode, str]:
    """The status a body gets."""
    try:
        if method.endswith(STREAMING):
            call = channel.unary_stream(method)(body, timeout=CALL_SECONDS)
            async for _ in call:
                if method.endswith(ENDLESS):
                    call.cancel()
                    break
        else:
            await channel.unary_unary(method)(body, timeout=CALL_SECONDS)
    except grpc.aio.AioRpcError as failed:
        return failed.code(), failed.details() or ""
    return grpc.StatusCode.OK, ""


def test_every_method_has_a_body() -> None:
    served = {f"/{method.containing_service.full_name}/{method.name}" for method in methods()}

    assert served <= GOOD.keys()


async def test_mutated_bodies_get_declared_answers_and_nothing_of_the_inside(served: Served) -> None:
    await served.ended()
    channel = served.channel()
    paths = sorted(GOOD)
    found: list[tuple[int, str, grpc.StatusCode, str]] = []

    async def send(numbers: range) -> None:
        for number in numbers:
            seed = random.Random(number)
            method = seed.choice(paths)
            code, message = await answer(channel, method, mutated(GOOD[method].SerializeToString(), seed))
            if code not in DECLARED or INSIDE.search(message):
                found.append((number, method, code, message))

    await asyncio.gather(*(send(range(first, BODIES, AT_ONCE)) for first in range(AT_ONCE)))

    assert found == []
    assert served.bench.log.incidents == set(), "no body is a fault of ours"
    assert (await answer(channel, SERVICE + "Snapshot", GOOD[SERVICE + "Snapshot"].SerializeToString()))[0] is (
        grpc.StatusCode.OK
    )
