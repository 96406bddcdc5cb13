"""Readers: one of fifty never reads what it is sent; what the others notice of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Any

import grpc
from runwright._gen.runwright.v1 import event_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb

from bench.calls import SERVICE, channel, start_run, stream, unary
from bench.children import running
from bench.executor import executing
from bench.figures import Figure, Goal, quantile, ratios
from bench.parts import Installation, install, one_call
from bench.rounds import interleaved

CEILING = "the same server, runs and readers, all of which read"
READERS = 50
RUNS, RUNS_PER_SECOND = 60, 20
# The smallest window there is: what is not read fills it after some hundred events.
_NARROW = (("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0))
P99 = Goal("F1", f"one frozen reader of {READERS}: the others' p99 ÷ without it", "×", 2, 1.2)
_WANTED = pb.SubscribeRequest(scope=pb.StreamScope(all=pb.AllRuns()), live_only=True).SerializeToString()


async def measure(directory: Path) -> Sequence[Figure]:
    """20 tool-calling runs a second, followed by 49 readers that read and one that reads or does not."""
    installed = install(directory, one_call())
    async with (
        executing() as executor,
        running(directory, *installed.serve(executor.address)) as server,
        channel(server.addresses["runwright"]) as product,
    ):
        address = server.addresses["runwright"]
        found = await interleaved(
            "Readers",
            {
                "all read": lambda: _round(product, installed, address, is_frozen=False),
                "one is frozen": lambda: _round(product, installed, address, is_frozen=True),
            },
        )
    ours, best = found["one is frozen"], found["all read"]
    return [Figure(P99, ratios(ours, best), f"{median(ours):.2f} ms, {median(best):.2f} ms without")]


async def _round(product: grpc.aio.Channel, installed: Installation, address: str, *, is_frozen: bool) -> float:
    """The p99 of the 49, in milliseconds."""
    async with AsyncExitStack() as open_ones:
        own = grpc.aio.insecure_channel(address, options=list(_NARROW))
        open_ones.push_async_callback(own.close)
        last = stream(own, SERVICE + "Subscribe", _WANTED, installed)
        others = [stream(product, SERVICE + "Subscribe", _WANTED, installed) for _ in range(READERS - 1)]
        for following in (last, *others):
            open_ones.callback(following.cancel)
            await following.read()  # the opening bookmark
        reading = [asyncio.create_task(_latencies(following)) for following in others]
        beside = None if is_frozen else asyncio.create_task(_latencies(last))
        start = unary(product, SERVICE + "StartRun", installed)
        for _ in range(RUNS):
            await start(start_run("one-call"))
            await asyncio.sleep(1 / RUNS_PER_SECOND)
        each = [latency for latencies in await asyncio.gather(*reading) for latency in latencies]
        if beside is not None:
            await beside
    return quantile(each, 0.99)


async def _latencies(following: Any) -> list[float]:
    """Milliseconds from each event's own time to its arrival, until every run has completed."""
    found: list[float] = []
    missing = RUNS
    while missing and (message := await following.read()) is not grpc.aio.EOF:
        at = time.time_ns()
        for frame in pb.SubscribeResponse.FromString(message).frames:
            if frame.HasField("event"):
                found.append((at - frame.event.time.ToNanoseconds()) / 1e6)
                missing -= frame.event.kind == event_pb2.EVENT_KIND_RUN_COMPLETED
    return found
