"""Storm: everything hostile at once beside ordinary runs; whether these notice, what it costs, and how a stop goes."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import psutil
from grpc_health.v1 import health_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb

from bench.calls import SERVICE, channel, of_run, start_and_wait, start_run, unary
from bench.children import Child, running
from bench.executor import executing
from bench.figures import Figure, Goal, quantile
from bench.http2_peer import Http2Peer
from bench.parts import EXECUTOR, Installation, Spec, asks, install, one_call, package, tool
from bench.rounds import say

CEILING = "none: the bounds are those of a health check, of memory, of the ordinary runs and of a stop"
HEALTH = "/grpc.health.v1.Health/"
SECONDS = 30
RUNS_PER_SECOND = 20
GRACE = 2
PEERS = 50  # connections of each kind that do not read, or do not finish what they say
HALF_BYTES = 4 * 1024 * 1024 - 1
LATENCY = Goal("S1", "health in a storm, p99", "ms", 100, 50)
MEMORY = Goal("S2", "resident memory above that before the storm", "MiB", 200, 100)
COMPLETED = Goal("S3", "ordinary runs that completed", "%", 100, 100, more_is_better=True)
STOP = Goal("S4", "SIGTERM to the end, beyond the grace", "s", 1, 0.5)


def _nested(levels: int) -> Spec:
    """Arguments that an `anyOf` of and/or lists has to try both ways, at every level."""
    condition: Spec = {"field": "a"}
    for _ in range(levels):
        condition = {"and": [condition]}
    return condition


def _searches(arguments: Spec) -> Spec:
    """A scripted answer with these arguments; as text, because a package file may not be nested so deeply."""
    return {"calls": [{"tool": "search", "arguments_json": json.dumps(arguments)}]}


def _hostile() -> list[Spec]:
    """Packages whose model says what is expensive to look at."""
    condition = {"$ref": "#/$defs/filter"}
    listed = {"type": "array", "items": condition}
    both = {"and": listed, "or": listed}
    ways: list[Spec] = [
        {"type": "object", "properties": {"and": listed}, "required": ["and"]},
        {"type": "object", "properties": both, "required": ["and"]},
        {"type": "object", "properties": both, "required": ["or"]},
        {"type": "object", "properties": {"field": {"type": "integer"}}, "required": ["field"]},
    ]
    where = {"where": condition}
    filters = {"type": "object", "properties": where, "$defs": {"filter": {"anyOf": ways}}}
    search = {"name": "search", "effect": "read", "executor": EXECUTOR, "parameters": filters}
    deep, wide = _searches({"where": _nested(50)}), _searches({"where": {"and": [{"field": "a"}] * 10_000}})
    many = asks(*["look"] * 2_000)
    done = {"text": "Done."}
    return [
        package("deep", [deep, deep, done], search),
        package("wide", [wide, wide, done], search),
        package("many", [many, many, done], tool("look")),
    ]


async def measure(directory: Path) -> Sequence[Figure]:
    """Half a minute of storm, then SIGTERM with all of it still there."""
    hostile = _hostile()
    installed = install(directory, one_call(), *hostile)
    async with (
        executing() as executor,
        running(directory, *installed.serve(executor.address), "--grace", str(GRACE)) as server,
        channel(server.addresses["runwright"]) as calling,
        channel(server.addresses["runwright"]) as asking,
    ):
        seen = await start_and_wait(calling, installed, "one-call")
        process = psutil.Process(server.process.pid)
        before = process.memory_info().rss
        async with _peers(server, installed, seen) as said:
            latencies, most, (completed, started) = await _weather(process, calling, asking, installed, hostile)
            over = await _stop(server)
        grown = (most - before) / 2**20
        detail = f"{len(latencies)} checks, {said}, {RUNS_PER_SECOND} runs/s for {SECONDS} s"
        return [
            Figure(LATENCY, [1000 * quantile(latencies, 0.99)], f"{detail}; longest {1000 * max(latencies):.0f} ms"),
            Figure(MEMORY, [grown], f"{before / 2**20:.0f} MiB before"),
            Figure(COMPLETED, [100 * completed / started], f"{completed} of {started}"),
            Figure(STOP, [over], f"grace {GRACE} s"),
        ]


async def _weather(
    process: psutil.Process, calling: Any, asking: Any, installed: Installation, hostile: Sequence[Spec]
) -> tuple[list[float], int, tuple[int, int]]:
    """Latencies of health, the most memory, and how many ordinary runs completed of those that were started."""
    check = unary(asking, HEALTH + "Check")
    request = health_pb2.HealthCheckRequest().SerializeToString()
    latencies: list[float] = []
    most, began = 0, time.perf_counter()
    ordinary: list[asyncio.Task[str]] = []
    attacks: list[asyncio.Task[None]] = []
    while (passed := time.perf_counter() - began) < SECONDS:
        while len(ordinary) < passed * RUNS_PER_SECOND:
            ordinary.append(asyncio.create_task(start_and_wait(calling, installed, "one-call")))
        while len(attacks) < passed:
            chosen = hostile[len(attacks) % len(hostile)]["id"]
            attacks.append(asyncio.create_task(_attack(calling, installed, chosen)))
        requested = time.perf_counter()
        await check(request)
        latencies.append(time.perf_counter() - requested)
        most = max(most, process.memory_info().rss)
        await asyncio.sleep(0.02)
    ends = await asyncio.gather(*ordinary, return_exceptions=True)
    failed = [end for end in ends if isinstance(end, BaseException)]
    for error in failed[:3]:
        say(f"  an ordinary run: {error!r}")
    await asyncio.gather(*attacks, return_exceptions=True)
    return latencies, max(most, process.memory_info().rss), (len(ends) - len(failed), len(ends))


async def _attack(calling: Any, installed: Installation, package_id: str) -> None:
    with suppress(grpc.aio.AioRpcError):
        await unary(calling, SERVICE + "StartRun", installed)(start_run(package_id))


@asynccontextmanager
async def _peers(server: Child, installed: Installation, run_id: str) -> AsyncIterator[str]:
    """Connections that watch health, stream, list and send, and neither read nor finish."""
    address = server.addresses["runwright"]
    listing = pb.ListEventsRequest(view=pb.EVENT_VIEW_FULL)
    listing.scope.all.SetInParent()
    listed, watched = listing.SerializeToString(), health_pb2.HealthCheckRequest().SerializeToString()
    async with AsyncExitStack() as closing:
        for _ in range(PEERS):
            watching, reading, sending = [await Http2Peer.connect(address) for _ in range(3)]
            for peer in (watching, reading, sending):
                closing.push_async_callback(peer.close)
            for _ in range(4):
                watching.open(HEALTH + "Watch", watched)
                reading.open(SERVICE + "Subscribe", of_run(run_id), installed.metadata)
                reading.open(SERVICE + "ListEvents", listed, installed.metadata)
                sending.open(SERVICE + "StartRun", bytes(32_768), announced=HALF_BYTES)
        yield f"{3 * PEERS} connections that do not read or finish"


async def _stop(server: Child) -> float:
    """Seconds from SIGTERM to the end of the process, beyond the grace."""
    began = time.perf_counter()
    server.process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(GRACE + 20):
            await server.process.communicate()
    except TimeoutError:
        say("  the server had not ended 20 s after its grace")
    return max(0.0, time.perf_counter() - began - GRACE)
