"""Batch: one append on its way to disk; and how a group of them becomes rows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, TypeAlias

import apsw
from msgspec import Struct

from runwright.adapters import journal_rules as rules
from runwright.adapters.sqlite.rows import get_rows, put_rows
from runwright.adapters.sqlite.tables import fetch
from runwright.core.content import Content
from runwright.core.errors import AgentError
from runwright.core.ids import RunKey
from runwright.ports.journal import StoredEvent

Outcome: TypeAlias = list[StoredEvent] | AgentError
Digest: TypeAlias = tuple[str, str]  # of a content, behind its namespace

_FIND_RUNS = """
    WITH wanted (namespace, run_id) AS ({values})
    SELECT r.namespace, r.run_id, r.run_no, r.seq, r.hash FROM wanted
    CROSS JOIN runs r ON r.namespace = wanted.namespace AND r.run_id = wanted.run_id"""
_FIND_CONTENTS = """
    WITH wanted (namespace, digest) AS ({values})
    SELECT c.namespace, c.digest FROM wanted
    CROSS JOIN contents c ON c.namespace = wanted.namespace AND c.digest = wanted.digest"""
_LAST_RUN = "SELECT COALESCE(MAX(run_no), 0) FROM runs"
_ADD_RUNS = """
    INSERT INTO runs (run_no, seq, hash, last_position, snapshot, status, open,
        namespace, run_id, session_id, agent_id, labels) {values}"""
# Only what changes: SQLite writes every index of a column that is named, whether its value is another one or not.
_MOVE_RUNS = """
    WITH moved (run_no, seq, hash, last_position, snapshot, status) AS ({values})
    UPDATE runs SET seq = moved.seq, hash = moved.hash, last_position = moved.last_position,
        snapshot = moved.snapshot, status = moved.status
    FROM moved WHERE runs.run_no = moved.run_no"""
_END_RUNS = "WITH ended (run_no) AS ({values}) UPDATE runs SET open = 0 WHERE run_no IN (SELECT run_no FROM ended)"
_ADD_EVENTS = """
    INSERT INTO events (position, run_no, seq, kind, data, previous_hash, hash, namespace, session_id, agent_id)
    {values}"""
_ADD_CONTENTS = "INSERT INTO contents (namespace, digest, media_type, size, data) {values}"
# One use more than there are rows for: whoever has none is used once.
_ADD_USES = """
    INSERT INTO content_uses (namespace, digest, uses) {values}
    ON CONFLICT (namespace, digest) DO UPDATE SET uses = uses - 1 + excluded.uses"""


class Batch(Struct, frozen=True, eq=False):
    """What one caller handed over, encoded, and the future that tells it the outcome."""

    run: RunKey
    events: rules.Encoded
    after: int
    contents: tuple[Content, ...]
    snapshot: bytes
    answer: asyncio.Future[list[StoredEvent]]


class _Run(Struct):
    """A run of the group, as far as the group has brought it."""

    seq: int
    hash: bytes
    run_no: int = 0  # 0 until it has a row
    latest: Batch | None = None
    is_open: bool = True
    last_position: int = 0


def write(db: apsw.Connection, group: Sequence[Batch], position: int) -> list[Outcome]:
    """Writes the group behind `position`, inside the open transaction: what became of each batch.

    A batch whose caller did not know the run's last event is a
    JOURNAL_CONFLICT and leaves nothing. After an exception the caller rolls back.
    """
    runs = _runs(db, group)
    outcomes: list[Outcome] = []
    written: list[tuple[Batch, list[StoredEvent]]] = []
    for batch in group:
        run = runs[batch.run]
        if run.seq != batch.after:
            outcomes.append(rules.conflict(batch.run))
            continue
        stored = rules.link(batch.events, after=run.seq, position=position, previous_hash=run.hash)
        last = stored[-1]
        run.seq, run.hash, position = last.seq, last.hash, last.position
        run.latest, run.last_position, run.is_open = batch, position, rules.ends_open(stored)
        outcomes.append(stored)
        written.append((batch, stored))
    _put_runs(db, runs)
    _put_events(db, [(runs[batch.run].run_no, event) for batch, stored in written for event in stored])
    _put_contents(db, [batch for batch, _ in written])
    return outcomes


def _runs(db: apsw.Connection, group: Sequence[Batch]) -> dict[RunKey, _Run]:
    wanted = {batch.run for batch in group}
    places = [(key.namespace, key.run_id) for key in wanted]
    found = {
        (namespace, run_id): _Run(seq, last_hash, run_no)
        for namespace, run_id, run_no, seq, last_hash in get_rows(db, _FIND_RUNS, places)
    }
    return {key: found.get((key.namespace, key.run_id)) or _Run(0, rules.first_link(key)) for key in wanted}


def _put_runs(db: apsw.Connection, runs: dict[RunKey, _Run]) -> None:
    """One row a run, however often it moved. What a run is found by stands from its first row on."""
    new: list[tuple[Any, ...]] = []
    moved: list[tuple[Any, ...]] = []
    for key, run in runs.items():
        if run.latest is None:
            continue
        own, snapshot = run.latest.events, run.latest.snapshot
        stands = (run.seq, run.hash, run.last_position, snapshot, own.status.value)
        if run.run_no:
            moved.append((run.run_no, *stands))
            continue
        run.run_no = (new[-1][0] if new else fetch(db, _LAST_RUN)[0][0]) + 1
        found_by = (key.namespace, key.run_id, own.session_id, own.agent_id, json.dumps(own.labels))
        new.append((run.run_no, *stands, run.is_open, *found_by))
    added = {row[0] for row in new}
    put_rows(db, _ADD_RUNS, new)
    put_rows(db, _MOVE_RUNS, moved)
    ended = [(run.run_no,) for run in runs.values() if run.latest and not run.is_open and run.run_no not in added]
    put_rows(db, _END_RUNS, ended)


def _put_events(db: apsw.Connection, events: Sequence[tuple[int, StoredEvent]]) -> None:
    rows = [
        (e.position, run_no, e.seq, e.kind.value, e.data, e.previous_hash, e.hash, e.run.namespace, *_subjects(e))
        for run_no, e in events
    ]
    put_rows(db, _ADD_EVENTS, rows)


def _subjects(event: StoredEvent) -> tuple[str, str]:
    return event.session_id, event.agent_id


def _put_contents(db: apsw.Connection, batches: Sequence[Batch]) -> None:
    """Stores what is not there yet, and counts what is referred to once more."""
    offered = {(batch.run.namespace, c.ref.digest): c for batch in batches for c in batch.contents}
    known: set[Digest] = set(get_rows(db, _FIND_CONTENTS, [*offered]))
    new = {place: content for place, content in offered.items() if place not in known}
    put_rows(
        db,
        _ADD_CONTENTS,
        [(*place, content.ref.media_type, content.ref.size, content.data) for place, content in new.items()],
    )
    uses: dict[Digest, int] = {}
    for batch in batches:
        for digest, count in batch.events.uses.items():
            place = (batch.run.namespace, digest)
            uses[place] = uses.get(place, 0) + count
    further = {place: count - (place in new) for place, count in uses.items()}
    put_rows(db, _ADD_USES, [(*place, 1 + count) for place, count in further.items() if count])
