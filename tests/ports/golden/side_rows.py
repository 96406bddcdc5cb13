"""The side rows of a golden journal, written through the port, for no record has any so far; and what is left of them.

Two runs write, overwrite, delete and spend under every sort of condition; what a third had is gone with it.
"""

from __future__ import annotations

from msgspec import structs
from runwright.adapters.sqlite import SqliteJournal
from runwright.core import records as r
from runwright.core.apply import fold
from runwright.core.errors import ErrorReason, Failure
from runwright.core.ids import Namespace, RunId, RunKey
from runwright.core.outcomes import StopReason, Usage
from runwright.core.side_rows import DeleteEntry, EntryIs, NoEntry, PutEntry, SetCounter, SideRow, Spend
from runwright.core.state import RunState
from runwright.ports.journal import Appended, Entry

from tests.ports.golden.written import AT, EMPTY, STARTED

FIRST, SECOND = (RunKey(Namespace("indexed"), RunId(name)) for name in ("first", "second"))
REMOVED = RunKey(Namespace("indexed"), RunId("removed"))
EXPIRES = AT + 60_000_000

# What is read in the end: of each index its entries in order, and the counters.
ENTRIES = {
    "due": [Entry("due", "1/a", FIRST, b"one", EXPIRES), Entry("due", "1/c", SECOND, b"", 0)],
    "answered": [Entry("answered", "ä", SECOND, b"\x00\xff", 0)],
}
COUNTERS = {"uses": 3, "used up": 0, "set anew": 7}


async def write(journal: SqliteJournal) -> None:
    """The two runs whose side rows stay."""
    await _append(
        journal,
        FIRST,
        AT,
        NoEntry("due", "1/a"),
        PutEntry("due", "1/a", b"one", EXPIRES),
        PutEntry("due", "1/b", b"deleted"),
        PutEntry("answered", "ä", b"overwritten", EXPIRES),
        SetCounter("uses", 5),
        SetCounter("used up", 1),
        SetCounter("set anew", 0),
    )
    await _append(
        journal,
        SECOND,
        AT,
        EntryIs("due", "1/a", b"one", at=AT),
        EntryIs("due", "1/b"),
        DeleteEntry("due", "1/b"),
        NoEntry("due", "1/b"),
        PutEntry("due", "1/c"),
        PutEntry("answered", "ä", b"\x00\xff"),
        Spend("uses", 2),
        Spend("used up"),
        SetCounter("set anew", 7),
    )


async def write_removed(journal: SqliteJournal, at: int) -> None:
    """A run that ended then, with side rows that are removed with it."""
    rows = (PutEntry("due", "0", b"removed", EXPIRES), SetCounter("removed", 1))
    await _append(journal, REMOVED, at, *rows)


async def _append(journal: SqliteJournal, run: RunKey, at: int, *rows: SideRow) -> None:
    """A whole run in one batch, with its side rows."""
    error = Failure(ErrorReason.INTERNAL, "No.")
    ended = r.RunFailed(at=at + 2, stop=StopReason.INTERNAL, error=error, usage=Usage())
    records = (structs.replace(STARTED, at=at), ended)
    state = fold(RunState(key=run), records)
    outcome = await journal.append(run, records, after=0, contents=(EMPTY,), snapshot=state, side_rows=rows)
    assert isinstance(outcome, Appended), outcome
