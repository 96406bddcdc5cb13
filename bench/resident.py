"""What a server with many runs that wait costs: memory and CPU, beside the same server without them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import psutil
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb

from bench.calls import SERVICE, channel, start_run, timed, unary
from bench.children import Child, running
from bench.parts import Installation

WORKERS = 32
WARM_RUNS = 200  # on the empty server, before it is looked at
SETTLED_SECONDS = 6  # drivers stay a moment, and freed memory goes back a moment later


@asynccontextmanager
async def served(
    directory: Path, installed: Installation, executor: str = ""
) -> AsyncIterator[tuple[Child, grpc.aio.Channel]]:
    """A server once health says SERVING, which is when every open run is in hand, and a channel to it."""
    async with running(directory, *installed.serve(executor)) as server, channel(server.addresses["runwright"]) as to:
        health = health_pb2.HealthCheckResponse.FromString(await unary(to, "/grpc.health.v1.Health/Check")(b""))
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        yield server, to


async def finished(to: grpc.aio.Channel, installed: Installation) -> None:
    """Has runs of the package `ready` end: what a server allocates once is there afterwards."""
    start, wait = unary(to, SERVICE + "StartRun", installed), unary(to, SERVICE + "Wait", installed)

    async def one() -> None:
        run = pb.StartRunResponse.FromString(await start(start_run("ready"))).run
        await wait(pb.WaitRequest(run_id=run.run_id, timeout=Duration(seconds=30)).SerializeToString())

    await timed(one, number=WARM_RUNS, workers=WORKERS)


async def resident(server: Child) -> int:
    """Bytes, once nothing goes on any more."""
    await asyncio.sleep(SETTLED_SECONDS)
    return int(psutil.Process(server.process.pid).memory_info().rss)


def used(server: Child) -> float:
    """Seconds of CPU so far."""
    times = psutil.Process(server.process.pid).cpu_times()
    return times.user + times.system


def mib(size: int) -> str:
    """Bytes in words."""
    return f"{size / 2**20:.1f} MiB"
