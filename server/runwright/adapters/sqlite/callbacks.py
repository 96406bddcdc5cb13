"""Registrations in the journal's file, written by its one writer. Their credentials are stored as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
_LOAD = f"SELECT {COLUMNS}, row_check FROM callbacks ORDER BY namespace, callback_id"


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
        for row in await self._reader.ask(fetch, _LOAD):
            if check_of(row[:-1]) != row[-1]:
                self._left_out("a registration was damaged and is not used; it must be registered again", row)
                continue
            try:
                found.append(callback_of(row[:-1]))
            except ValueError:
                self._left_out("a registration of a kind that this server does not know is not used", row)
        return found

    def _left_out(self, message: str, row: Sequence[Any]) -> None:
        if self._log:
            self._log.error(message, namespace=row[0], callback_id=row[1])

    async def _transact(self, act: Callable[[apsw.Connection], T]) -> T:
        self._refuse_when_closed()
        return await self._writer.transact(act, needed=NEEDED_BYTES)
