"""P3: what a run costs the disk, in commits, and what sharing them is worth."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from runwright.adapters import journal_rules as rules
from runwright.adapters.sqlite import SqliteJournal
from runwright.adapters.sqlite.opening.schema import open_writer
from runwright.adapters.sqlite.opening.transactions import Transactions
from runwright.adapters.sqlite.writing.batch import Batch
from runwright.adapters.sqlite.writing.commit import GroupCommit
from runwright.core.ids import DEFAULT_NAMESPACE, RunId, RunKey
from runwright.core.outcomes import RunPhase
from runwright.core.records import TurnStarted
from runwright.core.state import RunState
from runwright.ports.journal import Appended, AppendOutcome

from bench.calls import PRODUCT, channel, start_and_wait, timed, unary
from bench.children import running
from bench.executor import executing
from bench.figures import Figure, Goal, ratios
from bench.parts import install, one_call
from bench.records import AT
from bench.rounds import interleaved

CEILING = "counters need none; the journal: the same records in the same tables, one commit each, without a thread"
RUNS = 192
WRITERS, RECORDS, APPENDS = 64, 4, 6
ALONE = Goal("P3", "commits of a tool-calling run, alone", "", 4, 4)
SHARED = Goal("P3", "commits per run, 32 concurrent", "", 2, 1.5)
JOURNAL = Goal("P3", "journal, 64 writers × 4 records ÷ one commit each", "×", 8, 12, more_is_better=True)


async def measure(directory: Path) -> Sequence[Figure]:
    """Runs over the wire with a remote tool, then the journal by itself."""
    return [*await _runs(directory), await _journal(directory)]


async def _runs(directory: Path) -> list[Figure]:
    installed = install(directory, one_call())
    async with executing() as executor:
        arguments = ["-m", "bench.product_server", *installed.options(executor.address)]
        async with (
            running(directory, *arguments, announces=("runwright", "raw"), gently=False) as server,
            channel(server.addresses["runwright"]) as product,
            channel(server.addresses["raw"]) as raw,
        ):
            count = unary(raw, PRODUCT + "Commits")

            async def commits(runs: int, workers: int) -> float:
                before = int.from_bytes(await count(b""), "big")
                await timed(lambda: start_and_wait(product, installed, "one-call"), number=runs, workers=workers)
                return (int.from_bytes(await count(b""), "big") - before) / runs

            sides = {"alone": lambda: commits(10, 1), "shared": lambda: commits(RUNS, 32)}
            found = await interleaved("P3", sides)
    return [
        Figure(ALONE, found["alone"], "model, remote tool, model, end"),
        Figure(SHARED, found["shared"], f"{RUNS} runs a round"),
    ]


async def _journal(directory: Path) -> Figure:
    journal = SqliteJournal.open(directory / "journal")
    alone = _Alone(directory / "alone.db")
    writers = [_Writer(f"writer-{number}") for number in range(WRITERS)]

    async def shared() -> float:
        began = time.perf_counter()
        await asyncio.gather(*(writer.append(journal) for writer in writers))
        return WRITERS * APPENDS * RECORDS / (time.perf_counter() - began)

    try:
        found = await interleaved("P3, journal", {"shared": shared, "alone": alone.append})
    finally:
        await journal.close()
        alone.close()
    message = f"{median(found['shared']):,.0f} of {median(found['alone']):,.0f} records/s"
    return Figure(JOURNAL, ratios(found["shared"], found["alone"]), message)


def _state(run: RunKey, seq: int) -> RunState:
    return RunState(
        key=run,
        phase=RunPhase.RUNNING,
        seq=seq,
        agent_id="clerk",
        principal="bench",
        package_fingerprint="sha256:" + "0" * 64,
    )


class _Writer:
    def __init__(self, run_id: str) -> None:
        self._run = RunKey(DEFAULT_NAMESPACE, RunId(run_id))
        self._seq = 0

    async def append(self, journal: SqliteJournal) -> None:
        records = [TurnStarted(at=AT, input=())] * RECORDS
        for _ in range(APPENDS):
            state = _state(self._run, self._seq + RECORDS)
            await journal.append(self._run, records, after=self._seq, contents=(), snapshot=state)
            self._seq = state.seq


class _Alone:
    """One writer on the caller's thread, one commit per record."""

    def __init__(self, path: Path) -> None:
        self._db = open_writer(path, busy_timeout_ms=1000)
        self._group = GroupCommit(Transactions(self._db), 0)
        self._run = RunKey(DEFAULT_NAMESPACE, RunId("alone"))
        self._seq = 0

    async def append(self) -> float:
        began = time.perf_counter()
        for _ in range(300):
            state = _state(self._run, self._seq + 1)
            encoded = rules.encode(self._run, [TurnStarted(at=AT, input=())], after=self._seq, snapshot=state)
            answer: asyncio.Future[AppendOutcome] = asyncio.get_running_loop().create_future()
            (outcome,) = self._group.commit([Batch(self._run, encoded, self._seq, (), encoded.row(state), answer)])
            assert isinstance(outcome, Appended), outcome
            self._seq += 1
        return 300 / (time.perf_counter() - began)

    def close(self) -> None:
        self._db.close()
