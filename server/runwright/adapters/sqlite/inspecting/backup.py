"""Backup of a journal that is in use, and restore as a journal of its own."""

from __future__ import annotations

import os
import secrets
from contextlib import closing
from pathlib import Path

import apsw

from runwright.adapters.sqlite.failures import corrupt, unusable
from runwright.adapters.sqlite.opening import anchor, scrubbing, usage
from runwright.adapters.sqlite.opening.fresh import UnservedDirectory
from runwright.adapters.sqlite.opening.lock import DirectoryLock
from runwright.adapters.sqlite.opening.schema import identity
from runwright.adapters.sqlite.opening.transactions import Transactions
from runwright.adapters.sqlite.tables import fetch


def back_up(directory: Path, target: Path) -> int:
    """Copies the journal of a data directory, also while a server writes to it.

    The copy is the journal as of one commit. Returns the position of its last
    event. Raises JOURNAL_CORRUPT for what is no journal, OSError for paths that
    cannot be used; an existing `target` is not touched.
    """
    if target.exists():
        raise FileExistsError(17, "it exists already", str(target))
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        _copy(directory / anchor.JOURNAL, partial)
        head = _head(partial, renew=False)
        _rename(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return head


def restore(backup: Path, directory: Path) -> int:
    """Makes a data directory from a backup, as a journal with an identity of its own.

    Cursors of the journal it was copied from are refused there: what came after
    the backup is not in it. What a journal that was lost there has left as its
    anchor is replaced. Returns the position of the last event. Raises
    JOURNAL_CORRUPT for what is no backup, OSError where there is a journal already;
    a directory that was made for it goes again then.
    """
    with UnservedDirectory(directory):
        return _restored(backup, directory)


def _restored(backup: Path, directory: Path) -> int:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = DirectoryLock.take(directory)
    try:
        target = directory / anchor.JOURNAL
        if target.exists():
            raise FileExistsError(17, "there is a journal already", str(target))
        for left in (directory / f"{anchor.JOURNAL}-wal", directory / f"{anchor.JOURNAL}-journal"):
            if left.exists():  # SQLite would read it into whatever journal.db it finds beside it
                raise FileExistsError(17, "it belongs to another journal", str(left))
        partial = directory / f".{anchor.JOURNAL}.{os.getpid()}"
        try:
            _copy(backup, partial)
            head = _head(partial, renew=True)
            anchor.write(directory, _anchor(partial))
            _rename(partial, target)
        finally:
            partial.unlink(missing_ok=True)
        return head
    finally:
        lock.release()


def _anchor(path: Path) -> anchor.Anchor:
    """What the new journal begins with: one of before would be held against it."""
    db = apsw.Connection(str(path))
    try:
        found = identity(db)
    finally:
        db.close()
    return anchor.Anchor(found.incarnation, found.head, found.head_hash)


def _rename(partial: Path, target: Path) -> None:
    """Gives a finished copy its name, for good, if nothing has it by now. Raises OSError."""
    try:
        os.link(partial, target)  # a rename would replace what has come there meanwhile
    except FileExistsError:
        raise
    except OSError:  # this file system knows no links
        partial.rename(target)
    anchor.sync_directory(target.parent)


def _copy(source: Path, target: Path) -> None:
    if not source.is_file():
        raise FileNotFoundError(2, "there is no such file", str(source))
    os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with (
            closing(apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READONLY)) as read,
            closing(apsw.Connection(str(target))) as write,
        ):
            with write.backup("main", read, "main") as copying:
                copying.step(-1)  # all pages in one step: one snapshot, whatever is committed meanwhile
            if fetch(write, "PRAGMA quick_check") != [("ok",)]:
                raise corrupt(f"{source} is damaged: it does not pass SQLite's own check.")
            fetch(write, "PRAGMA journal_mode = delete")  # one file, nothing beside it
    except apsw.Error as error:
        raise unusable(error) from None


def _head(path: Path, *, renew: bool) -> int:
    """Position of the last event of a copy, which nobody has open, and which gets a new identity if it is to `renew`.

    What had been removed from the journal before this version could overwrite it is taken out of the copy.
    """
    with closing(apsw.Connection(str(path))) as db:
        transactions = Transactions(db)

        def act(db: apsw.Connection) -> None:
            usage.forget(db)
            if renew:
                db.execute("UPDATE meta SET value = ? WHERE key = 'incarnation'", (secrets.token_hex(16),))

        try:
            head = identity(db).head
            fetch(db, "PRAGMA secure_delete = 1")
            scrubbing.scrub(transactions)
            transactions.run(act)
        except apsw.Error as error:
            raise unusable(error) from None
    return head
