"""P4: from the making of an event to the client that has it, beside a raw hop and one commit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import apsw
import grpc
from runwright._gen.runwright.v1 import event_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb

from bench.calls import RAW, SERVICE, Unary, channel, start_run, stream, unary
from bench.children import running
from bench.executor import executing
from bench.figures import Figure, Goal, quantile, ratios
from bench.parts import install, one_call
from bench.raw_server import HOP, WRITTEN
from bench.rounds import interleaved

CEILING = "a raw grpc.aio stream at the pace of the commits, plus one FULL commit of a row of 500 bytes"
RUNS, RUNS_PER_SECOND = 120, 40
HALF = Goal("P4", "event latency ÷ (hop + commit), p50", "×", 3, 2)
MOST = Goal("P4", "event latency ÷ (hop + commit), p99", "×", 8, 4)


async def measure(directory: Path) -> Sequence[Figure]:
    """40 tool-calling runs a second, all followed by one stream that was opened before."""
    installed = install(directory, one_call())
    disk = _Disk(directory / "ceiling.db")
    async with (
        executing() as executor,
        running(directory, *installed.serve(executor.address)) as server,
        running(directory, "-m", "bench.raw_server", announces=("raw",)) as bare,
        channel(server.addresses["runwright"]) as product,
        channel(bare.addresses["raw"]) as raw,
    ):
        start = unary(product, SERVICE + "StartRun", installed)

        async def ours() -> tuple[float, float]:
            wanted = pb.SubscribeRequest(scope=pb.StreamScope(all=pb.AllRuns()), live_only=True).SerializeToString()
            following = stream(product, SERVICE + "Subscribe", wanted, installed)
            await following.read()
            arrived = asyncio.create_task(_arrivals(following))
            calls = []
            for _ in range(RUNS):
                calls.append(asyncio.create_task(_started(start)))
                await asyncio.sleep(1 / RUNS_PER_SECOND)
            await asyncio.gather(*calls)
            each = await arrived
            following.cancel()
            return quantile(each, 0.5), quantile(each, 0.99)

        async def ceiling() -> tuple[float, float]:
            hops = []
            async for message in stream(raw, RAW + "Hop", HOP.pack(240, 1 / (4 * RUNS_PER_SECOND))):
                hops.append(time.time_ns() - WRITTEN.unpack(message)[0])
            each = disk.commits(240)
            half, most = ((quantile(hops, share) + quantile(each, share)) / 1e6 for share in (0.5, 0.99))
            return half, most

        found = await interleaved("P4", {"ours": ours, "ceiling": ceiling})
    disk.close()
    figures = []
    for goal, index in ((HALF, 0), (MOST, 1)):
        our, best = ([pair[index] for pair in found[side]] for side in ("ours", "ceiling"))
        figures.append(Figure(goal, ratios(our, best), f"{median(our):.2f} ms, hop + commit {median(best):.2f} ms"))
    return figures


async def _started(start: Unary) -> None:
    await start(start_run("one-call"))


async def _arrivals(following: Any) -> list[float]:
    """Milliseconds from each event's own time to its arrival, until every run has completed."""
    arrived: list[tuple[int, bytes]] = []
    missing = RUNS
    while (message := await following.read()) is not grpc.aio.EOF:
        arrived.append((time.time_ns(), message))
        frames = pb.SubscribeResponse.FromString(message).frames
        missing -= sum(frame.event.kind == event_pb2.EVENT_KIND_RUN_COMPLETED for frame in frames)
        if missing == 0:
            break
    return [
        (at - frame.event.time.ToNanoseconds()) / 1e6
        for at, message in arrived
        for frame in pb.SubscribeResponse.FromString(message).frames
        if frame.HasField("event")
    ]


class _Disk:
    """One row per FULL commit, on the disk of the journals."""

    def __init__(self, path: Path) -> None:
        self._db = apsw.Connection(str(path))
        for statement in ("PRAGMA journal_mode = wal", "PRAGMA synchronous = FULL", "CREATE TABLE rows (data BLOB)"):
            self._db.execute(statement).fetchall()

    def commits(self, number: int) -> list[int]:
        """Nanoseconds of each."""
        each = []
        for _ in range(number):
            began = time.perf_counter_ns()
            self._db.execute("INSERT INTO rows VALUES (?)", (b"x" * 500,))
            each.append(time.perf_counter_ns() - began)
        return each

    def close(self) -> None:
        """Lets go of the file."""
        self._db.close()
