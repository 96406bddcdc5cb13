"""Where runs stand: their number, and what their next event follows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import apsw
from msgspec import Struct

from runwright.adapters import journal_rules as rules
from runwright.adapters.sqlite.failures import of_run
from runwright.adapters.sqlite.reading import run_rows
from runwright.adapters.sqlite.tables import fetch
from runwright.core.errors import AgentError
from runwright.core.ids import RunKey

CACHED_RUNS = 8192
# With what the run's last event says: a row that is damaged, or an outline, is no place to go on from.
_FIND = """
    WITH wanted (namespace, run_id) AS (VALUES {values})
    SELECT r.namespace, r.run_id, r.run_no, r.seq, r.hash,
        r.removed_at = 0 AND EXISTS (SELECT 1 FROM events e WHERE e.run_no = r.run_no AND e.seq = r.seq
            AND e.hash = r.hash) AND NOT EXISTS (SELECT 1 FROM events e WHERE e.run_no = r.run_no AND e.seq > r.seq)
    FROM wanted CROSS JOIN runs r ON r.namespace = wanted.namespace AND r.run_id = wanted.run_id"""
_LENGTHS = (1, 2, 4, 8, 16, 32, 64)  # few, so that the statements are found compiled


class RunHead(Struct, frozen=True):
    """Number of a run's row, 0 before it has one; number and hash of its last event."""

    run_no: int
    seq: int
    hash: bytes


class RunHeads:
    """What a connection knows of the journal's runs. It stays true for the only one that writes.

    Whoever writes otherwise, or does not know what became of a write, forgets it all.
    """

    def __init__(self) -> None:
        self._known: dict[RunKey, RunHead] = {}
        self._last_run: int | None = None

    def of(self, db: apsw.Connection, runs: Iterable[RunKey]) -> dict[RunKey, RunHead | AgentError]:
        """Where each of the runs stands, of one that is not there where it would begin; or why nothing can follow.

        A row that does not agree with the run's last event is made anew first.
        """
        wanted = set(runs)
        found: dict[RunKey, RunHead | AgentError] = {run: self._known[run] for run in wanted if run in self._known}
        unknown = [run for run in wanted if run not in found]
        for first in range(0, len(unknown), _LENGTHS[-1]):
            found |= _found(db, unknown[first : first + _LENGTHS[-1]])
        return found

    def last_run(self, db: apsw.Connection) -> int:
        """The highest number of a run's row."""
        if self._last_run is None:
            self._last_run = int(fetch(db, "SELECT COALESCE(MAX(run_no), 0) FROM runs")[0][0])
        return self._last_run

    def moved(self, runs: Mapping[RunKey, RunHead]) -> None:
        """Takes note of what has become durable."""
        for run, run_head in runs.items():
            self._known.pop(run, None)
            self._known[run] = run_head
            if self._last_run is not None:
                self._last_run = max(self._last_run, run_head.run_no)
        while len(self._known) > CACHED_RUNS:
            del self._known[next(iter(self._known))]

    def removed(self, runs: Iterable[RunKey]) -> None:
        """Forgets runs whose removal begins."""
        for run in runs:
            self._known.pop(run, None)

    def forget(self) -> None:
        """Lets go of everything."""
        self._known.clear()
        self._last_run = None


def _found(db: apsw.Connection, runs: list[RunKey]) -> dict[RunKey, RunHead | AgentError]:
    rows = _rows(db, runs)
    return {run: _head(db, run, rows.get(run)) for run in runs}


def _rows(db: apsw.Connection, runs: list[RunKey]) -> dict[RunKey, tuple[RunHead, bool]]:
    """The heads as the rows have them, and whether the events agree."""
    length = next(length for length in _LENGTHS if length >= len(runs))
    places = [value for run in runs for value in (run.namespace, run.run_id)]
    query = _FIND.format(values=", ".join(["(?, ?)"] * length))
    rows = fetch(db, query, *places, *("",) * (2 * length - len(places)))
    return {RunKey(row[0], row[1]): (RunHead(*row[2:5]), bool(row[5])) for row in rows}


def _head(db: apsw.Connection, run: RunKey, row: tuple[RunHead, bool] | None) -> RunHead | AgentError:
    if row is None:
        return RunHead(0, 0, rules.first_link(run))
    head, agrees = row
    return head if agrees else _made_anew(db, run)


def _made_anew(db: apsw.Connection, run: RunKey) -> RunHead | AgentError:
    """Where a run stands by its events. A removed one stands nowhere: whoever appends to it does not know."""
    try:
        loaded = run_rows.load(db, run)
    except AgentError as error:
        return of_run(run.run_id, error)
    if loaded is None or loaded.state.removed_at:
        return rules.conflict(run)
    if loaded.rewrite is not None:
        loaded.rewrite.apply(db)
    head, agrees = _rows(db, [run])[run]
    return head if agrees else rules.conflict(run)
