"""The questions over many runs: events by scope and filter, runs by filter. Each looks at a bounded number of rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypeAlias

import apsw
from msgspec import Struct
from msgspec.structs import replace

from runwright.adapters.journal_rules import SCANNED_EVENTS, SCANNED_RUNS
from runwright.adapters.sqlite import queries
from runwright.adapters.sqlite.tables import ENDS_RUN, EVENTS_OF_RUN, IN_SESSION, KEPT, fetch
from runwright.core.errors import AgentError
from runwright.core.events import TERMINAL
from runwright.core.ids import Namespace, RunId, RunKey
from runwright.core.outcomes import RunPhase, RunStatus
from runwright.core.selection import EventFilter, RunFilter, Scope, ScopeKind, Selection
from runwright.core.state import RunState, fold
from runwright.core.transitions import IllegalTransition
from runwright.ports.journal import NOTHING, EventPage, ListedRun, RunPage

Condition: TypeAlias = tuple[str, list[str | int]]
_COLUMNS = "e." + queries.EVENT_COLUMNS.replace(", ", ", e.")


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
        f"""SELECT {_COLUMNS}, e.session_id, e.agent_id, r.run_id
        FROM events e INDEXED BY {within.index} CROSS JOIN runs r ON r.run_no = e.run_no AND r.{KEPT}
        WHERE {within.condition} AND position <= ? {wanted} ORDER BY {within.order} LIMIT ?""",
        *within.values,
        until,
        *values,
        limit + 1,
    )
    namespace = selection.scope.namespace
    events = [queries.stored_event(row, RunKey(namespace, RunId(run_id))) for *row, run_id in found[:limit]]
    if len(found) > limit:
        return EventPage(events, events[-1].position, True)
    return EventPage(events, until, rows == SCANNED_EVENTS)


def _within(db: apsw.Connection, selection: Selection, after: int) -> _Within:
    namespace, of = selection.scope.namespace, selection.scope.id
    match selection.scope.kind:
        case ScopeKind.RUN:
            run_no, seq = queries.place(db, RunKey(namespace, RunId(of)), after)
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
    before: int | None,
    limit: int,
    stands: Mapping[str, RunStatus] = NOTHING,
) -> RunPage:
    """One page of runs, newest first."""
    start = before if before is not None else 1 + fetch(db, "SELECT COALESCE(MAX(run_no), 0) FROM runs")[0][0]
    own = f"namespace = ? AND {KEPT} AND run_no < ?"
    scanned = f"SELECT run_no FROM runs INDEXED BY runs_of_namespace WHERE {own} ORDER BY run_no DESC LIMIT ?"
    ((rows, last),) = fetch(db, f"SELECT COUNT(*), MIN(run_no) FROM ({scanned})", namespace, start, SCANNED_RUNS)
    if not rows:
        return RunPage([], 1, False)
    text, values = _wanted_runs(wanted, stands)
    found = fetch(
        db,
        f"""SELECT run_no, run_id, last_position FROM runs INDEXED BY runs_of_namespace
        WHERE {own} AND run_no >= ? {text} ORDER BY run_no DESC LIMIT ?""",
        namespace,
        start,
        last,
        *values,
        limit + 1,
    )
    runs = [
        ListedRun(number, state_of(db, RunKey(namespace, RunId(run_id))), position)
        for number, run_id, position in found[:limit]
    ]
    if len(found) > limit:
        return RunPage(runs, runs[-1].number, True)
    return RunPage(runs, last, rows == SCANNED_RUNS)


def _wanted_runs(wanted: RunFilter, stands: Mapping[str, RunStatus]) -> Condition:
    text, values = "", list[str | int]()
    if wanted.statuses:
        text += " AND status IN (SELECT value FROM json_each(?))"
        values.append(json.dumps(sorted(status.value for status in wanted.statuses)))
    if wanted.statuses and stands:  # what the columns say of these is not where they stand
        among = "run_id IN (SELECT value FROM json_each(?))"
        text = f" AND (({text.removeprefix(' AND ')} AND NOT {among}) OR {among})"
        values += [json.dumps([*stands]), json.dumps([run for run, at in stands.items() if at in wanted.statuses])]
    for column, value in (("agent_id", wanted.agent_id), ("session_id", wanted.session_id)):
        if value:
            text += f" AND {column} = ?"
            values.append(value)
    for key, value in sorted(wanted.labels.items()):
        text += " AND EXISTS (SELECT 1 FROM json_each(labels) AS label WHERE label.key = ? AND label.value = ?)"
        values += [key, value]
    return text, values


def state_of(db: apsw.Connection, run: RunKey) -> RunState:
    """The run as it stands; what its columns say of it when its events cannot be read."""
    try:
        state, newer = queries.tail(db, run)
        return fold(state or RunState(key=run), newer)
    except (AgentError, IllegalTransition):
        return _outline(db, run)  # one damaged run must not hide the others


def _outline(db: apsw.Connection, run: RunKey) -> RunState:
    """What the columns alone say of a run."""
    query = "SELECT seq, session_id, agent_id, status, labels FROM runs WHERE namespace = ? AND run_id = ?"
    ((seq, session_id, agent_id, number, labels),) = fetch(db, query, run.namespace, run.run_id)
    status = RunStatus(number)
    phase = RunPhase.RUNNING if status is RunStatus.WAITING else RunPhase(status.value)
    return RunState(key=run, phase=phase, seq=seq, session_id=session_id, agent_id=agent_id, labels=json.loads(labels))
