"""Registrations in the journal's file, written by its one writer. Their credentials are stored as they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import apsw

from runwright.adapters.sqlite.reader import Reader
from runwright.adapters.sqlite.tables import fetch
from runwright.adapters.sqlite.writer import Writer
from runwright.core.callbacks import Callback, Tls
from runwright.core.ids import Namespace

T = TypeVar("T")
NEEDED_BYTES = 32 * 1024  # a registration's row, with its certificate, and the pages it changes
_COLUMNS = (
    "namespace, callback_id, owner, executor, address, tools, ca_pem, server_name, credential, lease, expires_at, "
    "owner_key"
)
_PUT = f"INSERT OR REPLACE INTO callbacks ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_REMOVE = "DELETE FROM callbacks WHERE namespace = ? AND callback_id = ?"
_CREDENTIAL = "SELECT credential FROM callbacks WHERE namespace = ? AND callback_id = ?"
_LOAD = f"SELECT {_COLUMNS} FROM callbacks ORDER BY namespace, callback_id"


class SqliteCallbacks:
    """CallbackStore beside the runs of a SqliteJournal, which makes it and outlives it."""

    def __init__(
        self, writer: Writer, reader: Reader, refuse_when_closed: Callable[[], None], removed: Callable[[], None]
    ) -> None:
        """`removed` is called when a credential has gone: `-wal` still holds it."""
        self._writer = writer
        self._reader = reader
        self._refuse_when_closed = refuse_when_closed
        self._removed = removed

    async def put(self, callback: Callback) -> None:
        """See the port."""

        def act(db: apsw.Connection) -> bool:
            known = fetch(db, _CREDENTIAL, callback.namespace, callback.callback_id)
            db.execute(_PUT, _row(callback))
            return bool(known) and known[0][0] != callback.credential

        if await self._transact(act):
            self._removed()

    async def remove(self, namespace: Namespace, callback_id: str) -> None:
        """See the port."""
        await self._transact(lambda db: db.execute(_REMOVE, (namespace, callback_id)))
        self._removed()

    async def load(self) -> list[Callback]:
        """See the port."""
        self._refuse_when_closed()
        return await self._reader.ask(_load)

    async def _transact(self, act: Callable[[apsw.Connection], T]) -> T:
        self._refuse_when_closed()
        return await self._writer.transact(act, needed=NEEDED_BYTES)


def _row(callback: Callback) -> tuple[Any, ...]:
    tls = callback.tls
    return (
        callback.namespace,
        callback.callback_id,
        callback.owner,
        callback.executor,
        callback.address,
        json.dumps(callback.tools),
        None if tls is None else tls.ca_pem,
        "" if tls is None else tls.server_name,
        callback.credential,
        callback.lease,
        callback.expires_at,
        callback.owner_key,
    )


def _load(db: apsw.Connection) -> list[Callback]:
    return [
        Callback(
            namespace=Namespace(namespace),
            callback_id=callback_id,
            owner=owner,
            executor=executor,
            address=address,
            tools=tuple(json.loads(tools)),
            tls=None if ca_pem is None else Tls(ca_pem, server_name),
            credential=credential,
            lease=lease,
            expires_at=expires_at,
            owner_key=owner_key,
        )
        for (
            namespace,
            callback_id,
            owner,
            executor,
            address,
            tools,
            ca_pem,
            server_name,
            credential,
            lease,
            expires_at,
            owner_key,
        ) in fetch(db, _LOAD)
    ]
