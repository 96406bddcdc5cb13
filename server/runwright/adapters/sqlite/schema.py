"""The journal's file: its tables, its version, and the connections to it."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from runwright.adapters.sqlite.failures import corrupt
from runwright.core.events import MESSAGE_BEARING

SCHEMA_VERSION = 1
UNLIMITED_PAGES = 0xFFFFFFFE  # SQLite's own limit

# Queries repeat these very words: only then does SQLite use the partial index.
BEARS_MESSAGE = f"kind IN ({', '.join(str(number) for number in sorted(kind.value for kind in MESSAGE_BEARING))})"

# An index ends in the rowid, which is the position: one on run_no alone serves "of this run, above this position".
_TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT",
    """CREATE TABLE runs (
        run_no INTEGER PRIMARY KEY, namespace TEXT NOT NULL, run_id TEXT NOT NULL, seq INTEGER NOT NULL,
        hash BLOB NOT NULL, last_position INTEGER NOT NULL, open INTEGER NOT NULL, snapshot BLOB NOT NULL,
        UNIQUE (namespace, run_id)) STRICT""",
    "CREATE INDEX runs_open ON runs (run_no) WHERE open = 1",
    """CREATE TABLE events (
        position INTEGER PRIMARY KEY, run_no INTEGER NOT NULL, seq INTEGER NOT NULL, kind INTEGER NOT NULL,
        data BLOB NOT NULL, previous_hash BLOB NOT NULL, hash BLOB NOT NULL, UNIQUE (run_no, seq)) STRICT""",
    "CREATE INDEX events_of_run ON events (run_no)",
    f"CREATE INDEX events_with_messages ON events (run_no) WHERE {BEARS_MESSAGE}",
    """CREATE TABLE contents (
        namespace TEXT NOT NULL, digest TEXT NOT NULL, media_type TEXT NOT NULL, size INTEGER NOT NULL,
        data BLOB NOT NULL, UNIQUE (namespace, digest)) STRICT""",
)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a journal is recognised by, and the position of its last event."""

    incarnation: str
    cursor_key: bytes
    head: int


def fetch(db: apsw.Connection, query: str, *values: str | bytes | int) -> list[Any]:
    """All rows at once: a cursor left half-read would hold its snapshot and keep the `-wal` file growing."""
    return db.execute(query, values).fetchall()


def open_writer(path: Path, *, busy_timeout_ms: int) -> apsw.Connection:
    """The one connection that writes, to a journal that is made if there is none.

    Raises JOURNAL_CORRUPT for a file that is no journal or one of another
    schema version, and leaves it as it was.
    """
    # SQLite would make the file readable to all; its -wal and -shm files copy the mode of this one.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    db = apsw.Connection(str(path))
    try:
        db.set_busy_timeout(busy_timeout_ms)
        # Until the file is known to be ours, even closing it must change nothing.
        db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        is_new = _is_empty(db)
        if not is_new:
            _check_version(db)
        db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
        _set(db, "journal_mode", "wal")
        _set(db, "synchronous", 2)  # FULL: a commit is on disk before it is acknowledged
        if is_new:
            _create(db)
    except BaseException:
        db.close()
        raise
    return db


def open_reader(path: Path, *, busy_timeout_ms: int) -> apsw.Connection:
    """A connection that cannot write."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    db.set_busy_timeout(busy_timeout_ms)
    return db


def identity(db: apsw.Connection) -> Identity:
    """Reads what the journal is. Raises JOURNAL_CORRUPT when it does not say."""
    meta = dict(fetch(db, "SELECT key, value FROM meta"))
    ((head,),) = fetch(db, "SELECT COALESCE(MAX(position), 0) FROM events")
    try:
        return Identity(meta["incarnation"], meta["cursor_key"], head)
    except KeyError as error:
        raise corrupt("The journal has lost its identity.") from error


def limit_size(db: apsw.Connection, max_bytes: int | None) -> None:
    """Bounds the database file; appends that do not fit fail. A limit below the present size forbids growth."""
    page_size = db.pragma("page_size")
    pages = UNLIMITED_PAGES if max_bytes is None else max(1, max_bytes // page_size)
    db.pragma("max_page_count", pages)


def _set(db: apsw.Connection, name: str, value: str | int) -> None:
    # A pragma that SQLite does not like is ignored without a word, so each is read back.
    fetch(db, f"PRAGMA {name} = {value}")
    ((actual,),) = fetch(db, f"PRAGMA {name}")
    if actual != value:
        raise corrupt(f"The journal's file does not take {name} = {value}; it stays at {actual}.")


def _is_empty(db: apsw.Connection) -> bool:
    return not fetch(db, "SELECT 1 FROM sqlite_schema LIMIT 1")


def _check_version(db: apsw.Connection) -> None:
    if not db.table_exists("main", "meta"):
        raise corrupt("The file journal.db is a database, but no journal.")
    rows = fetch(db, "SELECT value FROM meta WHERE key = 'schema_version'")
    found = rows[0][0] if rows else None
    if found != SCHEMA_VERSION:
        raise corrupt(f"The journal has schema version {found}; this server knows version {SCHEMA_VERSION}.")


def _create(db: apsw.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    for statement in _TABLES:
        db.execute(statement)
    meta = {
        "schema_version": SCHEMA_VERSION,
        "incarnation": secrets.token_hex(16),
        "cursor_key": secrets.token_bytes(32),
    }
    db.executemany("INSERT INTO meta (key, value) VALUES (?, ?)", meta.items())
    db.execute("COMMIT")
