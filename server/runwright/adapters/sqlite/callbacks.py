"""Registrations in the journal's file, written by its one writer. Their credentials are stored as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import apsw

from runwright.adapters.sqlite.callback_rows import COLUMNS, callback_of, check_of, row_of
from runwright.adapters.sqlite.reading.reader import ReadingThread
from runwright.adapters.sqlite.tables import fetch
from runwright.adapters.sqlite.writing.writer import Writer
from runwright.core.callbacks import Callback
from runwright.core.ids import Namespace
from runwright.ports.log import OperatorLog

T = TypeVar("T")
NEEDED_BYTES = 32 * 1024  # a registration's row, with its certificate, and the pages it changes
_PUT = f"INSERT OR REPLACE INTO callbacks ({COLUMNS}, row_check) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_REMOVE = "DELETE FROM callbacks WHERE namespace = ? AND callback_id = ?"
_CREDENTIAL = "SELECT credential FROM callbacks WHERE namespace = ? AND callback_id = ?"
_KEYS = "SELECT CAST(namespace AS BLOB), CAST(callback_id AS BLOB) FROM callbacks ORDER BY namespace, callback_id"
_LOAD = f"""SELECT {COLUMNS}, row_check FROM callbacks
    WHERE namespace = CAST(? AS TEXT) AND callback_id = CAST(? AS TEXT)"""


class SqliteCallbacks:
    """CallbackStore beside the runs of a SqliteJournal, which makes it and outlives it."""

    def __init__(
        self,
        writer: Writer,
        reader: ReadingThread,
        refuse_when_closed: Callable[[], None],
        removed: Callable[[], None],
        log: OperatorLog | None = None,
    ) -> None:
        """`removed` is called when a credential has gone: `-wal` still holds it."""
        self._writer = writer
        self._reader = reader
        self._refuse_when_closed = refuse_when_closed
        self._removed = removed
        self._log = log

    async def put(self, callback: Callback) -> None:
        """See the port."""

        def act(db: apsw.Connection) -> bool:
            known = fetch(db, _CREDENTIAL, callback.namespace, callback.callback_id)
            row = row_of(callback)
            db.execute(_PUT, (*row, check_of(row)))
            return bool(known) and known[0][0] != callback.credential

        if await self._transact(act):
            self._removed()

    async def remove(self, namespace: Namespace, callback_id: str) -> None:
        """See the port."""
        await self._transact(lambda db: db.execute(_REMOVE, (namespace, callback_id)))
        self._removed()

    async def load(self) -> list[Callback]:
        """See the port.

        A registration that is not as it was written is left out, and so is one
        of a kind that only a newer server knows: nobody is dialled by it.
        """
        self._refuse_when_closed()
        found: list[Callback] = []
        for key, row in await self._reader.ask(_rows):
            if row is None or check_of(row[:-1]) != row[-1]:
                self._left_out("a registration was damaged and is not used; it must be registered again", key)
                continue
            try:
                found.append(callback_of(row[:-1]))
            except ValueError:
                self._left_out("a registration of a kind that this server does not know is not used", key)
        return found

    def _left_out(self, message: str, key: tuple[bytes, bytes]) -> None:
        if self._log:
            namespace, callback_id = (part.decode("utf-8", "replace") for part in key)
            self._log.error(message, namespace=namespace, callback_id=callback_id)

    async def _transact(self, act: Callable[[apsw.Connection], T]) -> T:
        self._refuse_when_closed()
        return await self._writer.transact(act, needed=NEEDED_BYTES)


def _rows(db: apsw.Connection) -> list[tuple[tuple[bytes, bytes], tuple[Any, ...] | None]]:
    """Every registration's key and row, each read by itself: one whose text is none, with None, hides no other."""
    rows: list[tuple[tuple[bytes, bytes], tuple[Any, ...] | None]] = []
    for key in fetch(db, _KEYS):
        try:
            rows += [(key, row) for row in fetch(db, _LOAD, *key)]
        except UnicodeDecodeError:
            rows.append((key, None))
    return rows
