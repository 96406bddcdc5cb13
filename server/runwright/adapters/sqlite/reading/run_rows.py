"""A run's row: believed when its check fits, else thrown away and made anew from the run's events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import apsw
from msgspec import Struct
from msgspec.json import decode as decode_labels
from msgspec.json import encode as encode_labels

from runwright.adapters.sqlite.failures import corrupt, is_damage, of_run
from runwright.adapters.sqlite.reading import checked_events
from runwright.adapters.sqlite.tables import fetch
from runwright.core.apply import apply
from runwright.core.errors import AgentError
from runwright.core.ids import RunKey
from runwright.core.machine import status
from runwright.core.state import RunState
from runwright.core.transitions import IllegalTransition
from runwright.ports.journal import LoadedRun, StoredEvent
from runwright.wire import tombstone
from runwright.wire.checked_row import UNCHECKED, RowColumns, RowEnd, SnapshotRow, believed
from runwright.wire.state_row import VERSION, decode_state, encode_state

# One statement, so that row and last event are of one moment.
_ROWS = """
    SELECT r.run_no, r.seq, r.hash, r.last_position, r.snapshot, e.seq, e.position, e.hash, {found_by}
    FROM runs r LEFT JOIN events e
        ON e.position = (SELECT position FROM events WHERE run_no = r.run_no ORDER BY seq DESC LIMIT 1)"""
_ROW = _ROWS + " WHERE r.namespace = ? AND r.run_id = ?"
# Many at a time: a statement for each costs four times as much as all of its reading.
_NAMED_ROWS = (
    _ROWS.format(found_by="{found_by}, r.namespace, r.run_id")
    + " WHERE (r.namespace, r.run_id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))"
)
_FOUND_BY = "r.open, r.status, r.session_id, r.agent_id, r.labels, r.removed_at"
_REWRITE = """
    UPDATE runs SET seq = ?, hash = ?, last_position = ?, open = ?, status = ?, session_id = ?, agent_id = ?,
        labels = ?, removed_at = 0, snapshot = ?
    WHERE run_no = ? AND snapshot IS ? AND NOT EXISTS (SELECT 1 FROM events WHERE run_no = ? AND seq > ?)"""

LOADED_AT_ONCE = 256  # runs, in one reading transaction


class Rewrite(Struct, frozen=True):
    """A row to be made anew, unless the run has moved since."""

    run: RunKey
    was_damaged: bool  # else it was written by an older version
    values: tuple[Any, ...]

    def apply(self, db: apsw.Connection) -> None:
        """Inside the open transaction."""
        db.execute(_REWRITE, self.values)


def rewrite(db: apsw.Connection, rows: Sequence[Rewrite], *, reindex: bool = False) -> None:
    """Makes rows anew, inside the open transaction.

    `reindex` for a second try: the indexes may know a row as it was before it
    was damaged, and then SQLite cannot take their entries of it away.
    """
    if reindex:
        db.execute("REINDEX runs")
    for row in rows:
        row.apply(db)


class Loaded(Struct, frozen=True):
    """A run as the journal has it, and its row as it must be where it was not believed."""

    run: LoadedRun
    rewrite: Rewrite | None = None

    @property
    def state(self) -> RunState:
        """The run's state."""
        return self.run.state


class _Last(NamedTuple):
    """The run's last event."""

    seq: int
    position: int
    hash: bytes


class _Row(Struct, frozen=True):
    run_no: int
    seq: Any
    hash: Any
    last_position: Any
    snapshot: Any
    last_event: tuple[Any, Any, Any]  # its seq, position and hash
    found_by: tuple[Any, ...] = ()

    @property
    def head(self) -> tuple[Any, Any, Any]:
        """The last event as the row has it."""
        return self.seq, self.last_position, self.hash


def load(db: apsw.Connection, run: RunKey) -> Loaded | None:
    """A run as it stands; None when there is none. Raises JOURNAL_CORRUPT naming the run's first bad event.

    The row is believed when its check fits and the run's last event is the one
    it was written with. Else the events are read and checked from the first on.
    """
    row = _row(db, run)
    return _loaded(db, run, row) if row else None


def _loaded(db: apsw.Connection, run: RunKey, row: _Row) -> Loaded | None:
    checked = _checked(run, row)
    state = _believed(run, row, checked)
    if state is not None and state.removed_at:
        return Loaded(LoadedRun(state, _position(db, row)))
    if state is not None and checked is not None:
        rewrite = None if checked.version == VERSION else _rewrite(row, _Last(*row.last_event), state, False)
        return Loaded(LoadedRun(state, row.last_position), rewrite)
    with db:  # row and events of one moment
        again = _row(db, run)
        events = checked_events.page(db, run, again.run_no, 0) if again else []
    return _from_events(run, again, events) if again else None


def load_many(db: apsw.Connection, runs: Sequence[RunKey]) -> tuple[list[LoadedRun | AgentError | None], list[Rewrite]]:
    """Each run as `load` has it, of one that cannot be read its error; and the rows to be made anew."""
    found: list[LoadedRun | AgentError | None] = []
    rewrites: list[Rewrite] = []
    with db:
        rows = _named_rows(db, runs)
        for run in runs:
            try:
                row = rows.get(run)
                loaded = _loaded(db, run, row) if row else load(db, run)
            except AgentError as error:
                found.append(of_run(run.run_id, error))
                continue
            except (apsw.Error, UnicodeDecodeError) as error:
                if not is_damage(error):
                    raise
                found.append(of_run(run.run_id, corrupt("The journal's file is damaged.")))
                continue
            found.append(loaded.run if loaded else None)
            rewrites += [loaded.rewrite] if loaded and loaded.rewrite else []
    return found, rewrites


def _position(db: apsw.Connection, row: _Row) -> int:
    """Of a removed run: what is left of it may lie above the journal's end."""
    ((head,),) = fetch(db, "SELECT MAX(position) FROM events")
    position: int = row.last_position
    return position if head is None else min(position, head)


def judged(db: apsw.Connection, run: RunKey, folded: RunState | None = None) -> str:
    """What is wrong with the run's row, for whoever only looks; empty when it is whole, or of before rows had a check.

    With `folded`, the state that its events lead to, it must say the same.
    """
    try:
        row = _row(db, run)
        if row is None:
            return "the index does not find its row by its name"
        if isinstance(row.snapshot, bytes) and row.snapshot.startswith(UNCHECKED):
            return ""
        checked = _checked(run, row)
        state = _believed(run, row, checked)
    except AgentError as error:
        return error.message
    if state is None and checked is not None and checked.version < VERSION and row.last_event == row.head:
        return ""  # only its events can tell what it means today
    if state is None:
        return "its row is not as it was written; the next start makes it anew from its events"
    return "" if folded in (None, state) else "its row says another state than its events"


def _row(db: apsw.Connection, run: RunKey) -> _Row | None:
    try:
        rows = fetch(db, _ROW.format(found_by=_FOUND_BY), run.namespace, run.run_id)
    except (apsw.Error, UnicodeDecodeError) as error:
        if not is_damage(error):
            raise
        rows = _without_texts(db, run, error)
    return _as_row(rows[0]) if rows else None


def _named_rows(db: apsw.Connection, runs: Sequence[RunKey]) -> dict[RunKey, _Row]:
    """The rows of these runs, in one question. None where any of them cannot be read: each is asked for by itself."""
    names = json.dumps([(run.namespace, run.run_id) for run in runs])
    try:
        rows = fetch(db, _NAMED_ROWS.format(found_by=_FOUND_BY), names)
    except (apsw.Error, UnicodeDecodeError) as error:
        if not is_damage(error):
            raise
        return {}
    return {RunKey(*columns[-2:]): _as_row(columns[:-2]) for columns in rows}


def _as_row(columns: tuple[Any, ...]) -> _Row:
    run_no, seq, own_hash, last_position, snapshot = columns[:5]
    return _Row(run_no, seq, own_hash, last_position, snapshot, columns[5:8], columns[8:])


def _without_texts(db: apsw.Connection, run: RunKey, error: Exception) -> list[Any]:
    """The row without the columns that the file may hold as no text at all."""
    if not isinstance(error, UnicodeDecodeError):
        raise corrupt(f"The row of run {run.run_id} cannot be read from the file.", run_id=run.run_id) from error
    return fetch(db, _ROW.format(found_by="NULL"), run.namespace, run.run_id)


def _checked(run: RunKey, row: _Row) -> SnapshotRow | None:
    """What stands in the row if it is as it was written."""
    try:
        is_open, number, session_id, agent_id, labels, removed_at = row.found_by
        columns = RowColumns(run, row.seq, session_id, agent_id, number, decode_labels(labels), removed_at)
    except (ValueError, TypeError):
        return None
    return believed(row.snapshot, columns, RowEnd(row.last_position, row.hash, is_open))


def _believed(run: RunKey, row: _Row, checked: SnapshotRow | None) -> RunState | None:
    """The state in the row, or None when anything about it does not fit."""
    if checked is None:
        return None
    if row.found_by[-1]:  # removed
        return tombstone.decode(run, checked.body)
    return decode_state(checked.body, checked.version) if row.last_event == row.head else None


def _from_events(run: RunKey, row: _Row, events: list[StoredEvent]) -> Loaded:
    if not events:
        message = f"What is left of run {run.run_id} cannot be read."
        raise corrupt(message, run_id=run.run_id, first_bad="1")
    last = events[-1]
    # An event that is missing at the end changes all three; damage to the row itself seldom more than one.
    agreeing = (row.seq == last.seq) + (row.last_position == last.position) + (row.hash == last.hash)
    if agreeing < 2:
        raise checked_events.damaged_event(run, last.seq + 1, "is missing at the end")
    state = RunState(key=run)
    for record in checked_events.records(run, events):
        try:
            state = apply(state, record)
        except IllegalTransition as error:
            raise checked_events.damaged_event(run, state.seq + 1, "does not follow from those before") from error
    is_unchecked = isinstance(row.snapshot, bytes) and row.snapshot.startswith(UNCHECKED)
    was_damaged = not is_unchecked and (_checked(run, row) is None or row.last_event != row.head)
    return Loaded(
        LoadedRun(state, last.position), _rewrite(row, _Last(last.seq, last.position, last.hash), state, was_damaged)
    )


def _rewrite(row: _Row, last: _Last, state: RunState, was_damaged: bool) -> Rewrite:
    columns, is_open = RowColumns.of(state, status(state)), not state.is_terminal
    snapshot = SnapshotRow.of(encode_state(state), columns).checked(RowEnd(last.position, last.hash, is_open))
    labels = encode_labels(columns.labels, order="sorted").decode()
    found_by = (columns.status, columns.session_id, columns.agent_id, labels)
    head = (last.seq, last.hash, last.position, is_open, *found_by, snapshot)
    return Rewrite(state.key, was_damaged, (*head, row.run_no, row.snapshot, row.run_no, last.seq))
