"""P5: one run's events to 1,000 subscribers, live and from the journal, beside raw streams; 4,000 opened at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import grpc
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb

from bench.calls import RAW, SERVICE, channel, of_run, snapshot, start_run, stream, unary
from bench.children import running
from bench.executor import Executor, executing
from bench.figures import Figure, Goal, percent, ratios
from bench.parts import Installation, asks, install, package, tool
from bench.raw_server import FAN
from bench.rounds import interleaved, say

CEILING = "open raw grpc.aio streams, messages serialised once, of one frame's bytes and of 16 frames' bytes"
STREAMS, BURST, ROUNDS = 1_000, 4_000, 14
FRAME_BYTES = 540  # as the product's frames are, with cursor, position and both hashes
ONE = "fan-out to 1,000, {} ÷ raw one per message"
SIXTEEN = "fan-out to 1,000, {} ÷ raw 16 per message"
GOALS = {
    (side, per): Goal("P5", text.format(side), unit, gate, goal, more_is_better=True)
    for side in ("live", "catch-up")
    for per, text, unit, gate, goal in ((1, ONE, "×", 5, 8), (16, SIXTEEN, "%", 40, 65))
}
REFUSED = Goal("P5", "refused of 4,000 streams opened at once", "", 0, 0)


async def measure(directory: Path) -> Sequence[Figure]:
    """Saturated: as fast as it goes. The client counts bytes and decodes nothing."""
    script = [asks("hold"), *[asks(*["look"] * 8)] * ROUNDS, {"text": "Done."}]
    budget = {"rounds": ROUNDS + 2, "tool_calls": 8 * ROUNDS + 1}
    installed = install(directory, package("fan", script, tool("hold"), tool("look"), budget=budget))
    async with (
        executing() as executor,
        running(directory, *installed.serve(executor.address)) as server,
        running(directory, "-m", "bench.raw_server", announces=("raw",)) as bare,
        channel(server.addresses["runwright"]) as product,
        channel(bare.addresses["raw"]) as raw,
    ):
        fan = _Fan(product, installed, executor)
        found = await interleaved(
            "P5",
            {
                "raw 1": lambda: _raw(raw, messages=24, frames=1),
                "raw 16": lambda: _raw(raw, messages=24, frames=16),
                "live": fan.live,
                "catch-up": fan.catch_up,
            },
        )
        refused = [await fan.refused(BURST)]
    figures = []
    for (side, per), goal in GOALS.items():
        against = ratios(found[side], found[f"raw {per}"])
        message = f"{median(found[side]):,.0f} of {median(found[f'raw {per}']):,.0f} events/s"
        figures.append(Figure(goal, against if per == 1 else percent(against), message))
    return [*figures, Figure(REFUSED, refused, "one channel, one tick")]


async def _raw(to: grpc.aio.Channel, *, messages: int, frames: int) -> float:
    """Frames per second, from Go to the end of the last stream."""
    request = FAN.pack(messages, frames * FRAME_BYTES)
    streams = [stream(to, RAW + "Fan", request) for _ in range(STREAMS)]
    await asyncio.gather(*(each.read() for each in streams))
    began = time.perf_counter()
    _, *sizes = await asyncio.gather(unary(to, RAW + "Go")(b""), *(_drained(each) for each in streams))
    seconds = time.perf_counter() - began
    if set(sizes) != {messages * frames * FRAME_BYTES}:
        raise RuntimeError("a raw stream lost bytes")
    return STREAMS * messages * frames / seconds


async def _drained(each: Any) -> int:
    size = 0
    while (message := await each.read()) is not grpc.aio.EOF:
        size += len(message)
    return size


class _Fan:
    def __init__(self, to: grpc.aio.Channel, installed: Installation, executor: Executor) -> None:
        self._to = to
        self._installed = installed
        self._executor = executor
        self._run_id = ""

    def _open(self) -> Any:
        return stream(self._to, SERVICE + "Subscribe", of_run(self._run_id), self._installed)

    async def live(self) -> float:
        """Streams opened while the run waits for its first tool; then it goes on to its end."""
        self._executor.held.clear()
        started = await unary(self._to, SERVICE + "StartRun", self._installed)(start_run("fan"))
        self._run_id = pb.StartRunResponse.FromString(started).run.run_id
        streams = [self._open() for _ in range(STREAMS)]
        await asyncio.gather(*(each.read() for each in streams))
        before = (await snapshot(self._to, self._installed, self._run_id)).last_seq
        began = time.perf_counter()
        self._executor.held.set()
        await asyncio.gather(*(_drained(each) for each in streams))
        seconds = time.perf_counter() - began
        events = (await snapshot(self._to, self._installed, self._run_id)).last_seq - before
        return STREAMS * events / seconds

    async def catch_up(self) -> float:
        """Streams of the run that has ended, opened at once and read to the end; opening them counts."""
        if not self._run_id:
            await self.live()
        began = time.perf_counter()
        sizes = await asyncio.gather(*(_drained(self._open()) for _ in range(STREAMS)))
        seconds = time.perf_counter() - began
        events = (await snapshot(self._to, self._installed, self._run_id)).last_seq
        if min(sizes) < events * 300:
            raise RuntimeError("a stream ended early")
        return STREAMS * events / seconds

    async def refused(self, number: int) -> int:
        """How many of so many streams, opened in one tick, do not get to their end."""
        say(f"  P5: {number:,} streams at once")
        ends = await asyncio.gather(*(_drained(self._open()) for _ in range(number)), return_exceptions=True)
        return sum(isinstance(end, BaseException) for end in ends)
