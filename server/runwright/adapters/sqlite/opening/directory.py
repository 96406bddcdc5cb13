"""Opening a data directory: lock, file, epochs, `-wal`, anchor, reader; whatever fails, what was opened is closed."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import apsw
from msgspec import Struct

from runwright.adapters.sqlite.failures import NO_SPACE, full, unusable, with_space
from runwright.adapters.sqlite.opening import anchor, schema, scrubbing, usage
from runwright.adapters.sqlite.opening.anchor_keeper import AnchorKeeper
from runwright.adapters.sqlite.opening.lock import DirectoryLock
from runwright.adapters.sqlite.opening.past import Past
from runwright.adapters.sqlite.opening.transactions import Transactions
from runwright.adapters.sqlite.opening.wal import Wal
from runwright.adapters.sqlite.reading.reader import ReadingThread
from runwright.core.epochs import Epochs
from runwright.core.errors import AgentError
from runwright.ports.log import OperatorLog

BUSY_TIMEOUT_MS = 5_000  # longer than a checkpoint or a copy of the file takes, shorter than callers wait


class Opened(Struct, frozen=True, kw_only=True):
    """A data directory that is open: where it is and how large its journal may be, what writes it and what reads it.

    `undo` closes all of it, for whoever cannot go on from here.
    """

    directory: Path
    max_bytes: int | None
    lock: DirectoryLock
    identity: schema.Identity
    epochs: Epochs
    transactions: Transactions
    wal: Wal
    keeper: AnchorKeeper
    reader: ReadingThread
    log: OperatorLog | None
    undo: ExitStack


def open_directory(directory: Path, *, busy_timeout_ms: int, max_bytes: int | None, log: OperatorLog | None) -> Opened:
    """Opens the journal of a data directory; see `SqliteJournal.open`."""
    try:
        return _open(directory, busy_timeout_ms, max_bytes, log)
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        raise with_space(full(error.errno), directory) from error


def _open(directory: Path, busy_timeout_ms: int, max_bytes: int | None, log: OperatorLog | None) -> Opened:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / anchor.JOURNAL
    with ExitStack() as undo:
        lock = DirectoryLock.take(directory)
        undo.callback(lock.release)
        past = Past.of(directory, log)
        try:
            db = schema.open_writer(path, busy_timeout_ms=busy_timeout_ms, check=past.check)
            transactions = Transactions(db)
            undo.callback(usage.close, transactions)
            identity = schema.identity(db)
            epochs = usage.begin(transactions, identity.head)
            wal = Wal(transactions, path, log)
            wal.reset()
            wal.bound(max_bytes)
            reading = schema.open_reader(path, busy_timeout_ms=busy_timeout_ms)
            undo.callback(reading.close)
        except apsw.Error as error:
            raise unusable(error) from error
        except AgentError as error:
            raise with_space(error, directory) from error.__cause__
        reached = anchor.Anchor(identity.incarnation, identity.head, identity.head_hash)
        keeper = AnchorKeeper(directory, reached, log)
        undo.callback(keeper.close)
        if log:
            past.tell(log)
            if scrubbing.is_wanted(db):
                log.warning("removed contents may stand in free room of journal.db", remedy=scrubbing.REMEDY)
        whole = undo.pop_all()
    return Opened(
        directory=directory,
        max_bytes=max_bytes,
        lock=lock,
        identity=identity,
        epochs=epochs,
        transactions=transactions,
        wal=wal,
        keeper=keeper,
        reader=ReadingThread(reading),
        log=log,
        undo=whole,
    )
