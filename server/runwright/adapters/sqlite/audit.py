"""SqliteAudit: the audit in the journal's file, append-only and chained, written when nobody waits for it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial

import apsw
from msgspec.structs import replace

from runwright.adapters.audit_rules import MOST_ENTRIES, Coalescer
from runwright.adapters.sqlite.failures import corrupt
from runwright.adapters.sqlite.reading.reader import ReadingThread
from runwright.adapters.sqlite.tables import fetch
from runwright.adapters.sqlite.writing.ticker import Ticker
from runwright.adapters.sqlite.writing.writer import Writer
from runwright.core.audit import AuditEntry
from runwright.ports.audit import AuditPage
from runwright.ports.clock import Clock
from runwright.wire.audit import decode_entry, encode_entry

FIRST_LINK = hashlib.sha256(b"runwright-audit-v1").digest()
NEEDED_BYTES = 128 * 1024  # of a minute's entries and the pages they change
_TRIMMED = 1_000  # entries beyond the bound that one commit may take away


class SqliteAudit:
    """Gathers entries for a second and hands them to the journal's writer, which nobody waits for."""

    def __init__(self, writer: Writer, reader: ReadingThread, ticker: Ticker, clock: Clock) -> None:
        self._writer = writer
        self._reader = reader
        self._ticker = ticker
        self._coalescer = Coalescer(clock)
        ticker.add(self._flush)

    def note(self, what: AuditEntry) -> None:
        """See the port."""
        self._coalescer.note(what)
        self._ticker.wake()

    async def page(self, namespaces: Sequence[str], *, before: int | None, limit: int) -> AuditPage:
        """See the port."""
        return await self._reader.ask(page, namespaces, before, limit)

    def _flush(self, last: bool) -> bool:
        entries = self._coalescer.take(everything=last)
        if entries:
            lost = partial(self._coalescer.lost, entries)
            self._writer.post(partial(write, entries=entries), lost, needed=NEEDED_BYTES)
        return self._coalescer.has_more


def write(db: apsw.Connection, entries: Sequence[AuditEntry]) -> None:
    """Appends the entries, inside the open transaction; the oldest go when there are too many."""
    number, previous = end(db)
    for entry in entries:
        number += 1
        data = encode_entry(replace(entry, number=number))
        own = hashlib.sha256(previous + data).digest()
        row = (number, entry.namespace, data, previous, own)
        db.execute("INSERT INTO audit (number, namespace, data, previous_hash, hash) VALUES (?, ?, ?, ?, ?)", row)
        previous = own
    retained = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
    db.executemany(retained, (("audit_number", number), ("audit_hash", previous)))
    oldest = "SELECT number FROM audit WHERE number <= ? ORDER BY number LIMIT ?"
    db.execute(f"DELETE FROM audit WHERE number IN ({oldest})", (number - MOST_ENTRIES, _TRIMMED))


def end(db: apsw.Connection) -> tuple[int, bytes]:
    """Number and hash of the last entry."""
    found = dict(fetch(db, "SELECT key, value FROM meta WHERE key IN ('audit_number', 'audit_hash')"))
    return found.get("audit_number", 0), found.get("audit_hash", FIRST_LINK)


def page(db: apsw.Connection, namespaces: Sequence[str], before: int | None, limit: int) -> AuditPage:
    """One page, newest first."""
    below = 2**62 if before is None else before
    query = """SELECT number, data, previous_hash, hash FROM audit INDEXED BY audit_of_namespace
        WHERE namespace = ? AND number < ? ORDER BY number DESC LIMIT ?"""
    rows = [row for namespace in namespaces for row in fetch(db, query, namespace, below, limit + 1)]
    rows.sort(reverse=True)
    shown = rows[:limit]
    return AuditPage([_checked(*row) for row in shown], shown[-1][0] if shown else 1, len(rows) > limit)


def _checked(number: int, data: bytes, previous_hash: bytes, own_hash: bytes) -> AuditEntry:
    """The entry of a row. Raises JOURNAL_CORRUPT when it is not as it was written."""
    try:
        if hashlib.sha256(previous_hash + data).digest() == own_hash:
            entry = decode_entry(data)
            if entry.number == number:
                return entry
    except TypeError:  # a column that is not even of its kind
        pass
    raise corrupt(f"Audit entry {number} is not as it was written.", first_bad=str(number))


def fault(db: apsw.Connection) -> tuple[int, str]:
    """How many entries are as they were written, and what is wrong with the next; of one moment.

    The oldest may be gone, being too many: the first that is left says what it follows.
    """
    with db:
        last, last_hash = end(db)
        number, previous, good = 0, FIRST_LINK, 0
        for found, data, linked, own in db.execute(
            "SELECT number, data, previous_hash, hash FROM audit ORDER BY number"
        ):
            if not number and found > 1:
                number, previous = found - 1, linked
            if found != number + 1:
                return good, f"entry {number + 1} is missing"
            if linked != previous or hashlib.sha256(linked + data).digest() != own:
                return good, f"first bad entry: {found}"
            number, previous, good = found, own, good + 1
    if (number, previous) != (last, last_hash):
        return good, f"entry {number + 1} is missing at the end: there should be {last}"
    return good, ""
