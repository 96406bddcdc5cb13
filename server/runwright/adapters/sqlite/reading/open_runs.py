"""Which runs are open: asked of the table and of its indexes, so that damage to one of them hides no run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import apsw
from msgspec import Struct

from runwright.adapters.sqlite.failures import is_damage
from runwright.adapters.sqlite.reading import checked_events
from runwright.adapters.sqlite.tables import IS_OPEN, fetch
from runwright.core.errors import AgentError
from runwright.core.ids import Namespace, RunId, RunKey
from runwright.core.kinds import TERMINAL, EventKind
from runwright.wire.records import event_run_id

_BY_INDEX = f"SELECT run_no FROM runs INDEXED BY runs_open WHERE {IS_OPEN} ORDER BY run_no"
# The name in the row, and which row the index finds by that name.
_BY_NAME = """FROM runs r NOT INDEXED LEFT JOIN runs i INDEXED BY sqlite_autoindex_runs_1
    ON i.namespace = r.namespace AND i.run_id = r.run_id"""
_NAMED = f"SELECT r.namespace, r.run_id, i.run_no {_BY_NAME} WHERE r.run_no = ?"
# Many at a time: a question for each costs ten times as much.
_NAMES = f"""SELECT r.run_no, r.namespace, r.run_id, i.run_no {_BY_NAME}
    WHERE r.run_no IN (SELECT value FROM json_each(?))"""
_NAMED_AT_ONCE = 1000
_BY_TABLE = "SELECT run_no FROM runs NOT INDEXED WHERE open IS NOT 0"
# Looks at every run there is: some three microseconds each.
_MISNAMED = f"SELECT r.run_no {_BY_NAME} WHERE i.run_no IS NOT r.run_no"
_ENDS = "SELECT kind FROM events WHERE run_no = ? ORDER BY seq DESC LIMIT 1"


class OpenRuns(Struct, frozen=True):
    """The open runs by number, and the numbers of runs that an index finds by another name than their row, or not."""

    runs: dict[int, RunKey]
    misplaced: list[int]


def open_runs(db: apsw.Connection) -> OpenRuns:
    """The runs without a terminal event, in the order of their first.

    One whose row cannot be read is among them if its events do not end: whoever
    loads it is told what is wrong with it.
    """
    with db:  # one moment
        by_index, by_table = set(_numbers(db, _BY_INDEX)), set(_numbers(db, _BY_TABLE))
        misplaced = (by_index ^ by_table) | set(_misnamed(db))
        names = _names(db, sorted(by_index | by_table))
    return OpenRuns(names, sorted(misplaced))


def put_in_order(db: apsw.Connection, misplaced: Sequence[int]) -> None:
    """Makes the indexes anew from the rows, and gives the rows the names that their events prove; in a transaction.

    An entry that an index has lost would let a second run begin under the same name.
    """
    names = [(number, _proven_name(db, number)) for number in misplaced]
    db.execute("REINDEX runs")
    for number, name in names:
        if name is not None:
            of = (name.namespace, name.run_id)
            db.execute("UPDATE runs SET namespace = ?, run_id = ? WHERE run_no = ?", (*of, number))


def _misnamed(db: apsw.Connection) -> list[int]:
    try:
        return [number for (number,) in fetch(db, _MISNAMED)]
    except (apsw.Error, UnicodeDecodeError) as error:
        if is_damage(error):
            return []  # of rows that cannot be read, and so not be put in order either
        raise


def _names(db: apsw.Connection, numbers: Sequence[int]) -> dict[int, RunKey]:
    """The names of these runs, each as `name_of` has it, in their order."""
    names: dict[int, RunKey] = {}
    for first in range(0, len(numbers), _NAMED_AT_ONCE):
        some = numbers[first : first + _NAMED_AT_ONCE]
        try:
            rows = fetch(db, _NAMES, json.dumps(some))
        except (apsw.Error, UnicodeDecodeError) as error:
            if not is_damage(error):
                raise
            rows = []  # each is asked for by itself
        found = {
            number: RunKey(Namespace(namespace), RunId(run_id))
            for number, namespace, run_id, by_index in rows
            if by_index == number
        }
        names.update((number, found.get(number) or name_of(db, number)) for number in some)
    return names


def name_of(db: apsw.Connection, run_no: int) -> RunKey:
    """The run's name: of its row if the index leads back to it, else as its first event proves it."""
    try:
        rows = fetch(db, _NAMED, run_no)
    except (apsw.Error, UnicodeDecodeError) as error:
        if not is_damage(error):
            raise
        rows = []
    for namespace, run_id, found in rows:
        if found == run_no:
            return RunKey(Namespace(namespace), RunId(run_id))
    return _proven_name(db, run_no) or RunKey(Namespace(""), RunId(f"run number {run_no}"))


def _proven_name(db: apsw.Connection, run_no: int) -> RunKey | None:
    try:
        first = fetch(db, "SELECT namespace, data FROM events WHERE run_no = ? AND seq = 1", run_no)
        for namespace, data in first:
            run = RunKey(Namespace(namespace), RunId(event_run_id(data)))
            checked_events.page(db, run, run_no, 0, 1)  # its hash begins with the name
            return run
    except (apsw.Error, UnicodeDecodeError, AgentError, TypeError):
        pass
    return None


def _numbers(db: apsw.Connection, query: str) -> Iterator[int]:
    try:
        yield from [number for (number,) in fetch(db, query)]
    except (apsw.Error, UnicodeDecodeError) as error:
        if not is_damage(error):
            raise
        yield from _one_by_one(db)


def _one_by_one(db: apsw.Connection) -> Iterator[int]:
    """The same without walking over what is damaged: each row by its number."""
    ((last,),) = fetch(db, "SELECT MAX(run_no) FROM events")
    for number in range(1, (last or 0) + 1):
        try:
            if fetch(db, "SELECT 1 FROM runs WHERE run_no = ? AND open IS NOT 0", number):
                yield number
        except (apsw.Error, UnicodeDecodeError):
            if not _has_ended(db, number):
                yield number


def _has_ended(db: apsw.Connection, run_no: int) -> bool:
    try:
        rows = fetch(db, _ENDS, run_no)
        return not rows or EventKind(rows[0][0]) in TERMINAL
    except (apsw.Error, ValueError):
        return False
