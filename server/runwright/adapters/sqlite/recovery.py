"""The recovery log in the journal's file, written by its one writer: a start counts before it takes anything up."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial

import apsw

from runwright.adapters.recovery_rules import begun
from runwright.adapters.sqlite.tables import fetch
from runwright.adapters.sqlite.writing.writer import Writer
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import RunKey
from runwright.core.quarantine import Stage, Suspect

_KNOWN = "SELECT run_no, stage, tries, trials, told, alone, quarantined_at FROM recovering"
_PUT = """
    INSERT OR REPLACE INTO recovering (run_no, stage, tries, trials, told, alone, quarantined_at)
    VALUES (?, ?, ?, ?, ?, ?, ?)"""
_RUNS = """run_no IN (SELECT run_no FROM runs JOIN json_each(?) AS wanted
    ON namespace = wanted.value ->> 0 AND run_id = wanted.value ->> 1)"""


class SqliteRecoveryLog:
    """RecoveryLog beside the runs of a SqliteJournal, which makes it and outlives it."""

    def __init__(self, writer: Writer, open_runs: Callable[[], Awaitable[Mapping[int, RunKey]]]) -> None:
        """`open_runs` gives the journal's open runs by number."""
        self._writer = writer
        self._open_runs = open_runs

    async def begin(self, now: int) -> list[Suspect]:
        """See the port. A count that cannot be read in the file says nothing against anybody."""
        runs = await self._open_runs()
        try:
            return await self._writer.transact(partial(_begin, runs=runs, now=now))
        except AgentError as error:
            if error.reason is not ErrorReason.JOURNAL_CORRUPT or self._writer.group.is_in_doubt:
                raise
        return begun({}, list(runs.values()), now)

    async def take_up(self, runs: Collection[RunKey], stage: Stage) -> None:
        """See the port."""
        await self._writer.transact(partial(_take_up, runs=_named(runs), stage=stage))

    async def settled(self, runs: Collection[RunKey]) -> None:
        """See the port."""
        named = _named(runs)
        await self._writer.transact(lambda db: db.execute(f"DELETE FROM recovering WHERE {_RUNS}", (named,)))

    async def end(self) -> None:
        """See the port."""
        await self._writer.transact(lambda db: db.execute("DELETE FROM recovering WHERE quarantined_at = 0"))


def _begin(db: apsw.Connection, runs: Mapping[int, RunKey], now: int) -> list[Suspect]:
    numbers = {run: number for number, run in runs.items()}
    known: dict[RunKey, Suspect] = {}
    for number, stage, tries, trials, against, alone, quarantined_at in fetch(db, _KNOWN):
        if run := runs.get(number):
            with contextlib.suppress(ValueError):  # no stage that there is
                known[run] = Suspect(run, Stage(stage), tries, trials, against, alone, quarantined_at)
    found = begun(known, list(numbers), now)
    db.execute("DELETE FROM recovering")
    db.executemany(
        _PUT, ((numbers[s.run], s.stage, s.tries, s.trials, s.against, s.alone, s.quarantined_at) for s in found)
    )
    return found


def _take_up(db: apsw.Connection, runs: str, stage: Stage) -> None:
    passed = f"UPDATE recovering SET stage = ?, trials = 0, told = 0, alone = 0 WHERE stage >= ? AND NOT {_RUNS}"
    db.execute(passed, (Stage.IN_HAND, Stage.ON_TRIAL, runs))
    db.execute(f"UPDATE recovering SET stage = ? WHERE {_RUNS}", (stage, runs))


def _named(runs: Collection[RunKey]) -> str:
    return json.dumps([[run.namespace, run.run_id] for run in runs])
