"""The journal's questions, each a function of a reading connection."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import apsw

from runwright.adapters.sqlite.failures import corrupt
from runwright.adapters.sqlite.tables import BEARS_MESSAGE, KEPT, fetch
from runwright.core.errors import AgentError
from runwright.core.events import EventKind
from runwright.core.ids import Namespace, RunId, RunKey
from runwright.core.records import Record
from runwright.core.state import RunState
from runwright.ports.journal import StoredEvent
from runwright.wire import tombstone
from runwright.wire.records import decode_event
from runwright.wire.state_row import decode_state

EVENT_COLUMNS = "position, seq, kind, data, previous_hash, hash"
OF_RUN = f"run_no = (SELECT run_no FROM runs WHERE namespace = ? AND run_id = ? AND {KEPT})"


def tail(db: apsw.Connection, run: RunKey) -> tuple[RunState | None, list[Record]]:
    """The snapshot, if this version can read it, and the records it does not cover; what is left of a removed run."""
    query = "SELECT snapshot, removed_at FROM runs WHERE namespace = ? AND run_id = ?"
    rows = fetch(db, query, run.namespace, run.run_id)
    if not rows:
        return None, []
    if rows[0][1]:
        return tombstone.decode(run, rows[0][0]), []
    state = decode_state(rows[0][0])
    after = state.seq if state else 0
    newer = fetch(
        db, f"SELECT seq, data FROM events WHERE {OF_RUN} AND seq > ? ORDER BY seq", run.namespace, run.run_id, after
    )
    return state, _decode(run, newer)


def messages(db: apsw.Connection, run: RunKey) -> list[Record]:
    """The records that carry the conversation."""
    query = f"SELECT seq, data FROM events WHERE {OF_RUN} AND {BEARS_MESSAGE} ORDER BY seq"
    return _decode(run, fetch(db, query, run.namespace, run.run_id))


def read(db: apsw.Connection, run: RunKey, after: int, limit: int) -> list[StoredEvent]:
    """One page of a run's events."""
    run_no, seq = place(db, run, after)
    query = f"""SELECT {EVENT_COLUMNS}, session_id, agent_id FROM events
        WHERE run_no = ? AND seq > ? ORDER BY seq LIMIT ?"""
    return [stored_event(row, run) for row in fetch(db, query, run_no, seq, limit)]


def place(db: apsw.Connection, run: RunKey, after: int) -> tuple[int, int]:
    """The number of a run, 0 without one, and the seq of its last event at or before the position `after`.

    Within a run the order of seqs is that of positions. Mostly the position is an
    event of the run, or behind its last; otherwise the place is found by halving.
    """
    query = f"SELECT run_no, seq, last_position FROM runs WHERE namespace = ? AND run_id = ? AND {KEPT}"
    rows = fetch(db, query, run.namespace, run.run_id)
    if not rows or after <= 0:
        return (rows[0][0] if rows else 0), 0
    run_no, high, last_position = rows[0]
    if after >= last_position:
        return run_no, high
    own = fetch(db, "SELECT seq FROM events WHERE position = ? AND run_no = ?", after, run_no)
    low, high = (own[0][0], own[0][0]) if own else (0, high)
    while low < high:
        middle = (low + high + 1) // 2
        at = fetch(db, "SELECT position FROM events WHERE run_no = ? AND seq = ?", run_no, middle)
        low, high = (low, middle - 1) if at and at[0][0] > after else (middle, high)
    return run_no, low


def stored_event(row: tuple[Any, ...], run: RunKey) -> StoredEvent:
    """The event of a row of EVENT_COLUMNS, then session and agent."""
    position, seq, kind, data, previous_hash, own_hash, session_id, agent_id = row
    return StoredEvent(position, seq, EventKind(kind), data, previous_hash, own_hash, run, session_id, agent_id)


def last_position(db: apsw.Connection, run: RunKey) -> int:
    """Where the run's last event is; 0 for an unknown run."""
    rows = fetch(db, "SELECT last_position FROM runs WHERE namespace = ? AND run_id = ?", run.namespace, run.run_id)
    position: int = rows[0][0] if rows else 0
    return position


def open_runs(db: apsw.Connection) -> list[RunKey]:
    """The runs without a terminal event, in the order of their first."""
    rows = fetch(db, "SELECT namespace, run_id FROM runs WHERE open = 1 ORDER BY run_no")
    return [RunKey(Namespace(namespace), RunId(run_id)) for namespace, run_id in rows]


def content(db: apsw.Connection, namespace: Namespace, digests: Sequence[str]) -> dict[str, bytes]:
    """The stored bytes by digest. One parameter for all digests, so that their number has no limit."""
    query = """SELECT digest, data FROM contents
        WHERE namespace = ? AND digest IN (SELECT value FROM json_each(?))"""
    return dict(fetch(db, query, namespace, json.dumps(list(digests))))


def _decode(run: RunKey, rows: list[tuple[int, bytes]]) -> list[Record]:
    records = []
    for seq, data in rows:
        try:
            records.append(decode_event(data))
        except AgentError as error:
            raise corrupt(error.message, run_id=run.run_id, first_bad=str(seq)) from error
    return records
