"""Batch: one append on its way to disk."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import apsw

from runwright.adapters import journal_rules as rules
from runwright.adapters.sqlite.tables import fetch
from runwright.core.content import Content
from runwright.core.ids import RunKey
from runwright.ports.journal import StoredEvent

_FIND_RUN = "SELECT seq, hash FROM runs WHERE namespace = ? AND run_id = ?"
_PUT_RUN = """
    INSERT INTO runs (namespace, run_id, seq, hash, last_position, open, snapshot, session_id, agent_id, status, labels)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (namespace, run_id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash,
        last_position = excluded.last_position, open = excluded.open, snapshot = excluded.snapshot,
        session_id = excluded.session_id, agent_id = excluded.agent_id, status = excluded.status,
        labels = excluded.labels
    RETURNING run_no"""
_PUT_EVENT = """
    INSERT INTO events (position, run_no, seq, kind, data, previous_hash, hash, namespace, session_id, agent_id)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_PUT_CONTENT = """
    INSERT OR IGNORE INTO contents (namespace, digest, media_type, size, data) VALUES (?, ?, ?, ?, ?)
    RETURNING digest"""
# One use more than there are rows for: whoever has none is used once.
PUT_USES = """
    INSERT INTO content_uses (namespace, digest, uses) VALUES (?, ?, 1 + ?)
    ON CONFLICT (namespace, digest) DO UPDATE SET uses = uses - 1 + excluded.uses"""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one caller handed over, encoded, and the future that tells it the outcome."""

    run: RunKey
    events: rules.Encoded
    after: int
    contents: tuple[Content, ...]
    snapshot: bytes
    answer: asyncio.Future[list[StoredEvent]]


def write(db: apsw.Connection, batch: Batch, position: int) -> list[StoredEvent]:
    """Writes the batch behind `position`, inside the open transaction.

    Raises JOURNAL_CONFLICT before anything is written. After any other
    exception the caller rolls back.
    """
    namespace, run_id = batch.run.namespace, batch.run.run_id
    known = fetch(db, _FIND_RUN, namespace, run_id)
    seq, last_hash = known[0] if known else (0, rules.first_link(batch.run))
    if seq != batch.after:
        raise rules.conflict(batch.run)
    stored = rules.link(batch.events, after=seq, position=position, previous_hash=last_hash)
    last, is_open = stored[-1], rules.ends_open(stored)
    own = batch.events
    found_by = (own.session_id, own.agent_id, own.status.value, json.dumps(own.labels))
    row = (namespace, run_id, last.seq, last.hash, last.position, is_open, batch.snapshot, *found_by)
    ((run_no,),) = fetch(db, _PUT_RUN, *row)
    of = (namespace, own.session_id, own.agent_id)
    db.executemany(
        _PUT_EVENT, ((e.position, run_no, e.seq, e.kind.value, e.data, e.previous_hash, e.hash, *of) for e in stored)
    )
    rows = [(namespace, c.ref.digest, c.ref.media_type, c.ref.size, c.data) for c in batch.contents]
    new = {digest for row in rows for (digest,) in fetch(db, _PUT_CONTENT, *row)}
    further = {digest: count - (digest in new) for digest, count in own.uses.items()}
    db.executemany(PUT_USES, ((namespace, digest, count) for digest, count in further.items() if count))
    return stored
