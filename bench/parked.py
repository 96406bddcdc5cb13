"""Parked: 10,000 runs that wait for an executor that is not there: what each costs, and what a restart costs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import grpc
from runwright._gen.runwright.v1 import run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb

from bench.calls import SERVICE, start_run, timed, unary
from bench.children import Child
from bench.figures import Figure, Goal
from bench.parts import Installation, asks, install, package, tool
from bench.resident import WORKERS, finished, mib, resident, served, used
from bench.rounds import say

CEILING = "none: the bounds are absolute, beside the same server with an empty journal"
RUNS = 10_000
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
    async with served(directory, empty) as (server, to):
        cold = server.started
        await finished(to, empty)
        base = await resident(server)
    async with served(directory, full) as (server, to):
        await finished(to, full)
        say(f"  W: starting {RUNS:,} runs")
        start = unary(to, SERVICE + "StartRun", full)
        await timed(lambda: start(start_run("waiting")), number=RUNS, workers=WORKERS)
        first = await resident(server)
    say("  W: restarting")
    async with served(directory, full) as (server, to):
        restart, spent = server.started, used(server)
        again = await resident(server)
        idle = await _idle(server)
        waits = await _waiting(to, full)
    if waits != RUNS:
        raise RuntimeError(f"{waits} runs wait")
    return [
        Figure(MEMORY, [(first - base) / 1024 / RUNS], f"{mib(first)}, empty {mib(base)}"),
        Figure(AGAIN, [(again - base) / 1024 / RUNS], f"{mib(again)}, empty {mib(base)}"),
        Figure(RESTART, [restart], f"{spent:.2f} s of CPU; {cold:.2f} s without runs"),
        Figure(IDLE, [idle], f"over {IDLE_SECONDS} s"),
    ]


async def _idle(server: Child) -> float:
    """Per cent of a processor."""
    before, began = used(server), time.perf_counter()
    await asyncio.sleep(IDLE_SECONDS)
    return 100 * (used(server) - before) / (time.perf_counter() - began)


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
