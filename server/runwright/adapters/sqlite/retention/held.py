"""Runs that cannot be read as a whole: what is intact of one, and how one goes on an operator's word."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection

import apsw
from msgspec.structs import replace

from runwright.adapters.journal_rules import REMOVED_BYTES, digests_of
from runwright.adapters.sqlite.reading.checked_events import whole_part
from runwright.adapters.sqlite.reading.queries import place
from runwright.adapters.sqlite.reading.selecting import outline
from runwright.adapters.sqlite.retention.removing import leave_outline, release_contents
from runwright.adapters.sqlite.tables import fetch
from runwright.core.apply import apply
from runwright.core.errors import AgentError
from runwright.core.ids import RunKey
from runwright.core.outcomes import RunPhase, StopReason
from runwright.core.state import RunState
from runwright.core.transitions import IllegalTransition
from runwright.wire import tombstone
from runwright.wire.records import decode_event

_REMOVED_AT_ONCE = 1000  # events
_ALL = 2**62


def intact(db: apsw.Connection, run: RunKey) -> tuple[RunState, int] | None:
    """See the port. As far as events are what was written and follow from one another; else what the columns say."""
    run_no, _, _ = place(db, run, 0)
    if not run_no:
        return None
    events, _ = whole_part(db, run, run_no, 0, _ALL)
    state, position = RunState(key=run), 0
    for event in events:
        try:
            state = apply(state, decode_event(event.data))
        except (AgentError, IllegalTransition):
            break
        position = event.position
    if state.seq:
        return state, position
    return replace(outline(db, run_no, run), seq=0), 0


def begin_removal(db: apsw.Connection, run: RunKey, now: int) -> int:
    """Leaves an outline of the run in place of its row, inside the open transaction: its position in the horizon.

    0 for an unknown run. Its events go with `go_on`.
    """
    query = "SELECT run_no, seq, open, status FROM runs WHERE namespace = ? AND run_id = ?"
    rows = fetch(db, query, run.namespace, run.run_id)
    known = intact(db, run)
    if not rows or known is None:
        return 0
    run_no, seq, is_open, status = rows[0]
    phase = _end(is_open, status)
    seq = seq if isinstance(seq, int) else known[0].seq
    state = replace(known[0], seq=seq, phase=phase, ended_at=known[0].ended_at or now)
    if phase is RunPhase.CANCELLED:
        state = replace(state, stop=StopReason.CANCELLED)
    horizon = leave_outline(db, run_no, tombstone.outline(state, now))
    db.execute("INSERT OR IGNORE INTO removals (run_no) VALUES (?)", (run_no,))
    return horizon


def _end(is_open: object, status: object) -> RunPhase:
    """How the run ended, as its columns have it; what they cannot say is taken for cancelled."""
    try:
        phase = RunPhase(status)
    except ValueError:
        return RunPhase.CANCELLED
    return phase if is_open == 0 and phase.is_terminal else RunPhase.CANCELLED


def go_on(db: apsw.Connection, retained: Collection[int]) -> bool:
    """One step in deleting events of removed runs, but for those at the positions that are `kept`.

    Inside the open transaction. True while there is more to do now.
    """
    query = """SELECT e.position, e.data, e.previous_hash, e.hash, r.namespace FROM removals x
        JOIN runs r ON r.run_no = x.run_no JOIN events e ON e.run_no = x.run_no
        WHERE e.position NOT IN (SELECT value FROM json_each(?)) LIMIT ?"""
    room = REMOVED_BYTES
    found = fetch(db, query, json.dumps(sorted(retained)), _REMOVED_AT_ONCE)
    for number, (position, data, previous_hash, own_hash, namespace) in enumerate(found):
        if number and room <= 0:
            return True
        if hashlib.sha256(previous_hash + data).digest() == own_hash:  # else nobody knows what it referred to
            room -= release_contents(db, namespace, Counter(digests_of(data)))
        db.execute("DELETE FROM events WHERE position = ?", (position,))
    db.execute("DELETE FROM removals WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.run_no = removals.run_no)")
    return len(found) == _REMOVED_AT_ONCE
