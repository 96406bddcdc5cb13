"""P1: StartRun, durable before the reply, beside an empty call to the same process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from statistics import median
from typing import TypeAlias

from bench.calls import PRODUCT, RAW, SERVICE, Unary, channel, start_run, timed, unary
from bench.children import running
from bench.figures import Figure, Goal, percent, quantile, ratios
from bench.parts import install, package
from bench.rounds import interleaved

CEILING = "Echo of the same bytes by a bare grpc.aio server on the loop of the same process, no metadata"
ROUNDS = 9
CALLS = 640
RATE = Goal("P1", "StartRun ÷ echo, 32 concurrent", "%", 35, 50, more_is_better=True)
ALONE = Goal("P1", "StartRun ÷ echo, alone, p50", "×", 3, 2.2)

Call: TypeAlias = Callable[[], Awaitable[bytes]]


async def measure(directory: Path) -> Sequence[Figure]:
    """Starts runs whose model does not answer meanwhile, so that nothing but StartRun is measured."""
    installed = install(directory, package("patient", [], adapter="patient"))
    request = start_run("patient")
    arguments = ["-m", "bench.product_server", *installed.options()]
    async with (
        running(directory, *arguments, announces=("runwright", "raw"), gently=False) as server,
        channel(server.addresses["runwright"]) as product,
        channel(server.addresses["raw"]) as raw,
    ):
        start = unary(product, SERVICE + "StartRun", installed)
        echo = unary(raw, RAW + "Echo")
        settle = unary(raw, PRODUCT + "Settle")
        found = await interleaved(
            "P1",
            {
                "echo": lambda: _rate(lambda: echo(request)),
                "start": lambda: _rate(lambda: start(request), settle),
                "echo alone": lambda: _alone(lambda: echo(request)),
                "start alone": lambda: _alone(lambda: start(request), settle),
            },
            ROUNDS,
        )
    rates = f"{median(found['start']):,.0f} of {median(found['echo']):,.0f} calls/s"
    alone = f"{median(found['start alone']):.2f} ms, echo {median(found['echo alone']):.2f} ms"
    return [
        Figure(RATE, percent(ratios(found["start"], found["echo"])), rates),
        Figure(ALONE, ratios(found["start alone"], found["echo alone"]), alone),
    ]


async def _rate(call: Call, settle: Unary | None = None) -> float:
    seconds = (await timed(call, number=CALLS, workers=32))[-1]
    if settle is not None:
        await settle(b"")  # the runs end before anything else is measured
    return CALLS / seconds


async def _alone(call: Call, settle: Unary | None = None) -> float:
    each = (await timed(call, number=150, workers=1))[:-1]
    if settle is not None:
        await settle(b"")
    return 1000 * quantile(each, 0.5)
