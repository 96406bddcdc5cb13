"""Run rows of version 1 in a golden journal: one that was written anew when it was read, and one nobody has read.

Rows that a build of that version wrote itself are in the golden of schema 5.
"""

from __future__ import annotations

from pathlib import Path

from runwright.adapters.sqlite import SqliteJournal
from runwright.core.ids import DEFAULT_NAMESPACE, RunId, RunKey

from tests.ports.test_sqlite_row_versions import downgraded

# Both have a call of unknown outcome, for which version 1 had a phase of its own; one is open, the other has ended.
REWRITTEN, UNREAD = (RunKey(DEFAULT_NAMESPACE, RunId(name)) for name in ("repair", "unknown"))


async def rewrite(journal: SqliteJournal, directory: Path) -> None:
    """Has the journal, which is open, write one of them anew."""
    downgraded(directory, REWRITTEN)
    assert await journal.load(REWRITTEN) is not None


def leave(directory: Path) -> None:
    """Makes the other one, in the closed file."""
    downgraded(directory, UNREAD)
