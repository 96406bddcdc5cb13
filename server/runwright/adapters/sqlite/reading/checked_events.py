"""Events as they come from disk: each checked against its hash, its number, its run and the event before it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apsw

from runwright.adapters.journal_rules import first_link
from runwright.adapters.sqlite.failures import corrupt, is_damage
from runwright.adapters.sqlite.tables import fetch
from runwright.core.errors import AgentError
from runwright.core.ids import Namespace, RunId, RunKey
from runwright.core.kinds import EventKind
from runwright.core.records import Record
from runwright.ports.journal import StoredEvent
from runwright.wire.envelope import envelope
from runwright.wire.records import decode_event, event_run_id

EVENT_COLUMNS = "position, seq, kind, data, previous_hash, hash"
_PAGE = f"""SELECT {EVENT_COLUMNS}, session_id, agent_id FROM events
    WHERE run_no = ? AND seq > ? ORDER BY seq LIMIT ?"""
_ALL = 2**62


def stored_event(row: Sequence[Any], run: RunKey) -> StoredEvent:
    """The event of a row of EVENT_COLUMNS, then session and agent. Raises JOURNAL_CORRUPT when it is not as written."""
    position, seq, kind, data, previous_hash, own_hash, session_id, agent_id = row
    try:
        if (
            hashlib.sha256(previous_hash + data).digest() == own_hash
            and len(previous_hash) == len(own_hash)
            and envelope(run.run_id, session_id, agent_id).holds(data, seq, kind)
        ):
            return StoredEvent(position, seq, EventKind(kind), data, previous_hash, own_hash, run, session_id, agent_id)
    except (TypeError, ValueError, AttributeError):  # a column that is not even of its kind
        pass
    raise damaged_event(run, seq)


def damaged_event(run: RunKey, seq: object, what: str = "is not as it was written") -> AgentError:
    """An event of a run is damaged or missing; what came before it is whole."""
    return corrupt(f"Event {seq} of run {run.run_id} {what}.", run_id=run.run_id, first_bad=str(seq))


def name_in(row: Sequence[Any], namespace: Namespace) -> RunKey | None:
    """The run that the bytes of a row name; None when they are not those of their hash."""
    data, previous_hash, own_hash = row[3:6]
    try:
        if hashlib.sha256(previous_hash + data).digest() == own_hash:
            return RunKey(namespace, RunId(event_run_id(data)))
    except (TypeError, AgentError):
        pass
    return None


def page(db: apsw.Connection, run: RunKey, run_no: int, after: int, limit: int = _ALL) -> list[StoredEvent]:
    """At most `limit` events of a run behind its event number `after`: without a gap, and each follows from the last.

    Raises JOURNAL_CORRUPT naming the first that does not. An end that is
    missing cannot be seen here.
    """
    events, fault = whole_part(db, run, run_no, after, limit)
    if fault is not None:
        raise fault
    return events


def whole_part(
    db: apsw.Connection, run: RunKey, run_no: int, after: int, limit: int
) -> tuple[list[StoredEvent], AgentError | None]:
    """The same up to the first event that is damaged or missing, and what is wrong with that one."""
    events: list[StoredEvent] = []
    expected = after
    previous = first_link(run) if not after else None
    position = 0
    try:
        for row in _rows(db, run, run_no, after, limit):
            expected += 1
            if row[1] != expected:
                raise damaged_event(run, expected, "is missing")
            event = stored_event(row, run)
            if previous not in (None, event.previous_hash) or event.position <= position:
                raise damaged_event(run, expected, "does not follow from the one before")
            previous, position = event.hash, event.position
            events.append(event)
    except AgentError as fault:
        return events, fault
    return events, None


def records(run: RunKey, events: Sequence[StoredEvent]) -> list[Record]:
    """What the events say. Raises JOURNAL_CORRUPT naming the first that this version cannot read."""
    found = []
    for event in events:
        try:
            found.append(decode_event(event.data))
        except AgentError as error:
            raise corrupt(error.message, run_id=run.run_id, first_bad=str(event.seq)) from error
    return found


def _rows(db: apsw.Connection, run: RunKey, run_no: int, after: int, limit: int) -> Iterable[Any]:
    """The rows of a page. When SQLite cannot read one of them, those before it come first."""
    try:
        return fetch(db, _PAGE, run_no, after, limit)
    except (apsw.Error, UnicodeDecodeError) as error:
        if not is_damage(error):
            raise
        return _rows_one_by_one(db, run, (run_no, after, limit))


def _rows_one_by_one(db: apsw.Connection, run: RunKey, values: tuple[int, int, int]) -> Iterator[Any]:
    """All are read before the first is given: a cursor left half-read would hold its snapshot and let `-wal` grow."""
    rows, fault = [], None
    try:
        for row in db.execute(_PAGE, values):
            rows.append(row)
    except (apsw.Error, UnicodeDecodeError) as error:
        fault = error
    yield from rows
    if fault is not None:
        raise damaged_event(run, values[1] + len(rows) + 1, "cannot be read from the file") from fault
