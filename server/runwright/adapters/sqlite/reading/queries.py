"""The journal's questions, each a function of a reading connection. What they answer has been checked."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

import apsw

from runwright.adapters import journal_rules as rules
from runwright.adapters.sqlite.failures import is_damage
from runwright.adapters.sqlite.reading import checked_events
from runwright.adapters.sqlite.reading.run_rows import load
from runwright.adapters.sqlite.tables import NOT_REMOVED, fetch
from runwright.core.ids import Namespace, RunId, RunKey
from runwright.core.kinds import EventKind
from runwright.core.records import Record
from runwright.ports.journal import StoredEvent

__all__ = ["content", "event", "load", "place", "read", "records"]

_CONTENTS = """SELECT digest, data FROM contents
    WHERE namespace = ? AND digest IN (SELECT value FROM json_each(?))"""
_PLACE = f"""SELECT run_no, COALESCE((SELECT MAX(seq) FROM events e WHERE e.run_no = r.run_no), 0), seq
    FROM runs r WHERE namespace = ? AND run_id = ? AND {NOT_REMOVED}"""


def records(db: apsw.Connection, run: RunKey, kinds: Collection[EventKind]) -> list[Record]:
    """The run's records of some kinds.

    Every event of the run is read: which ones are of a kind is only known of events
    that are whole and follow from one another.
    """
    run_no, _, _ = place(db, run, 0)
    events = checked_events.page(db, run, run_no, 0)
    return checked_events.records(run, [event for event in events if event.kind in kinds])


def read(db: apsw.Connection, run: RunKey, after: int, limit: int) -> list[StoredEvent]:
    """One page of a run's events; short when the next one is damaged, and JOURNAL_CORRUPT when the first is."""
    with db:  # one moment: the end of the run is that of its page
        run_no, seq, stands_at = place(db, run, after)
        events, fault = checked_events.whole_part(db, run, run_no, seq, limit)
        if not events and fault is not None:
            raise fault
        reached = events[-1].seq if events else seq
        if fault is None and len(events) < limit and reached != stands_at:
            load(db, run)  # says whether an event is missing at the end or the row is wrong
    return events


def event(db: apsw.Connection, run: RunKey, seq: int) -> StoredEvent | None:
    """One event of a run, by its number."""
    if seq < 1:
        return None
    with db:
        run_no, _, _ = place(db, run, 0)
        events, fault = checked_events.whole_part(db, run, run_no, seq - 1, 1)
    if not events and fault is not None:
        raise fault
    return events[0] if events and events[0].seq == seq else None


def place(db: apsw.Connection, run: RunKey, after: int) -> tuple[int, int, int]:
    """The number of a run, 0 without one; the seq of its last event at or before a position; and its row's seq.

    Within a run the order of seqs is that of positions. Mostly the position is an
    event of the run, or behind its last; otherwise the place is found by halving.
    """
    rows = fetch(db, _PLACE, run.namespace, run.run_id)
    if not rows:
        return 0, 0, 0
    run_no, high, stands_at = rows[0]
    if after <= 0:
        return run_no, 0, stands_at
    own = fetch(db, "SELECT seq FROM events WHERE position = ? AND run_no = ?", after, run_no)
    low, high = (own[0][0], own[0][0]) if own else (0, high)
    middle = high  # first of all: a reader that has caught up is behind the last
    while low < high:
        at = fetch(db, "SELECT position FROM events WHERE run_no = ? AND seq = ?", run_no, middle)
        low, high = (low, middle - 1) if at and at[0][0] > after else (middle, high)
        middle = (low + high + 1) // 2
    return run_no, low, stands_at


def content(
    db: apsw.Connection, namespace: Namespace, digests: Sequence[str], run: RunId | None = None, *, required: bool
) -> dict[str, bytes]:
    """The stored bytes by digest, each checked against it. One parameter for all, so that their number has no limit."""
    try:
        found: dict[str, bytes] = dict(fetch(db, _CONTENTS, namespace, json.dumps(list(digests))))
        bad = rules.damaged(found)
    except (apsw.Error, UnicodeDecodeError) as error:
        if not is_damage(error):
            raise
        found, bad = {}, next((digest for digest in digests if not _is_readable(db, namespace, digest)), "")
    if bad is not None:
        raise rules.damaged_content(run, bad, _first_referring(db, namespace, run, bad))
    missing = next((digest for digest in digests if digest not in found), None) if required else None
    if missing is not None:
        raise rules.missing_content(run, missing, _first_referring(db, namespace, run, missing))
    return found


def _first_referring(db: apsw.Connection, namespace: Namespace, run: RunId | None, digest: str) -> int:
    """The number of the run's first event that refers to a content; 0 when none can be found."""
    try:
        run_no, _, _ = place(db, RunKey(namespace, run), 0) if run else (0, 0, 0)
        for seq, data in db.execute("SELECT seq, data FROM events WHERE run_no = ? ORDER BY seq", (run_no,)):
            if digest in rules.digests_of(data):
                return int(seq)
    except (apsw.Error, ValueError, TypeError):
        pass
    return 0


def _is_readable(db: apsw.Connection, namespace: Namespace, digest: str) -> bool:
    try:
        rows = fetch(db, _CONTENTS, namespace, json.dumps([digest]))
    except (apsw.Error, UnicodeDecodeError):
        return False
    return rules.damaged(dict(rows)) is None
