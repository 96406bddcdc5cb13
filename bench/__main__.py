"""`python -m bench [p1 p3 ...]`: runs the benchmarks and prints one table; exits 1 when a gate is missed."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Sequence
from importlib import import_module
from pathlib import Path

from bench.figures import Figure, Goal, table
from bench.rounds import say

BENCHMARKS = (
    "p1",
    "rules",
    "p3",
    "p4",
    "p5",
    "p7",
    "p8",
    "readers",
    "hostile",
    "packages",
    "parked",
    "approvals",
    "storm",
)
NAMED_ALONE = ("many_approvals",)  # takes its time
LIMIT_SECONDS = 300  # of one benchmark; none takes half of it on two free cores


async def _bounded(measuring: Awaitable[Sequence[Figure]]) -> Sequence[Figure]:
    async with asyncio.timeout(LIMIT_SECONDS):
        return await measuring


def _run(name: str, within: str | None) -> list[Figure]:
    module = import_module(f"bench.{name}")
    say(f"{name.upper()}: {(module.__doc__ or '').partition(': ')[2].strip()}\n  ceiling: {module.CEILING}")
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="runwright-bench-", dir=within) as directory:
        try:
            figures = list(asyncio.run(_bounded(module.measure(Path(directory)))))
        except TimeoutError:
            late = Goal(name.upper(), f"not finished in {LIMIT_SECONDS} s", "s", LIMIT_SECONDS, LIMIT_SECONDS)
            figures = [Figure(late, [time.perf_counter() - began])]
    for figure in figures:
        _, what, value, spread, requested, verdict, detail = figure.cells()
        say(f"  {what}: {value} ({spread}) {requested} {verdict}; {detail}")
    say(f"  took {time.perf_counter() - began:.0f} s")
    return figures


def main() -> int:
    """The exit code."""
    names = f"some of {', '.join(BENCHMARKS)}, all by default; {', '.join(NAMED_ALONE)} by name alone"
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("benchmark", nargs="*", help=names)
    parser.add_argument("--dir", help="where journals are written; its disk is part of what is measured")
    chosen = parser.parse_args()
    if unknown := set(chosen.benchmark) - {*BENCHMARKS, *NAMED_ALONE}:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}")
    figures = [figure for name in chosen.benchmark or BENCHMARKS for figure in _run(name, chosen.dir)]
    print(table(figures))
    return 1 if any(figure.verdict == "SHORT" for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
