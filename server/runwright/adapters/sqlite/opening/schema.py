"""The journal's file: its version, and the connections to it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path

import apsw
from msgspec import Struct

from runwright.adapters.sqlite.failures import corrupt, unusable
from runwright.adapters.sqlite.opening import appended, scrubbing
from runwright.adapters.sqlite.opening.transactions import Transactions
from runwright.adapters.sqlite.opening.upgrade import upgrade
from runwright.adapters.sqlite.tables import (
    AUDIT,
    CALLBACK_CHECKS,
    CALLBACK_KEYS,
    CALLBACKS,
    CALLS_IN_FLIGHT,
    EPOCHS,
    HOLDING,
    PACKAGES,
    REMOVING,
    SCHEMA_VERSION,
    SELECTING,
    SESSIONS,
    SIDE_ROWS,
    TABLES,
    fetch,
)
from runwright.core.errors import AgentError

UNLIMITED_PAGES = 0xFFFFFFFE  # SQLite's own limit
NO_HASH = bytes(32)  # stands for the last event of a journal that is empty


class Identity(Struct, frozen=True):
    """What a journal is recognised by, and the position and hash of its last event."""

    incarnation: str
    cursor_key: bytes
    head: int
    head_hash: bytes


def open_writer(
    path: Path, *, busy_timeout_ms: int, check: Callable[[apsw.Connection], None] = lambda _: None
) -> apsw.Connection:
    """The one connection that writes, to a journal that is made if there is none and brought up to date if it is old.

    Raises JOURNAL_CORRUPT for a file that is no journal or one of a newer
    schema version, and leaves it as it was; so does whatever `check` raises.
    """
    # SQLite would make the file readable to all; its -wal and -shm files copy the mode of this one.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    db = apsw.Connection(str(path))
    try:
        db.set_busy_timeout(busy_timeout_ms)
        # Until the file is known to be ours, even closing it must change nothing.
        db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        is_new = _is_empty(db)
        version = SCHEMA_VERSION if is_new else _version(db)
        check(db)
        db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
        _set(db, "journal_mode", "wal")
        _set(db, "synchronous", 2)  # FULL: a commit is on disk before it is acknowledged
        _set(db, "secure_delete", 1)  # what is removed is overwritten, in pages that become free as well
        transactions = Transactions(db)
        if is_new:
            _transact(transactions, _create)
        elif version < SCHEMA_VERSION:
            _transact(transactions, partial(upgrade, version=version))
        scrubbing.scrub(transactions)
        appended.prepare(db)
    except apsw.Error as error:
        failure = unusable(error, db.system_errno)  # which closing would change
        db.close()
        raise failure from error
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
    last = fetch(db, "SELECT position, hash FROM events ORDER BY position DESC LIMIT 1")
    head, head_hash = last[0] if last else (0, NO_HASH)
    try:
        return Identity(meta["incarnation"], meta["cursor_key"], head, head_hash)
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


def _transact(transactions: Transactions, act: Callable[[apsw.Connection], None]) -> None:
    try:
        transactions.run(act)
    except AgentError as error:
        if isinstance(error.__cause__, apsw.Error):
            raise unusable(error.__cause__) from error
        raise


def _is_empty(db: apsw.Connection) -> bool:
    return not fetch(db, "SELECT 1 FROM sqlite_schema LIMIT 1")


def _version(db: apsw.Connection) -> int:
    if not db.table_exists("main", "meta"):
        raise corrupt("The file journal.db is a database, but no journal.")
    rows = fetch(db, "SELECT value FROM meta WHERE key = 'schema_version'")
    found = rows[0][0] if rows else None
    if not isinstance(found, int) or not 1 <= found <= SCHEMA_VERSION:
        raise corrupt(f"The journal has schema version {found}; this server knows versions 1 to {SCHEMA_VERSION}.")
    return found


def _create(db: apsw.Connection) -> None:
    made = (
        *TABLES,
        *SELECTING,
        *SESSIONS,
        *CALLBACKS,
        *REMOVING,
        *AUDIT,
        *HOLDING,
        *CALLBACK_KEYS,
        *EPOCHS,
        *CALLS_IN_FLIGHT,
        *CALLBACK_CHECKS,
        *SIDE_ROWS,
        *PACKAGES,
    )
    for statement in made:
        db.execute(statement)
    meta = {
        "schema_version": SCHEMA_VERSION,
        "incarnation": secrets.token_hex(16),
        "cursor_key": secrets.token_bytes(32),
    }
    db.executemany("INSERT INTO meta (key, value) VALUES (?, ?)", meta.items())
