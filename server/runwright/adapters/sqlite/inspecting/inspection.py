"""Reading a journal from beside: nothing is written, no lock is taken, a running server is not disturbed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from runwright.adapters.sqlite.opening import anchor, schema
from runwright.adapters.sqlite.tables import fetch
from runwright.core.space import Space


@contextmanager
def opened(path: Path, *, busy_timeout_ms: int) -> Iterator[apsw.Connection]:
    """A connection that cannot write.

    A journal that was closed properly has no `-wal` file, and a plain reader would
    leave one behind; nobody writes to it, so it is read as it is.
    """
    if path.with_name(f"{path.name}-wal").exists():
        db = schema.open_reader(path, busy_timeout_ms=busy_timeout_ms)
    else:
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        db = apsw.Connection(f"{path.absolute().as_uri()}?immutable=1", flags=flags)
    try:
        yield db
    finally:
        db.close()


def schema_version(db: apsw.Connection) -> object:
    """The version the journal says it has; None when it says none."""
    if not db.table_exists("main", "meta"):
        return None
    rows = fetch(db, "SELECT value FROM meta WHERE key = 'schema_version'")
    return rows[0][0] if rows else None


def space(db: apsw.Connection, directory: Path, max_bytes: int | None) -> Space:
    """How much room the journal of a directory takes and has. What deleted rows took is used again, not given back."""
    page_size, pages, unused = (db.pragma(name) for name in ("page_size", "page_count", "freelist_count"))
    wal = directory / f"{anchor.JOURNAL}-wal"
    disk = shutil.disk_usage(directory)
    return Space(
        used=(pages - unused) * page_size,
        reusable=unused * page_size,
        wal=wal.stat().st_size if wal.exists() else 0,
        max_bytes=max_bytes,
        disk_free=disk.free,
        disk_total=disk.total,
    )


def damages(db: apsw.Connection) -> list[str]:
    """What SQLite's own check finds wrong with the file, indexes that say something else than their rows included."""
    return [str(row[0]) for row in fetch(db, "PRAGMA integrity_check(10)") if row[0] != "ok"]
