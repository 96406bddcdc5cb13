"""Removes ended runs by age, a bounded step at a time: a tombstone first, then the events and their contents."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection
from typing import NamedTuple

import apsw
from msgspec import Struct

from runwright.adapters.journal_rules import REMOVED_BYTES, digests_of
from runwright.adapters.sqlite import side_rows
from runwright.adapters.sqlite.reading.run_rows import load
from runwright.adapters.sqlite.tables import NOT_REMOVED, fetch
from runwright.core.errors import AgentError
from runwright.core.ids import Namespace, RunId, RunKey
from runwright.core.machine import status
from runwright.core.state import RunState
from runwright.ports.journal import Removed
from runwright.wire import tombstone
from runwright.wire.checked_row import RowColumns, RowEnd, SnapshotRow
from runwright.wire.records import event_time

# The run whose events are being deleted, one at a time: whoever comes after a crash goes on with it.
REMOVING = "removing"
_LOOKED_AT = 64  # ended runs that one step may pass over because their end cannot be read
_CANDIDATES = f"""
    SELECT r.run_no, r.namespace, r.run_id, e.data
    FROM runs r INDEXED BY runs_ended LEFT JOIN events e ON e.position = r.last_position
    WHERE r.open = 0 AND r.{NOT_REMOVED} ORDER BY r.last_position LIMIT {_LOOKED_AT}"""


class Wanted(Struct, frozen=True):
    """Which runs are to go: ended before a time, and none with an event at a position that is `held`."""

    before: int
    now: int
    held: Collection[int]


class _Run(NamedTuple):
    number: int
    namespace: str


def step(db: apsw.Connection, wanted: Wanted, limit: int) -> Removed:
    """One step, inside the open transaction."""
    begun: list[RunKey] = []
    events, room, horizon = 0, REMOVED_BYTES, 0
    run = _unfinished(db)
    while events < limit and room > 0:
        if run is None:
            found = _begin(db, wanted)
            if found is None:
                return Removed(begun, events, False, horizon)
            key, horizon = found
            begun.append(key)
            run = _unfinished(db)
            assert run is not None, "it has just begun"
        deleted, freed, done = _delete(db, run, limit - events, room)
        events, room = events + deleted, room - freed
        if done:
            db.execute("DELETE FROM meta WHERE key = ?", (REMOVING,))
            run = None
    return Removed(begun, events, True, horizon)


def _unfinished(db: apsw.Connection) -> _Run | None:
    # Never those of a run that is not removed, whatever the number has become.
    query = (
        "SELECT run_no, namespace FROM runs WHERE run_no = (SELECT value FROM meta WHERE key = ?) AND removed_at > 0"
    )
    rows = fetch(db, query, REMOVING)
    return _Run(*rows[0]) if rows else None


def _begin(db: apsw.Connection, wanted: Wanted) -> tuple[RunKey, int] | None:
    """Leaves a tombstone of the first run that is old enough: which, and the horizon then; None when there is none.

    The order is that of last events and nobody is passed over for being young:
    so the horizon only ever rises, and a reader knows from it what is missing.
    """
    at = "SELECT run_no FROM events WHERE position = ?"
    held = {run_no for position in wanted.held for (run_no,) in fetch(db, at, position)}
    for run_no, namespace, run_id, data in fetch(db, _CANDIDATES):
        try:
            ended = event_time(data or b"\xff")
        except AgentError:
            continue  # its age is not known
        if ended >= wanted.before or run_no in held:
            return None
        run = RunKey(Namespace(namespace), RunId(run_id))
        state = _ended(db, run)
        if state is None:
            continue
        horizon = leave_outline(db, run_no, tombstone.outline(state, wanted.now))
        db.execute("INSERT INTO meta (key, value) VALUES (?, ?)", (REMOVING, run_no))
        return run, horizon
    return None


def _ended(db: apsw.Connection, run: RunKey) -> RunState | None:
    """The run at its end; None when it has not ended, or nobody can tell: such a run stays."""
    try:
        loaded = load(db, run)
        state = loaded.state if loaded else None
        if loaded and loaded.rewrite:
            loaded.rewrite.apply(db)
    except AgentError:
        return None
    return state if state is not None and state.is_terminal and not state.removed_at else None


def leave_outline(db: apsw.Connection, run_no: int, left: RunState) -> int:
    """Puts the outline in place of a run's row, with its check. The horizon of its namespace from then on.

    Each removal raises the horizon, also one that lies below it, as after an
    operator removed a later run: else whoever knows of that one would never
    hear of this.
    """
    query = """SELECT last_position, hash, (SELECT COALESCE(MAX(last_position), 0) FROM runs x
        INDEXED BY removed_of_namespace WHERE x.namespace = r.namespace AND x.removed_at > 0)
        FROM runs r WHERE run_no = ?"""
    ((ended_at, own_hash, horizon),) = fetch(db, query, run_no)
    position: int = max(ended_at, horizon + 1)
    row = SnapshotRow.of(tombstone.encode(left), RowColumns.of(left, status(left)))
    query = """UPDATE runs SET removed_at = ?, seq = ?, snapshot = ?, labels = '{}', open = 0, status = ?,
        session_id = ?, agent_id = ?, last_position = ? WHERE run_no = ?"""
    side_rows.remove(db, run_no)
    checked = row.checked(RowEnd(position, own_hash, is_open=False))
    columns = (status(left).value, left.session_id, left.agent_id, position)
    db.execute(query, (left.removed_at, left.seq, checked, *columns, run_no))
    return position


def _delete(db: apsw.Connection, run: _Run, limit: int, room: int) -> tuple[int, int, bool]:
    """Deletes events of the run from its first on: how many, how many bytes of content, and whether that was all."""
    query = "SELECT position, data, previous_hash, hash FROM events WHERE run_no = ? ORDER BY seq LIMIT ?"
    deleted = freed = 0
    for position, data, previous_hash, own_hash in fetch(db, query, run.number, limit):
        if freed >= room:
            return deleted, freed, False
        if hashlib.sha256(previous_hash + data).digest() == own_hash:  # else nobody knows what it referred to
            freed += release_contents(db, run.namespace, Counter(digests_of(data)))
        db.execute("DELETE FROM events WHERE position = ?", (position,))
        deleted += 1
    return deleted, freed, deleted < limit


def release_contents(db: apsw.Connection, namespace: str, uses: Counter[str]) -> int:
    """Takes the references back; contents without any are deleted. Returns their bytes."""
    freed = 0
    for digest, count in uses.items():
        of = (namespace, digest)
        known = fetch(db, "SELECT uses FROM content_uses WHERE namespace = ? AND digest = ?", *of)
        left = (known[0][0] if known else 1) - count
        if known and left > 1:
            db.execute("UPDATE content_uses SET uses = ? WHERE namespace = ? AND digest = ?", (left, *of))
        elif known:
            db.execute("DELETE FROM content_uses WHERE namespace = ? AND digest = ?", of)
        if left > 0:
            continue
        gone = fetch(db, "DELETE FROM contents WHERE namespace = ? AND digest = ? RETURNING size", namespace, digest)
        freed += sum(size for (size,) in gone)
    return freed
