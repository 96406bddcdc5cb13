"""The recovery log in the journal's file, written by its one writer: a start counts before it takes anything up."""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import partial

import apsw

from runwright.adapters.recovery_rules import begun
from runwright.adapters.sqlite.tables import fetch
from runwright.adapters.sqlite.writer import Writer
from runwright.core.ids import Namespace, RunId, RunKey
from runwright.core.quarantine import Stage, Suspect

_OPEN = """
    SELECT r.run_no, r.namespace, r.run_id, s.stage, s.tries, s.trials, s.told, s.alone, s.quarantined_at
    FROM runs r LEFT JOIN recovering s ON s.run_no = r.run_no WHERE r.open = 1 ORDER BY r.run_no"""
_PUT = """
    INSERT OR REPLACE INTO recovering (run_no, stage, tries, trials, told, alone, quarantined_at)
    VALUES (?, ?, ?, ?, ?, ?, ?)"""
_RUNS = """run_no IN (SELECT run_no FROM runs JOIN json_each(?) AS wanted
    ON namespace = wanted.value ->> 0 AND run_id = wanted.value ->> 1)"""


class SqliteRecoveryLog:
    """RecoveryLog beside the runs of a SqliteJournal, which makes it and outlives it."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def begin(self, now: int) -> list[Suspect]:
        """See the port."""
        return await self._writer.transact(partial(_begin, now=now))

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


def _begin(db: apsw.Connection, now: int) -> list[Suspect]:
    numbers: dict[RunKey, int] = {}
    known: dict[RunKey, Suspect] = {}
    for number, namespace, run_id, stage, tries, trials, told, alone, quarantined_at in fetch(db, _OPEN):
        run = RunKey(Namespace(namespace), RunId(run_id))
        numbers[run] = number
        if stage is not None:
            known[run] = Suspect(run, Stage(stage), tries, trials, told, alone, quarantined_at)
    found = begun(known, list(numbers), now)
    db.execute("DELETE FROM recovering")
    db.executemany(
        _PUT, ((numbers[s.run], s.stage, s.tries, s.trials, s.told, s.alone, s.quarantined_at) for s in found)
    )
    return found


def _take_up(db: apsw.Connection, runs: str, stage: Stage) -> None:
    passed = f"UPDATE recovering SET stage = ?, trials = 0, told = 0, alone = 0 WHERE stage >= ? AND NOT {_RUNS}"
    db.execute(passed, (Stage.IN_HAND, Stage.ON_TRIAL, runs))
    db.execute(f"UPDATE recovering SET stage = ? WHERE {_RUNS}", (stage, runs))


def _named(runs: Collection[RunKey]) -> str:
    return json.dumps([[run.namespace, run.run_id] for run in runs])
