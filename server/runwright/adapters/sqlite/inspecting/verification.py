"""The whole journal, checked as `doctor` does: every chain, row, state and content. Nothing is written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import apsw
from msgspec import Struct

from runwright.adapters.journal_rules import digests_of, first_link
from runwright.adapters.sqlite import callback_rows, packages, side_rows
from runwright.adapters.sqlite.failures import is_damage
from runwright.adapters.sqlite.reading.run_rows import judged
from runwright.adapters.sqlite.retention.removing import REMOVING
from runwright.adapters.sqlite.tables import NOT_REMOVED, fetch
from runwright.core.apply import apply
from runwright.core.content import digest as digest_of
from runwright.core.errors import AgentError
from runwright.core.ids import Namespace, RunId, RunKey
from runwright.core.state import RunState
from runwright.core.transitions import IllegalTransition
from runwright.wire.envelope import envelope
from runwright.wire.records import decode_event

# Events of a removed run are allowed while they are being deleted.
_STRAY = f"""
    SELECT DISTINCT run_no FROM events WHERE run_no NOT IN (SELECT run_no FROM runs WHERE {NOT_REMOVED})
    AND run_no NOT IN (SELECT value FROM meta WHERE key = '{REMOVING}') """
_STRAY_BUT_REMOVED = f"{_STRAY} AND run_no NOT IN (SELECT run_no FROM removals)"  # since version 5
_EVENTS = """SELECT seq, kind, data, previous_hash, hash, namespace, session_id, agent_id
    FROM events WHERE run_no = ? ORDER BY seq"""
_MISSING = """SELECT value FROM json_each(?) WHERE value NOT IN (SELECT digest FROM contents WHERE namespace = ?)"""

_CONTENTS = "SELECT rowid, digest, size, data FROM contents WHERE rowid > ? ORDER BY rowid LIMIT ?"
_CONTENTS_AT_ONCE = 64


class Fault(Struct, frozen=True):
    """The first thing of a run that is not what was written, or a content that is not what its digest says."""

    subject: str
    what: str


class Verified(Struct, frozen=True):
    """How much was read, and what is wrong with it."""

    runs: int
    events: int
    contents: int
    faults: tuple[Fault, ...]


def verify(db: apsw.Connection) -> Verified:
    """Every run's row and hash chain, the contents they refer to, and every content's digest, from the stored bytes."""
    runs = fetch(db, "SELECT run_no, namespace, run_id, removed_at FROM runs ORDER BY run_no")
    faults: list[Fault] = []
    retained = events = 0
    for run_no, namespace, run_id, removed_at in runs:
        run = RunKey(Namespace(namespace), RunId(run_id))
        count, what = (0, judged(db, run)) if removed_at else _verify_run(db, run_no, run)
        retained, events = retained + (not removed_at), events + count
        faults += [Fault(f"run {run_id}", what)] if what else []
    for (run_no,) in fetch(db, _STRAY_BUT_REMOVED if db.table_exists("main", "removals") else _STRAY):
        faults.append(Fault(f"run number {run_no}", "it has events but no row among the runs"))
    if db.table_exists("main", "entries"):  # since version 6
        faults += [Fault(subject, what) for subject, what in side_rows.faults(db)]
    if db.table_exists("main", "packages"):  # since version 7
        faults += [Fault(subject, what) for subject, what in packages.faults(db)]
    contents, at = 0, 0
    # In pages, each of a moment of its own: one long read would keep the -wal file of a running server growing.
    while page := fetch(db, _CONTENTS, at, _CONTENTS_AT_ONCE):
        contents, at = contents + len(page), page[-1][0]
        for _, digest, size, data in page:
            if size != len(data) or digest != digest_of(data):
                faults.append(Fault(f"content {digest}", "its bytes are not those of its digest"))
    return Verified(retained, events, contents, tuple(faults))


def _verify_run(db: apsw.Connection, run_no: int, run: RunKey) -> tuple[int, str]:
    """How many events are as they were written, and what is wrong with the run."""
    with db:  # one moment
        good, what = _examined(db, run_no, run)
    return good, what


def _examined(db: apsw.Connection, run_no: int, run: RunKey) -> tuple[int, str]:
    ((last, last_hash),) = fetch(db, "SELECT seq, hash FROM runs WHERE run_no = ?", run_no)
    previous, good = first_link(run), 0
    digests: dict[str, int] = {}
    try:
        for row in db.execute(_EVENTS, (run_no,)):
            what = _event_fault(run, good + 1, row, previous)
            if what:
                return good, what
            previous, good = row[4], row[0]
            for digest in digests_of(row[2]):
                digests.setdefault(digest, good)
    except (apsw.Error, UnicodeDecodeError) as error:
        if not is_damage(error):
            raise
        return good, f"first bad event: {good + 1}, it cannot be read from the file"
    if good != last or previous != last_hash:
        return good, f"event {good + 1} is missing at the end: the run should have {last}"
    missing = {digest for (digest,) in fetch(db, _MISSING, json.dumps(list(digests)), run.namespace)}
    if missing:
        return good, f"first bad event: {min(digests[digest] for digest in missing)}, a content of it is missing"
    return good, judged(db, run)


def _event_fault(run: RunKey, expected: int, row: tuple[object, ...], previous: bytes) -> str:
    match row:
        case (int(seq), _, _, _, _, *_) if seq != expected:
            return f"event {expected} is missing"
        case (_, _, _, linked, _, *_) if linked != previous:
            return f"first bad event: {expected}, it does not follow from the one before"
        case (int(seq), int(kind), bytes(data), bytes(linked), own, str(namespace), str(session_id), str(agent_id)):
            if hashlib.sha256(linked + data).digest() != own:
                return f"first bad event: {expected}, its bytes are not those of its hash"
            fits = envelope(run.run_id, session_id, agent_id).holds(data, seq, kind) and namespace == run.namespace
            return "" if fits else f"first bad event: {expected}, the columns beside it are not those of its bytes"
        case _:
            return f"first bad event: {expected}, its columns cannot be read"


def misstated(db: apsw.Connection) -> Iterator[Fault]:
    """Runs whose row says another state than their events do, and runs whose events lead to none.

    Only asked of a journal that `verify` finds no fault in.
    """
    for run_no, namespace, run_id in fetch(db, f"SELECT run_no, namespace, run_id FROM runs WHERE {NOT_REMOVED}"):
        run = RunKey(Namespace(namespace), RunId(run_id))
        with db:
            what = _misstated(db, run_no, run)
        if what:
            yield Fault(f"run {run_id}", what)


def _misstated(db: apsw.Connection, run_no: int, run: RunKey) -> str:
    state, seq = RunState(key=run), 0
    try:
        for seq, data in db.execute("SELECT seq, data FROM events WHERE run_no = ? ORDER BY seq", (run_no,)):  # noqa: B007
            state = apply(state, decode_event(data))
    except (AgentError, IllegalTransition):
        return f"first bad event: {seq}, it does not follow from what the run was before"
    return judged(db, run, state)


def unreadable(db: apsw.Connection) -> list[str]:
    """Registrations and entries about the journal itself that are not even of their kind."""
    found = []
    kinds = {"incarnation": str, "cursor_key": bytes, "schema_version": int, REMOVING: int, "audit_number": int}
    for key, value in fetch(db, "SELECT key, value FROM meta"):
        if not isinstance(value, kinds.get(key, object)):
            found.append(f"meta {key} is not what it should be")
    for row in fetch(db, f"SELECT {callback_rows.COLUMNS}, row_check FROM callbacks"):
        if callback_rows.check_of(row[:-1]) != row[-1]:
            found.append(f"registration {row[1]} of namespace {row[0]} is not as it was written")
    return found
