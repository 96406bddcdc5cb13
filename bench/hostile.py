"""Hostile: 20,000 mutated bodies over every method; how long a health check takes meanwhile."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from bench.calls import channel, unary
from bench.children import running
from bench.figures import Figure, Goal, quantile
from bench.parts import Installation, install, one_call
from bench.rounds import say
from tests.transport.bodies import GOOD, STREAMING, mutated
from tests.transport.test_mutated_bodies import AT_ONCE, BODIES

CEILING = "none: the bounds are those of a health check, in milliseconds"
HEALTH = "/grpc.health.v1.Health/Check"
EVERY_SECONDS = 0.005
CALL_SECONDS = 10.0
MOST = Goal("H1", f"health during {BODIES} mutated bodies, p99", "ms", 250, 50)
LONGEST = Goal("H1", "the longest of these: the loop never stood longer", "ms", 250, 100)


async def measure(directory: Path) -> Sequence[Figure]:
    """The bodies are those of the test that holds every answer to the declared codes."""
    installed = install(directory, one_call())
    async with (
        running(directory, *installed.serve()) as server,
        channel(server.addresses["runwright"]) as attacking,
        channel(server.addresses["runwright"]) as asking,
    ):
        check = unary(asking, HEALTH)
        request = health_pb2.HealthCheckRequest().SerializeToString()
        attacks = asyncio.gather(*(_send(attacking, installed, range(n, BODIES, AT_ONCE)) for n in range(AT_ONCE)))
        each: list[float] = []
        began = time.perf_counter()
        while not attacks.done():
            requested = time.perf_counter()
            await check(request)
            each.append((time.perf_counter() - requested) * 1000)
            await asyncio.sleep(EVERY_SECONDS)
        await attacks
    seconds = time.perf_counter() - began
    say(f"  {len(each)} health checks in {seconds:.1f} s")
    detail = f"{len(each)} checks beside {BODIES / seconds:,.0f} bodies/s"
    return [Figure(MOST, [quantile(each, 0.99)], detail), Figure(LONGEST, [max(each)], detail)]


async def _send(to: Any, installed: Installation, numbers: range) -> None:
    methods = sorted(GOOD)
    for number in numbers:
        seed = random.Random(number)
        method = seed.choice(methods)
        body = mutated(GOOD[method].SerializeToString(), seed)
        try:
            if method.endswith(STREAMING):
                async for _ in to.unary_stream(method)(body, timeout=CALL_SECONDS, metadata=installed.metadata):
                    pass
            else:
                await to.unary_unary(method)(body, timeout=CALL_SECONDS, metadata=installed.metadata)
        except grpc.aio.AioRpcError:
            pass  # which codes may come is the test's business
