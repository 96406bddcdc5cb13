"""Brings a journal of an older schema version to the present one, step by step in one transaction."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import apsw

from runwright.adapters.journal_rules import digests_of
from runwright.adapters.sqlite import callback_rows
from runwright.adapters.sqlite.opening import scrubbing
from runwright.adapters.sqlite.tables import (
    AUDIT,
    CALLBACK_CHECKS,
    CALLBACK_KEYS,
    CALLBACKS,
    CALLS_IN_FLIGHT,
    EPOCHS,
    GONE,
    HOLDING,
    PACKAGES,
    REMOVING,
    SCHEMA_VERSION,
    SELECTING,
    SESSIONS,
    SIDE_ROWS,
    fetch,
)
from runwright.core.apply import fold
from runwright.core.errors import AgentError
from runwright.core.ids import Namespace, RunId, RunKey
from runwright.core.kinds import EventKind
from runwright.core.machine import status
from runwright.core.outcomes import RunStatus
from runwright.core.state import RunState
from runwright.core.transitions import IllegalTransition
from runwright.wire import tombstone
from runwright.wire.checked_row import RowColumns, RowEnd, SnapshotRow
from runwright.wire.records import decode_event, event_subjects
from runwright.wire.state_row import decode_state

_COLUMNS = (
    "ALTER TABLE runs ADD COLUMN session_id TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE runs ADD COLUMN agent_id TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE runs ADD COLUMN status INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE runs ADD COLUMN labels TEXT NOT NULL DEFAULT '{}'",
    "ALTER TABLE events ADD COLUMN namespace TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE events ADD COLUMN session_id TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE events ADD COLUMN agent_id TEXT NOT NULL DEFAULT ''",
)
_FILL_EVENTS = """
    UPDATE events SET (namespace, session_id, agent_id) =
        (SELECT namespace, session_id, agent_id FROM runs WHERE runs.run_no = events.run_no)"""
_ADD_USES = """
    INSERT INTO content_uses (namespace, digest, uses) VALUES (?, ?, ?)
    ON CONFLICT (namespace, digest) DO UPDATE SET uses = uses + excluded.uses"""
_ENDED = {
    EventKind.RUN_COMPLETED: RunStatus.COMPLETED,
    EventKind.RUN_FAILED: RunStatus.FAILED,
    EventKind.RUN_CANCELLED: RunStatus.CANCELLED,
}


def upgrade(db: apsw.Connection, version: int) -> None:
    """Inside one transaction: a process that dies half-way leaves the old version. No event changes by a byte."""
    if version < 2:
        _make_selectable(db)
    if version < 3:
        _count_uses(db)
        for statement in (*SESSIONS, *CALLBACKS, *AUDIT):
            db.execute(statement)
    if version < 4:
        for statement in GONE:
            db.execute(statement)
    if version < 5:
        for step in _TO_VERSION_5:
            step(db)
    if version < 6:
        for statement in SIDE_ROWS:
            db.execute(statement)
    if version < 7:
        for statement in PACKAGES:
            db.execute(statement)
    db.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", (SCHEMA_VERSION,))


def _add_epochs(db: apsw.Connection) -> None:
    """Of version 5: the first one begins with the first start of a server that knows them."""
    for statement in EPOCHS:
        db.execute(statement)


def _note_scrub(db: apsw.Connection) -> None:
    """Of version 5: what was removed before may still stand in free room of the file; see scrubbing.py."""
    scrubbing.want(db)


def _make_holdable(db: apsw.Connection) -> None:
    for statement in HOLDING:
        db.execute(statement)


def _name_callback_keys(db: apsw.Connection) -> None:
    for statement in CALLBACK_KEYS:
        db.execute(statement)


def _bound_callbacks(db: apsw.Connection) -> None:
    for statement in CALLS_IN_FLIGHT:
        db.execute(statement)


def _make_selectable(db: apsw.Connection) -> None:
    """Of version 2: every run and event gets what it is selected by."""
    for statement in _COLUMNS:
        db.execute(statement)
    for (run_no,) in fetch(db, "SELECT run_no FROM runs ORDER BY run_no"):
        _fill_run(db, run_no)
    db.execute(_FILL_EVENTS)
    for statement in SELECTING:
        db.execute(statement)


def _count_uses(db: apsw.Connection) -> None:
    """Of version 3: the references that the stored events make to contents."""
    db.execute("ALTER TABLE runs ADD COLUMN removed_at INTEGER NOT NULL DEFAULT 0")
    db.execute("DROP INDEX IF EXISTS runs_of_namespace")
    for statement in REMOVING:
        db.execute(statement)
    for run_no, namespace in fetch(db, "SELECT run_no, namespace FROM runs ORDER BY run_no"):
        uses: Counter[str] = Counter()
        for (data,) in db.execute("SELECT data FROM events WHERE run_no = ?", (run_no,)):
            uses.update(digests_of(data))
        db.executemany(_ADD_USES, ((namespace, digest, count) for digest, count in uses.items()))
    db.execute("DELETE FROM content_uses WHERE uses < 2")


def _check_tombstones(db: apsw.Connection) -> None:
    """Of version 5: what is left of removed runs gets a check, for their events are gone.

    The rows of all other runs keep their bytes. They have no check, so they are
    not believed: the first who asks for such a run folds its events, and its row
    is written anew. To fold every run that ever ended here would keep a large
    journal from opening for hours, and a check made of an old row without that
    would call whole what may be damaged already.
    """
    columns = "namespace, run_id, hash, last_position, status, snapshot"
    for (run_no,) in fetch(db, "SELECT run_no FROM runs WHERE removed_at > 0"):
        try:
            found = fetch(db, f"SELECT {columns} FROM runs WHERE run_no = ?", run_no)
            namespace, run_id, own_hash, position, number, left = found[0]
            state = tombstone.decode(RunKey(Namespace(namespace), RunId(run_id)), left)
            row = SnapshotRow.of(left, RowColumns.of(state, RunStatus(number)))
        except (AgentError, ValueError):  # also of text that is none
            continue  # it stays without a check, and so unreadable
        checked = row.checked(RowEnd(position, own_hash, is_open=False))
        db.execute("UPDATE runs SET snapshot = ? WHERE run_no = ?", (checked, run_no))


def _check_callbacks(db: apsw.Connection) -> None:
    """Of version 5: registrations get a check. Those of before are taken as they are: nothing tells what they were."""
    for statement in CALLBACK_CHECKS:
        db.execute(statement)
    here = "namespace = CAST(? AS TEXT) AND callback_id = CAST(? AS TEXT)"
    for key in fetch(db, "SELECT CAST(namespace AS BLOB), CAST(callback_id AS BLOB) FROM callbacks"):
        try:
            (row,) = fetch(db, f"SELECT {callback_rows.COLUMNS} FROM callbacks WHERE {here}", *key)
        except UnicodeDecodeError:
            continue  # it stays without a check, and is not used
        db.execute(f"UPDATE callbacks SET row_check = ? WHERE {here}", (callback_rows.check_of(row), *key))


# Each part of the server that needs something of version 5 has a step here; they know nothing of one another.
_TO_VERSION_5: tuple[Callable[[apsw.Connection], None], ...] = (
    _make_holdable,
    _name_callback_keys,
    _bound_callbacks,
    _check_callbacks,  # of the columns that are there by now
    _add_epochs,
    _note_scrub,
    _check_tombstones,
)


def _fill_run(db: apsw.Connection, run_no: int) -> None:
    ((namespace, run_id, is_open, snapshot),) = fetch(
        db, "SELECT namespace, run_id, open, snapshot FROM runs WHERE run_no = ?", run_no
    )
    state = decode_state(snapshot, version=1) or _folded(db, run_no, RunKey(Namespace(namespace), RunId(run_id)))
    columns: tuple[Any, ...]
    if state is not None:
        columns = (state.session_id, state.agent_id, status(state).value, json.dumps(state.labels))
    else:  # a run that recovery will find to be damaged keeps what its bytes still say
        columns = (*_first_subjects(db, run_no), _status_by_kind(db, run_no, is_open), "{}")
    db.execute(
        "UPDATE runs SET session_id = ?, agent_id = ?, status = ?, labels = ? WHERE run_no = ?", (*columns, run_no)
    )


def _folded(db: apsw.Connection, run_no: int, run: RunKey) -> RunState | None:
    rows = fetch(db, "SELECT data FROM events WHERE run_no = ? ORDER BY seq", run_no)
    try:
        return fold(RunState(key=run), (decode_event(data) for (data,) in rows))
    except (AgentError, IllegalTransition):
        return None


def _first_subjects(db: apsw.Connection, run_no: int) -> tuple[str, str]:
    rows = fetch(db, "SELECT data FROM events WHERE run_no = ? AND seq = 1", run_no)
    try:
        return event_subjects(rows[0][0]) if rows else ("", "")
    except AgentError:
        return "", ""


def _status_by_kind(db: apsw.Connection, run_no: int, is_open: int) -> int:
    if is_open:
        return RunStatus.RUNNING.value
    ((kind,),) = fetch(db, "SELECT kind FROM events WHERE run_no = ? ORDER BY seq DESC LIMIT 1", run_no)
    return _ENDED.get(EventKind(kind), RunStatus.RUNNING).value
