"""Many approvals: 100,000 are pending on disk: a restart, their memory, and the list."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from runwright.adapters.sqlite import SqliteJournal
from runwright.core.ids import DEFAULT_NAMESPACE, RunId, RunKey
from runwright.core.kinds import EventKind, side_rows
from runwright.core.records import ApprovalRequested

from bench.approvals import ask_package, first_pages
from bench.calls import SERVICE, start_run, unary
from bench.figures import Figure, Goal, quantile
from bench.parts import Installation, install, package
from bench.resident import mib, resident, served, used
from bench.rounds import say

CEILING = "none: the bounds are absolute, beside the same server with one run"
RUNS = 100_000
AT_ONCE = 500  # appends
RESTART = Goal("A5", "restart to SERVING with 100,000 pending approvals", "s", 8, 6)
MEMORY = Goal("A6", "memory of each of them", "KiB", 4, 3)
LIST = Goal("A7", "first page of the list, p50", "ms", 20, 10)


async def measure(directory: Path) -> Sequence[Figure]:
    """One run is asked for over a server; the others are its records again, appended to the journal directly."""
    installed = install(directory, ask_package(), package("ready", [{"text": "Done."}]))
    async with served(directory, installed) as (server, to):
        await unary(to, SERVICE + "StartRun", installed)(start_run("asking", "first"))
        base, cold = await resident(server), server.started
    await _copied(installed)
    say("  A: restarting")
    async with served(directory, installed) as (server, to):
        restart, spent = server.started, used(server)
        rss = await resident(server)
        each = await first_pages(to, installed)
    return [
        Figure(RESTART, [restart], f"{spent:.2f} s of CPU; {cold:.2f} s with none"),
        Figure(MEMORY, [(rss - base) / 1024 / RUNS], f"{mib(rss)}, with one run {mib(base)}"),
        Figure(LIST, [median(each)], f"p99 {quantile(each, 0.99):.1f} ms; of {RUNS:,}"),
    ]


async def _copied(installed: Installation) -> None:
    """The journal with so many runs like the first."""
    say(f"  A: writing {RUNS:,} runs")
    journal = SqliteJournal.open(installed.data)
    first = RunKey(DEFAULT_NAMESPACE, RunId("first"))
    loaded, records = await journal.load(first), await journal.records(first, list(EventKind))
    if loaded is None or not any(isinstance(record, ApprovalRequested) for record in records):
        raise RuntimeError("the first run does not wait for an approval")

    async def copy(number: int) -> None:
        state = loaded.state.__replace__(key=RunKey(DEFAULT_NAMESPACE, RunId(f"run-{number}")))
        rows = [row for record in records for row in side_rows(state, record)]
        await journal.append(state.key, records, after=0, contents=(), snapshot=state, side_rows=rows)

    for begin in range(0, RUNS, AT_ONCE):
        await asyncio.gather(*(copy(number) for number in range(begin, begin + AT_ONCE)))
    await journal.close()
