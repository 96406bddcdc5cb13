"""Side rows in the journal's file: what an append writes of them, and the questions about them.

Each row has a check over its other columns: what is not as it was written is neither believed nor spent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import apsw
from msgspec.msgpack import Encoder

from runwright.adapters.journal_rules import unknown
from runwright.adapters.side_row_rules import Changes, CounterName, CounterRow, EntryName, EntryRow, SideRowState
from runwright.adapters.sqlite.failures import corrupt
from runwright.adapters.sqlite.opening.appended import Row, What, put_all
from runwright.adapters.sqlite.tables import NOT_REMOVED, fetch
from runwright.core.errors import AgentError
from runwright.core.ids import Namespace, RunId, RunKey
from runwright.core.side_rows import FailedCondition, SideRow
from runwright.ports.journal import Entry

_ENTRY_TAG, _COUNTER_TAG = "runwright-entry-v1", "runwright-counter-v1"
_CHECKED = Encoder()
_ENTRY = "SELECT run_no, value, expires_at, row_check FROM entries WHERE namespace = ? AND index_name = ? AND key = ?"
_COUNTER = "SELECT run_no, remaining, row_check FROM counters WHERE namespace = ? AND counter = ?"
_NAMED = """SELECT e.index_name, e.key, e.run_no, e.value, e.expires_at, e.row_check, r.run_id
    FROM entries e LEFT JOIN runs r ON r.run_no = e.run_no AND r.namespace = e.namespace
    WHERE e.namespace = ? AND (e.index_name, e.key) IN (VALUES {})"""
# The key as its bytes: one that is no text any more is told, and hides no other.
_PAGE = """SELECT CAST(e.key AS BLOB), e.run_no, e.value, e.expires_at, e.row_check, r.run_id
    FROM entries e LEFT JOIN runs r ON r.run_no = e.run_no AND r.namespace = e.namespace
    WHERE e.namespace = ? AND e.index_name = ? AND e.key > ? AND e.key >= ? AND e.key < ? ORDER BY e.key LIMIT ?"""
_OWNER = f"SELECT run_no FROM runs WHERE namespace = ? AND run_id = ? AND {NOT_REMOVED}"
_STRAY = "SELECT DISTINCT run_no FROM {} WHERE run_no NOT IN (SELECT run_no FROM runs WHERE removed_at = 0)"
_DELETE = ("DELETE FROM entries WHERE run_no = ?", "DELETE FROM counters WHERE run_no = ?")


def state(db: apsw.Connection) -> SideRowState[int]:
    """Entries and counters as they are on this connection; whose rows they are is told by run_no."""
    return SideRowState(lambda name: _entry(db, name), lambda name: _counter(db, name))


def rows_of(changes: Changes[int]) -> list[Row]:
    """What the changes are in the statement of a commit."""
    entries = [_entry_row(name, entry) for name, entry in changes.entries.items()]
    return entries + [_counter_row(name, counter) for name, counter in changes.counters.items()]


def change(db: apsw.Connection, *, run: RunKey, side_rows: Sequence[SideRow]) -> FailedCondition | None:
    """Works off side rows of a run apart from an append, inside the open transaction. Raises RUN_NOT_FOUND."""
    found = fetch(db, _OWNER, run.namespace, run.run_id)
    if not found:
        raise unknown(run)
    beside = state(db)
    failed = beside.take(run.namespace, found[0][0], side_rows)
    if failed is None:
        put_all(db, rows_of(beside.changes))
    return failed


def remove(db: apsw.Connection, run_no: int) -> None:
    """Deletes what belongs to a run, inside the open transaction."""
    for statement in _DELETE:
        db.execute(statement, (run_no,))


def named(db: apsw.Connection, namespace: Namespace, names: Sequence[tuple[str, str]]) -> tuple[Entry | None, ...]:
    """See the port. One statement, which is what makes it one commit."""
    if not names:
        return ()
    query = _NAMED.format(", ".join(["(?, ?)"] * len(names)))
    rows = fetch(db, query, namespace, *(part for name in names for part in name))
    found = {(index, key): _read((namespace, index, key), row) for index, key, *row in rows}
    return tuple(found.get(name) for name in names)


def entries(
    db: apsw.Connection, namespace: Namespace, index: str, prefix: str, after: str, limit: int
) -> list[Entry | AgentError]:
    """See the port."""
    found: list[Entry | AgentError] = []
    for key, *row in fetch(db, _PAGE, namespace, index, after, prefix, _behind(prefix), limit):
        try:
            found.append(_read((namespace, index, key.decode()), row))
        except UnicodeDecodeError:
            found.append(_damaged(f"An entry of index {index}", row[-1] or ""))
        except AgentError as error:
            found.append(error)
    return found


def _behind(prefix: str) -> str | bytes:
    """What comes behind every key with a prefix, and before all others that do: by code points, as SQLite compares."""
    begins = prefix.rstrip("\U0010ffff")
    if not begins:
        return b""  # to SQLite every text is less than any bytes
    following = ord(begins[-1]) + 1
    return begins[:-1] + chr(0xE000 if following == 0xD800 else following)


def counter(db: apsw.Connection, namespace: Namespace, name: str) -> int | None:
    """See the port."""
    known = _counter(db, (namespace, name))
    return known.left if known else None


def faults(db: apsw.Connection) -> Iterator[tuple[str, str]]:
    """What is wrong with which row, for whoever only looks."""
    for namespace, index, key, *row in fetch(
        db, "SELECT namespace, index_name, key, run_no, value, expires_at, row_check FROM entries"
    ):
        if row[-1] != _check(_ENTRY_TAG, namespace, index, key, *row[:-1]):
            yield f"entry {key} of index {index}", "it is not as it was written"
    for namespace, name, *row in fetch(db, "SELECT namespace, counter, run_no, remaining, row_check FROM counters"):
        if row[-1] != _check(_COUNTER_TAG, namespace, name, *row[:-1]):
            yield f"counter {name}", "it is not as it was written"
    for table in ("entries", "counters"):
        for (run_no,) in fetch(db, _STRAY.format(table)):
            yield f"run number {run_no}", f"it has {table} and is no run, or one that was removed"


def _entry(db: apsw.Connection, name: EntryName) -> EntryRow[int] | None:
    found = fetch(db, _ENTRY, *name)
    if not found:
        return None
    run_no, value, expires_at, check = found[0]
    if check != _check(_ENTRY_TAG, *name, run_no, value, expires_at):
        raise _damaged(f"Entry {name[2]} of index {name[1]}")
    return EntryRow(run_no, value, expires_at)


def _counter(db: apsw.Connection, name: CounterName) -> CounterRow[int] | None:
    found = fetch(db, _COUNTER, *name)
    if not found:
        return None
    run_no, left, check = found[0]
    if check != _check(_COUNTER_TAG, *name, run_no, left):
        raise _damaged(f"Counter {name[1]}")
    return CounterRow(run_no, left)


def _read(name: EntryName, row: Sequence[Any]) -> Entry:
    run_no, value, expires_at, check, run_id = row
    if run_id is None or check != _check(_ENTRY_TAG, *name, run_no, value, expires_at):
        raise _damaged(f"Entry {name[2]} of index {name[1]}", run_id or "")
    return Entry(name[1], name[2], RunKey(name[0], RunId(run_id)), value, expires_at)


def _entry_row(name: EntryName, entry: EntryRow[int] | None) -> Row:
    if entry is None:
        return (What.NO_ENTRY, *name)
    columns = (*name, entry.owner, entry.value, entry.expires_at)
    return (What.ENTRY, *columns, _check(_ENTRY_TAG, *columns))


def _counter_row(name: CounterName, counter: CounterRow[int]) -> Row:
    columns = (*name, counter.owner, counter.left)
    return (What.COUNTER, *columns, _check(_COUNTER_TAG, *columns))


def _check(*columns: object) -> bytes:
    return hashlib.sha256(_CHECKED.encode(columns)).digest()


def _damaged(what: str, run_id: str = "") -> AgentError:
    return corrupt(f"{what} is not as it was written.", run_id=run_id)
