"""The questions over many runs: events by scope and filter, runs by filter. Each looks at a bounded number of rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import apsw
from msgspec import Struct
from msgspec.structs import replace

from runwright.adapters.journal_rules import SCANNED_EVENTS, SCANNED_RUNS
from runwright.adapters.sqlite.reading import checked_events, queries
from runwright.adapters.sqlite.reading.open_runs import name_of
from runwright.adapters.sqlite.reading.run_rows import Rewrite
from runwright.adapters.sqlite.tables import ENDS_RUN, EVENTS_OF_RUN, IN_SESSION, NOT_REMOVED, fetch
from runwright.core.errors import AgentError
from runwright.core.ids import Namespace, RunId, RunKey
from runwright.core.kinds import TERMINAL
from runwright.core.outcomes import RunPhase, RunStatus
from runwright.core.selection import EVERYTHING, EventFilter, RunFilter, Scope, ScopeKind, Selection
from runwright.core.state import RunState
from runwright.ports.journal import NOTHING, EventPage, ListedRun, RunPage, StoredEvent

Condition: TypeAlias = tuple[str, list[str | int]]
Listed: TypeAlias = tuple[RunPage, list[Rewrite]]
_COLUMNS = "e." + checked_events.EVENT_COLUMNS.replace(", ", ", e.")


def select(db: apsw.Connection, selection: Selection, after: int, limit: int) -> EventPage:
    """One page of a stream.

    The scope alone, by its index, says how far this call may look; the filter
    then picks among those. The index is named, because a filter must never
    make SQLite walk another one without a bound.
    """
    with db:  # one moment: what is missing is always known to be missing
        page = _select(db, selection, after, limit)
        missing = horizon(db, selection.scope)
    return replace(page, horizon=missing)


def horizon(db: apsw.Connection, scope: Scope) -> int:
    """The highest position of a removed event of the scope; 0 when none was removed. A removed run has no stream."""
    query = "SELECT MAX(last_position) FROM runs INDEXED BY {} WHERE namespace = ? AND removed_at > 0 {}"
    match scope.kind:
        case ScopeKind.RUN:
            rows = [(0,)]
        case ScopeKind.ALL:
            rows = fetch(db, query.format("removed_of_namespace", ""), scope.namespace)
        case ScopeKind.SESSION:
            rows = fetch(db, query.format("removed_of_session", "AND session_id = ?"), scope.namespace, scope.id)
        case ScopeKind.AGENT:
            rows = fetch(db, query.format("removed_of_agent", "AND agent_id = ?"), scope.namespace, scope.id)
    position: int = rows[0][0] or 0
    return position


class _Within(Struct, frozen=True):
    """Where a stream looks: its index, the condition that uses it up to a position, and the order it gives."""

    index: str
    condition: str
    values: tuple[str | int, ...]
    order: str = "position"


def _select(db: apsw.Connection, selection: Selection, after: int, limit: int) -> EventPage:
    ((head,),) = fetch(db, "SELECT COALESCE(MAX(position), 0) FROM events")  # what comes later lies above
    within = _within(db, selection, after)
    scanned = f"""SELECT position FROM events e INDEXED BY {within.index} WHERE {within.condition}
        ORDER BY {within.order} LIMIT ?"""
    ((rows, last),) = fetch(db, f"SELECT COUNT(*), MAX(position) FROM ({scanned})", *within.values, SCANNED_EVENTS)
    until = last if rows == SCANNED_EVENTS else max(head, after)
    if not rows:
        return EventPage([], until, False)
    wanted, values = _wanted(selection.filter)
    found = fetch(
        db,
        f"""SELECT {_COLUMNS}, e.session_id, e.agent_id, r.run_no, r.namespace, r.run_id
        FROM events e INDEXED BY {within.index} LEFT JOIN runs r ON r.run_no = e.run_no
        WHERE {within.condition} AND position <= ? AND IFNULL(r.{NOT_REMOVED}, 1) {wanted}
        ORDER BY {within.order} LIMIT ?""",
        *within.values,
        until,
        *values,
        limit + 1,
    )
    events = _checked(db, selection, found[:limit])
    if len(events) < len(found):  # the rest does not fit, or begins with one that is damaged
        return EventPage(events, events[-1].position, True)
    return EventPage(events, until, rows == SCANNED_EVENTS)


def _checked(db: apsw.Connection, selection: Selection, rows: Sequence[Sequence[Any]]) -> list[StoredEvent]:
    """The events of the rows up to the first that is damaged; JOURNAL_CORRUPT when that is the first of all.

    Each is as it was written and of this stream; of one run, each follows from
    the last. What an index has lost is only seen between two events of a run.
    """
    events: list[StoredEvent] = []
    newest: dict[RunKey, StoredEvent] = {}
    for *row, run_no, namespace, run_id in rows:
        try:
            run = RunKey(Namespace(namespace or selection.scope.namespace), RunId(run_id or ""))
            event = _event(db, row, run_no or 0, run)
            _require_place(selection, event, newest.get(event.run))
        except AgentError:
            if events:
                break
            raise
        newest[event.run] = event
        events.append(event)
    return events


def _require_place(selection: Selection, event: StoredEvent, before: StoredEvent | None) -> None:
    if not event.is_in(selection):
        raise checked_events.damaged_event(event.run, event.seq, "is found where it does not belong")
    hides_none = selection.filter == EVERYTHING
    if hides_none and before and (event.seq, event.previous_hash) != (before.seq + 1, before.hash):
        raise checked_events.damaged_event(event.run, before.seq + 1, "is missing")


def _event(db: apsw.Connection, row: Sequence[Any], run_no: int, run: RunKey) -> StoredEvent:
    try:
        return checked_events.stored_event(row, run)
    except AgentError:
        # What is damaged may be the name in the run's row, or the event's run number: its bytes have the name, too.
        named = checked_events.name_in(row, run.namespace)
        if named in (None, run):
            raise
        if named == name_of(db, run_no):
            return checked_events.stored_event(row, named)
        raise checked_events.damaged_event(named, row[1]) from None


def _within(db: apsw.Connection, selection: Selection, after: int) -> _Within:
    namespace, of = selection.scope.namespace, selection.scope.id
    match selection.scope.kind:
        case ScopeKind.RUN:
            run_no, seq, _ = queries.place(db, RunKey(namespace, RunId(of)), after)
            return _Within(EVENTS_OF_RUN, "e.run_no = ? AND e.seq > ?", (run_no, seq), "e.seq")
        case ScopeKind.SESSION:
            inside = f"e.namespace = ? AND e.session_id = ? AND e.{IN_SESSION} AND position > ?"
            return _Within("events_of_session", inside, (namespace, of, after))
        case ScopeKind.AGENT:
            inside = "e.namespace = ? AND e.agent_id = ? AND position > ?"
            return _Within("events_of_agent", inside, (namespace, of, after))
        case ScopeKind.ALL:
            kinds = selection.filter.wanted_kinds
            if kinds is not None and kinds <= TERMINAL:
                inside = f"e.namespace = ? AND e.{ENDS_RUN} AND position > ?"
                return _Within("events_ending_runs", inside, (namespace, after))
            return _Within("events_of_namespace", "e.namespace = ? AND position > ?", (namespace, after))


def _wanted(chosen: EventFilter) -> Condition:
    kinds = chosen.wanted_kinds
    dimensions = (
        ("e.kind", None if kinds is None else sorted(kind.value for kind in kinds)),
        ("r.run_id", sorted(chosen.run_ids) or None),
        ("e.session_id", sorted(chosen.session_ids) or None),
        ("e.agent_id", sorted(chosen.agent_ids) or None),
    )
    set_ones = [(column, json.dumps(values)) for column, values in dimensions if values is not None]
    text = "".join(f" AND {column} IN (SELECT value FROM json_each(?))" for column, _ in set_ones)
    return text, [values for _, values in set_ones]


def list_runs(
    db: apsw.Connection,
    namespace: Namespace,
    wanted: RunFilter,
    *,
    before: int | None,
    limit: int,
    statuses: Mapping[str, RunStatus] = NOTHING,
) -> Listed:
    """One page of runs, newest first, and the rows to be made anew."""
    start = before if before is not None else 1 + fetch(db, "SELECT COALESCE(MAX(run_no), 0) FROM runs")[0][0]
    own = f"namespace = ? AND {NOT_REMOVED} AND run_no < ?"
    scanned = f"SELECT run_no FROM runs INDEXED BY runs_of_namespace WHERE {own} ORDER BY run_no DESC LIMIT ?"
    ((rows, last),) = fetch(db, f"SELECT COUNT(*), MIN(run_no) FROM ({scanned})", namespace, start, SCANNED_RUNS)
    if not rows:
        return RunPage([], 1, False), []
    text, values = _wanted_runs(wanted, statuses)
    found = fetch(
        db,
        f"""SELECT run_no, last_position FROM runs INDEXED BY runs_of_namespace
        WHERE {own} AND run_no >= ? {text} ORDER BY run_no DESC LIMIT ?""",
        namespace,
        start,
        last,
        *values,
        limit + 1,
    )
    rewrites: list[Rewrite] = []
    runs = [_listed(db, number, position, rewrites) for number, position in found[:limit]]
    if len(found) > limit:
        return RunPage(runs, runs[-1].number, True), rewrites
    return RunPage(runs, last, rows == SCANNED_RUNS), rewrites


def _listed(db: apsw.Connection, number: int, position: int, rewrites: list[Rewrite]) -> ListedRun:
    """The run as it stands; what its columns say of it when its events cannot be read."""
    run = name_of(db, number)
    try:
        loaded = queries.load(db, run)
        if loaded is not None:
            rewrites += [loaded.rewrite] if loaded.rewrite else []
            return ListedRun(number, loaded.run.state, loaded.run.last_position)
    except AgentError:
        pass  # one damaged run must not hide the others
    return ListedRun(number, outline(db, number, run), position)


def _wanted_runs(wanted: RunFilter, statuses: Mapping[str, RunStatus]) -> Condition:
    text, values = "", list[str | int]()
    if wanted.statuses:
        text += " AND status IN (SELECT value FROM json_each(?))"
        values.append(json.dumps(sorted(status.value for status in wanted.statuses)))
    if wanted.statuses and statuses:  # what the columns say of these is not where they stand
        among = "run_id IN (SELECT value FROM json_each(?))"
        text = f" AND (({text.removeprefix(' AND ')} AND NOT {among}) OR {among})"
        values += [json.dumps([*statuses]), json.dumps([run for run, at in statuses.items() if at in wanted.statuses])]
    for column, value in (("agent_id", wanted.agent_id), ("session_id", wanted.session_id)):
        if value:
            text += f" AND {column} = ?"
            values.append(value)
    for key, value in sorted(wanted.labels.items()):
        readable = "IIF(json_valid(labels), labels, '{}')"  # one damaged row must not hide the others
        text += f" AND EXISTS (SELECT 1 FROM json_each({readable}) AS label WHERE label.key = ? AND label.value = ?)"
        values += [key, value]
    return text, values


def outline(db: apsw.Connection, number: int, run: RunKey) -> RunState:
    """What the columns alone say of a run, as far as they can be read."""
    try:
        query = "SELECT seq, session_id, agent_id, status, labels FROM runs WHERE run_no = ?"
        ((seq, session_id, agent_id, status, labels),) = fetch(db, query, number)
        phase = RunPhase.RUNNING if status == RunStatus.WAITING.value else RunPhase(status)
        known = json.loads(labels)
    except (ValueError, TypeError):
        return RunState(key=run, phase=RunPhase.RUNNING)
    return RunState(key=run, phase=phase, seq=seq, session_id=session_id, agent_id=agent_id, labels=known)
