"""What is known of a journal's past before it is opened: its anchor, and how its last server left it."""

from __future__ import annotations

from pathlib import Path

import apsw

from runwright.adapters.sqlite.opening import anchor, usage
from runwright.ports.log import OperatorLog

_LAST_SECOND = "after a loss of power: that commits of the last second before it are missing at the end"
_NOTHING_KNOWN = "that acknowledged events are missing at the end: there was no journal.head that can be read"


def has_wal(directory: Path) -> bool:
    """True when there is a `-wal` file with something in it: while the journal is in use it is never empty."""
    wal = directory / f"{anchor.JOURNAL}-wal"
    return wal.exists() and wal.stat().st_size > 0


class Past:
    """Holds a journal against what it was, and says what cannot be excluded. Made before anything opens the file."""

    def __init__(self, directory: Path, known: anchor.Anchor | None) -> None:
        self._directory = directory
        self._known = known
        self._has_wal = has_wal(directory)
        self._had_no_anchor = (directory / anchor.JOURNAL).exists() and not (directory / anchor.FILE).exists()
        self._was_closed = True

    @classmethod
    def of(cls, directory: Path, log: OperatorLog | None) -> Past:
        """That of a directory's journal. Raises JOURNAL_CORRUPT when the anchor is there and the journal is not."""
        return cls(directory, anchor.known(directory, log))

    def check(self, db: apsw.Connection) -> None:
        """Raises JOURNAL_CORRUPT for a journal that is not the anchor's or ends before it.

        So it does for one that has neither: a server that is killed leaves both
        files, and without them nobody can tell what its last commits were.
        """
        what = self._known.fault(db) if self._known else ""
        if not what and db.table_exists("main", "meta"):
            self._was_closed = not usage.is_in_use(db)
            if not (self._was_closed or self._has_wal or self._known):
                what = "its server did not close it, and neither its -wal file nor a whole journal.head is there"
        if what:
            raise anchor.lost(self._directory, what)

    def tell(self, log: OperatorLog) -> None:
        """Says what was found, once the journal has been opened."""
        if self._had_no_anchor:
            log.info("journal.head was not there and is made")
        if not self._was_closed:
            cannot = _LAST_SECOND if self._known else _NOTHING_KNOWN
            say = log.info if self._known else log.warning
            say("the journal was not closed by its last server", cannot_be_excluded=cannot)
