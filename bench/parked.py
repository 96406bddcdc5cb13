"""Parked: 10,000 runs that wait for an executor that is not there: what each costs, and what a restart costs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import psutil
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2
from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb

from bench.calls import SERVICE, channel, start_run, timed, unary
from bench.children import Child, running
from bench.figures import Figure, Goal
from bench.parts import Installation, asks, install, package, tool
from bench.rounds import say

CEILING = "none: the bounds are absolute, beside the same server with an empty journal"
RUNS = 10_000
WORKERS = 32
WARM_RUNS = 200  # on the empty server, before it is looked at
SETTLED_SECONDS = 6  # drivers stay a moment, and freed memory goes back a moment later
IDLE_SECONDS = 10
MEMORY = Goal("W1", "memory of a run that waits, beyond the empty server", "KiB", 4, 3)
AGAIN = Goal("W2", "the same after a restart", "KiB", 4, 3)
RESTART = Goal("W3", "restart to SERVING with all of them", "s", 2, 1.5)
IDLE = Goal("W4", "CPU of the idle server with all of them", "%", 2, 1)


async def measure(directory: Path) -> Sequence[Figure]:
    """Two servers of the same packages, one of which gets the runs; it is stopped in good order and started again."""
    missing = {**tool("look"), "executor": "absent", "unavailable_timeout_ms": 24 * 3600 * 1000}
    waiting = package("waiting", [asks("look"), {"text": "Found {results}."}], missing)
    ready = package("ready", [{"text": "Done."}])
    empty, full = (install(directory, waiting, ready, name=name) for name in ("empty", "full"))
    async with _served(directory, empty) as (server, to):
        cold = server.started
        await _finished(to, empty)
        base = await _resident(server)
    async with _served(directory, full) as (server, to):
        await _finished(to, full)
        say(f"  W: starting {RUNS:,} runs")
        start = unary(to, SERVICE + "StartRun", full)
        await timed(lambda: start(start_run("waiting")), number=RUNS, workers=WORKERS)
        first = await _resident(server)
    say("  W: restarting")
    async with _served(directory, full) as (server, to):
        restart, used = server.started, _used(server)
        again = await _resident(server)
        idle = await _idle(server)
        waits = await _waiting(to, full)
    if waits != RUNS:
        raise RuntimeError(f"{waits} runs wait")
    return [
        Figure(MEMORY, [(first - base) / 1024 / RUNS], f"{_mib(first)}, empty {_mib(base)}"),
        Figure(AGAIN, [(again - base) / 1024 / RUNS], f"{_mib(again)}, empty {_mib(base)}"),
        Figure(RESTART, [restart], f"{used:.2f} s of CPU; {cold:.2f} s without runs"),
        Figure(IDLE, [idle], f"over {IDLE_SECONDS} s"),
    ]


@asynccontextmanager
async def _served(directory: Path, installed: Installation) -> AsyncIterator[tuple[Child, grpc.aio.Channel]]:
    async with running(directory, *installed.serve()) as server, channel(server.addresses["runwright"]) as to:
        health = health_pb2.HealthCheckResponse.FromString(await unary(to, "/grpc.health.v1.Health/Check")(b""))
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        yield server, to


async def _finished(to: grpc.aio.Channel, installed: Installation) -> None:
    """Runs that end: what a server allocates once is there afterwards."""
    start, wait = unary(to, SERVICE + "StartRun", installed), unary(to, SERVICE + "Wait", installed)

    async def finished() -> None:
        run = pb.StartRunResponse.FromString(await start(start_run("ready"))).run
        await wait(pb.WaitRequest(run_id=run.run_id, timeout=Duration(seconds=30)).SerializeToString())

    await timed(finished, number=WARM_RUNS, workers=WORKERS)


async def _resident(server: Child) -> int:
    """Bytes, once nothing goes on any more."""
    await asyncio.sleep(SETTLED_SECONDS)
    return int(psutil.Process(server.process.pid).memory_info().rss)


async def _idle(server: Child) -> float:
    """Per cent of a processor."""
    before, began = _used(server), time.perf_counter()
    await asyncio.sleep(IDLE_SECONDS)
    return 100 * (_used(server) - before) / (time.perf_counter() - began)


def _used(server: Child) -> float:
    """Seconds of CPU so far."""
    times = psutil.Process(server.process.pid).cpu_times()
    return times.user + times.system


async def _waiting(to: grpc.aio.Channel, installed: Installation) -> int:
    """How many runs wait, by the lists of the server."""
    listed, token = 0, ""
    while True:
        only = pb.RunFilter(statuses=[run_pb2.RUN_STATUS_WAITING])
        requested = pb.ListRunsRequest(filter=only, page_size=1000, page_token=token)
        page = pb.ListRunsResponse.FromString(
            await unary(to, SERVICE + "ListRuns", installed)(requested.SerializeToString())
        )
        listed, token = listed + len(page.runs), page.next_page_token
        if not token:
            return listed


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
