"""Registrations in the journal's file, written by its one writer. Their credentials are stored as they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import apsw

from runwright.adapters.sqlite.failures import corrupt
from runwright.adapters.sqlite.reader import Reader
from runwright.adapters.sqlite.tables import fetch
from runwright.adapters.sqlite.writer import Writer
from runwright.core.callbacks import Callback, Tls
from runwright.core.ids import Namespace

_COLUMNS = (
    "namespace, callback_id, owner, executor, address, tools, ca_pem, server_name, credential, lease, expires_at, "
    "owner_key"
)
_PUT = f"INSERT OR REPLACE INTO callbacks ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_REMOVE = "DELETE FROM callbacks WHERE namespace = ? AND callback_id = ?"
_LOAD = f"SELECT {_COLUMNS} FROM callbacks ORDER BY namespace, callback_id"


class SqliteCallbacks:
    """CallbackStore beside the runs of a SqliteJournal, which makes it and outlives it."""

    def __init__(self, writer: Writer, reader: Reader, refuse_when_closed: Callable[[], None]) -> None:
        self._writer = writer
        self._reader = reader
        self._refuse_when_closed = refuse_when_closed

    async def put(self, callback: Callback) -> None:
        """See the port."""
        await self._write(_PUT, _row(callback))

    async def remove(self, namespace: Namespace, callback_id: str) -> None:
        """See the port."""
        await self._write(_REMOVE, (namespace, callback_id))

    async def load(self) -> list[Callback]:
        """See the port."""
        self._refuse_when_closed()
        return await self._reader.ask(_load)

    async def _write(self, statement: str, values: tuple[Any, ...]) -> None:
        self._refuse_when_closed()

        def act(db: apsw.Connection) -> None:
            if self._writer.group.is_in_doubt:
                raise corrupt("The journal takes nothing any more; only opening it afresh can tell what it holds.")
            db.execute(statement, values)  # one statement is one transaction

        await self._writer.perform(act)


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
