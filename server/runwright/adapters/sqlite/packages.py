"""Packages in the journal's file, written by its one writer.

Each row has a check over its other columns: a package or a tag that is not as it was written is not used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import apsw
from msgspec.msgpack import Encoder

from runwright.adapters.package_store_rules import answer_of, judged
from runwright.adapters.sqlite.failures import corrupt
from runwright.adapters.sqlite.reading.reader import ReadingThread
from runwright.adapters.sqlite.tables import fetch
from runwright.adapters.sqlite.writing.writer import Writer
from runwright.core.ids import Namespace
from runwright.core.stored_packages import ChangeAnswer, PackageChange, StoredPackage, WantedChange
from runwright.ports.packages import MOST_PACKAGES, MOST_TAGS

P = ParamSpec("P")
T = TypeVar("T")
NEEDED_BYTES = 64 * 1024  # of the pages that a change touches, besides the package itself
_TAG = "runwright-package-row-v1"
_CHECKED = Encoder()
_PACKAGE = "namespace, fingerprint, package_id, agent_id, put_by, put_at, canonical"
_OUTLINE = "namespace, fingerprint, package_id, agent_id, put_by, put_at, x''"
_CHANGE = "namespace, package_id, fingerprint, tag, previous, is_put, created, request_id, principal, at"
_PUT = f"INSERT INTO packages ({_PACKAGE}, row_check) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_WRITE = f"INSERT INTO package_changes ({_CHANGE}, row_check) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_GET = f"SELECT {_PACKAGE}, row_check FROM packages WHERE namespace = ? AND fingerprint = ?"
_LAST = f"SELECT number, {_CHANGE}, row_check FROM package_changes WHERE namespace = ?"
_OF_TAG = f"{_LAST} AND tag = ? AND tag <> '' ORDER BY number DESC LIMIT 1"
_OF_ID = f"{_LAST} AND package_id = ? AND is_put = 1 ORDER BY number DESC LIMIT 1"
_OF_REQUEST = f"{_LAST} AND request_id = ? AND request_id <> ''"
_HISTORY = f"{_LAST} AND tag = ? AND tag <> '' AND number < ? ORDER BY number DESC LIMIT ?"
_NUMBER = "SELECT number FROM packages WHERE namespace = ? AND fingerprint = ?"
_PAGE = f"SELECT {_OUTLINE} FROM packages WHERE namespace = ? AND number < ? ORDER BY number DESC LIMIT ?"
_PAGE_OF_ID = f"""SELECT {_OUTLINE} FROM packages WHERE namespace = ? AND number < ? AND package_id = ?
    ORDER BY number DESC LIMIT ?"""
# Newest change of each tag; then only those that point to what is asked for.
_TAGS = """SELECT tag, fingerprint FROM package_changes WHERE number IN
    (SELECT max(number) FROM package_changes WHERE namespace = ? AND tag <> '' GROUP BY tag)
    AND fingerprint IN (SELECT value FROM json_each(?)) ORDER BY tag"""
_COUNT_TAGS = "SELECT count(DISTINCT tag) FROM package_changes WHERE namespace = ? AND tag <> ''"
_NAMES = """SELECT DISTINCT tag FROM package_changes WHERE namespace = ?1 AND tag <> ''
    UNION SELECT DISTINCT package_id FROM package_changes WHERE namespace = ?1 AND is_put = 1 LIMIT ?2"""


class _Known:
    """The lookups of `package_store_rules`, on the connection that writes."""

    def __init__(self, db: apsw.Connection, namespace: Namespace) -> None:
        self._db = db
        self._namespace = namespace

    def count(self) -> int:
        ((count,),) = fetch(self._db, "SELECT count(*) FROM packages WHERE namespace = ?", self._namespace)
        return int(count)

    def count_tags(self) -> int:
        ((count,),) = fetch(self._db, _COUNT_TAGS, self._namespace)
        return int(count)

    def package_id(self, fingerprint: str) -> str:
        found = _get(self._db, self._namespace, fingerprint)
        return found.package_id if found else ""

    def tagged(self, tag: str) -> str:
        found = _change(self._db, _OF_TAG, self._namespace, tag)
        return found.fingerprint if found else ""

    def latest(self, package_id: str) -> str:
        found = _change(self._db, _OF_ID, self._namespace, package_id)
        return found.fingerprint if found else ""

    def of_request(self, request_id: str) -> PackageChange | None:
        return _change(self._db, _OF_REQUEST, self._namespace, request_id)


class SqlitePackages:
    """PackageStore beside the runs of a SqliteJournal, which makes it and outlives it."""

    def __init__(self, writer: Writer, reader: ReadingThread, refuse_when_closed: Callable[[], None]) -> None:
        self.most, self.most_tags = MOST_PACKAGES, MOST_TAGS  # of a namespace
        self._writer = writer
        self._reader = reader
        self._refuse_when_closed = refuse_when_closed

    async def change(self, wanted: WantedChange) -> ChangeAnswer:
        """See the port."""

        def act(db: apsw.Connection) -> ChangeAnswer:
            found = judged(wanted, _Known(db, wanted.namespace), most=self.most, most_tags=self.most_tags)
            if isinstance(found, ChangeAnswer):
                return found
            if wanted.package is not None and found.created:
                row = _package_row(wanted.package)
                db.execute(_PUT, (*row, _check(*row)))
            row = _change_row(found)
            db.execute(_WRITE, (*row, _check(*row)))
            return answer_of(found)

        self._refuse_when_closed()
        size = len(wanted.package.canonical) if wanted.package is not None else 0
        return await self._writer.transact(act, needed=NEEDED_BYTES + size)

    async def get(self, namespace: Namespace, fingerprint: str) -> StoredPackage | None:
        """See the port."""
        return await self._ask(_get, namespace, fingerprint)

    async def tagged(self, namespace: Namespace, tag: str) -> str:
        """See the port."""
        found = await self._ask(_change, _OF_TAG, namespace, tag)
        return found.fingerprint if found else ""

    async def latest(self, namespace: Namespace, package_id: str) -> str:
        """See the port."""
        found = await self._ask(_change, _OF_ID, namespace, package_id)
        return found.fingerprint if found else ""

    async def page(
        self, namespace: Namespace, *, package_id: str = "", after: str = "", limit: int
    ) -> list[StoredPackage]:
        """See the port."""
        return await self._ask(_page, namespace, package_id, after, limit)

    async def tags(self, namespace: Namespace, fingerprints: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """See the port."""
        found: dict[str, list[str]] = {}
        for tag, fingerprint in await self._ask(fetch, _TAGS, namespace, json.dumps(list(fingerprints))):
            found.setdefault(fingerprint, []).append(tag)
        return found

    async def history(self, namespace: Namespace, tag: str, *, before: int | None, limit: int) -> list[PackageChange]:
        """See the port."""
        below = 2**62 if before is None else before
        return [_read(row) for row in await self._ask(fetch, _HISTORY, namespace, tag, below, limit)]

    async def names(self, namespace: Namespace, *, limit: int) -> Sequence[str]:
        """See the port."""
        return [name for (name,) in await self._ask(fetch, _NAMES, namespace, limit)]

    async def _ask(
        self, question: Callable[Concatenate[apsw.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        self._refuse_when_closed()
        return await self._reader.ask(question, *args, **kwargs)


def faults(db: apsw.Connection) -> Iterator[tuple[str, str]]:
    """What is wrong with which package or change, for whoever only looks."""
    there: set[tuple[str, str]] = set()
    for *row, check in db.execute(f"SELECT {_PACKAGE}, row_check FROM packages"):
        there.add((row[0], row[1]))
        if check != _check(*row):
            yield f"package {row[1]} of namespace {row[0]}", "it is not as it was written"
    for number, *row, check in db.execute(f"SELECT number, {_CHANGE}, row_check FROM package_changes"):
        if check != _check(*row):
            yield f"package change {number}", "it is not as it was written"
        elif (row[0], row[2]) not in there:
            yield f"package change {number}", f"its package {row[2]} is missing"


def _get(db: apsw.Connection, namespace: Namespace, fingerprint: str) -> StoredPackage | None:
    found = fetch(db, _GET, namespace, fingerprint)
    if not found:
        return None
    *row, check = found[0]
    if check != _check(*row):
        raise corrupt(f"Package {fingerprint} is not as it was written.")
    return _package(row)


def _page(db: apsw.Connection, namespace: Namespace, package_id: str, after: str, limit: int) -> list[StoredPackage]:
    below = 2**62
    if after:
        found = fetch(db, _NUMBER, namespace, after)
        if not found:
            return []
        below = found[0][0]
    if package_id:
        return [_package(row) for row in fetch(db, _PAGE_OF_ID, namespace, below, package_id, limit)]
    return [_package(row) for row in fetch(db, _PAGE, namespace, below, limit)]


def _change(db: apsw.Connection, query: str, *values: str) -> PackageChange | None:
    found = fetch(db, query, *values)
    return _read(found[0]) if found else None


def _read(row: Sequence[Any]) -> PackageChange:
    number, *columns, check = row
    if check != _check(*columns):
        raise corrupt(f"Change {number} of the packages is not as it was written.")
    namespace, package_id, fingerprint, tag, previous, is_put, created, request_id, principal, at = columns
    return PackageChange(
        namespace=Namespace(namespace),
        package_id=package_id,
        fingerprint=fingerprint,
        tag=tag,
        previous=previous,
        is_put=bool(is_put),
        created=bool(created),
        request_id=request_id,
        principal=principal,
        at=at,
        number=number,
    )


def _change_row(change: PackageChange) -> tuple[Any, ...]:
    return (
        change.namespace,
        change.package_id,
        change.fingerprint,
        change.tag,
        change.previous,
        int(change.is_put),
        int(change.created),
        change.request_id,
        change.principal,
        change.at,
    )


def _package_row(package: StoredPackage) -> tuple[Any, ...]:
    return (
        package.namespace,
        package.fingerprint,
        package.package_id,
        package.agent_id,
        package.put_by,
        package.put_at,
        package.canonical,
    )


def _package(row: Sequence[Any]) -> StoredPackage:
    namespace, fingerprint, package_id, agent_id, put_by, put_at, canonical = row
    return StoredPackage(
        namespace=Namespace(namespace),
        fingerprint=fingerprint,
        package_id=package_id,
        agent_id=agent_id,
        put_by=put_by,
        put_at=put_at,
        canonical=canonical,
    )


def _check(*columns: object) -> bytes:
    return hashlib.sha256(_CHECKED.encode((_TAG, *columns))).digest()
