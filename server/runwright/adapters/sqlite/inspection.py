"""Reading a journal from beside: nothing is written, no lock is taken, a running server is not disturbed."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
from msgspec import Struct

from runwright.adapters.journal_rules import first_link
from runwright.adapters.sqlite import anchor, schema
from runwright.adapters.sqlite.removing import REMOVING
from runwright.adapters.sqlite.tables import KEPT, fetch
from runwright.core.content import digest as digest_of
from runwright.core.ids import Namespace, RunId, RunKey
from runwright.core.space import Space

# Events of a removed run are allowed while they are being deleted.
_STRAY = f"""
    SELECT DISTINCT run_no FROM events WHERE run_no NOT IN (SELECT run_no FROM runs WHERE {KEPT})
    AND run_no NOT IN (SELECT value FROM meta WHERE key = '{REMOVING}') """
_STRAY_BUT_REMOVED = f"{_STRAY} AND run_no NOT IN (SELECT run_no FROM removals)"  # since version 5


class Fault(Struct, frozen=True):
    """The first event of a run that is not what was written, or a content that is not what its digest says."""

    subject: str
    what: str


class Verified(Struct, frozen=True):
    """How much was read, and what is wrong with it."""

    runs: int
    events: int
    contents: int
    faults: tuple[Fault, ...]


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
    """What SQLite's own check finds wrong with the file."""
    return [str(row[0]) for row in fetch(db, "PRAGMA quick_check(10)") if row[0] != "ok"]


def verify(db: apsw.Connection) -> Verified:
    """Every run's hash chain and every content's digest, from the stored bytes."""
    runs = fetch(db, f"SELECT run_no, namespace, run_id FROM runs WHERE {KEPT} ORDER BY run_no")
    faults: list[Fault] = []
    events = 0
    for run_no, namespace, run_id in runs:
        count, what = _verify_run(db, run_no, RunKey(Namespace(namespace), RunId(run_id)))
        events += count
        faults += [Fault(f"run {run_id}", what)] if what else []
    for (run_no,) in fetch(db, _STRAY_BUT_REMOVED if db.table_exists("main", "removals") else _STRAY):
        faults.append(Fault(f"run number {run_no}", "it has events but no row among the runs"))
    contents = 0
    for digest, size, data in db.execute("SELECT digest, size, data FROM contents"):
        contents += 1
        if size != len(data) or digest != digest_of(data):
            faults.append(Fault(f"content {digest}", "its bytes are not those of its digest"))
    return Verified(len(runs), events, contents, tuple(faults))


def _verify_run(db: apsw.Connection, run_no: int, run: RunKey) -> tuple[int, str]:
    """How many events are as they were written, and what is wrong with the next; one transaction, so one moment."""
    with db:
        ((last, last_hash),) = fetch(db, "SELECT seq, hash FROM runs WHERE run_no = ?", run_no)
        previous, good = first_link(run), 0
        query = "SELECT seq, data, previous_hash, hash FROM events WHERE run_no = ? ORDER BY seq"
        for seq, data, linked, own in db.execute(query, (run_no,)):
            if seq != good + 1:
                return good, f"event {good + 1} is missing"
            if linked != previous:
                return good, f"first bad event: {seq}, it does not follow from the one before"
            if hashlib.sha256(linked + data).digest() != own:
                return good, f"first bad event: {seq}, its bytes are not those of its hash"
            previous, good = own, seq
    if good != last or previous != last_hash:
        return good, f"event {good + 1} is missing at the end: the run should have {last}"
    return good, ""
