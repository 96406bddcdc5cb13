"""The journal's file, touched from outside: read when its server is dead, held while it lives."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
from runwright._gen.runwright.v1 import event_pb2
from runwright.adapters.sqlite.journal import SqliteJournal
from runwright.core.ids import DEFAULT_NAMESPACE, RunId, RunKey


async def events_on_disk(data: Path, run_id: str) -> list[event_pb2.Event]:
    """What a dead server has left of a run, read from a copy: the next life finds its files untouched."""
    with tempfile.TemporaryDirectory() as copy:
        for name in ("journal.db", "journal.db-wal"):
            if (data / name).exists():
                shutil.copy(data / name, copy)
        journal = SqliteJournal.open(Path(copy))
        stored = await journal.read(RunKey(DEFAULT_NAMESPACE, RunId(run_id)), after=0, limit=100_000)
        await journal.close()
    return [event_pb2.Event.FromString(event.data) for event in stored]


@contextmanager
def held(data: Path) -> Iterator[None]:
    """Nobody can write to the journal while the block runs, as when a disk is slow or a backup is made."""
    db = apsw.Connection(str(data / "journal.db"))
    db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        db.execute("ROLLBACK")
        db.close()
