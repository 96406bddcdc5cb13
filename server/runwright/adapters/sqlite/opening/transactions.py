"""Transactions: the one place where anything is committed to a journal's file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import apsw

from runwright.adapters.sqlite.failures import corrupt, translate, with_space
from runwright.core.errors import AgentError, ErrorReason, Failure

T = TypeVar("T")
# Whether anything can be written. Two commits: what is deleted in the one that wrote it never needs its room.
PROBE = (
    "INSERT OR REPLACE INTO meta (key, value) VALUES ('probe', zeroblob(65536))",
    "DELETE FROM meta WHERE key = 'probe'",
)


class Transactions:
    """Everything that changes a connection's file goes through here: appends, registrations, audit, removals, upgrades.

    After a failure that leaves the file in doubt, as a failed fsync does, all
    that comes later is refused with JOURNAL_CORRUPT, whatever it wants to write:
    only reading the file afresh can tell what it holds.
    """

    def __init__(self, db: apsw.Connection) -> None:
        self.db = db
        self.require: Callable[[int], None] | None = None  # raises when so many bytes of pages have no room
        self._doubt: Failure | None = None

    @property
    def in_doubt(self) -> bool:
        """True when nothing may be written any more."""
        return self._doubt is not None

    def run(self, act: Callable[[apsw.Connection], T], *, needed: int = 0) -> T:
        """Does something in a transaction of its own. Raises AgentError; then nothing of it stands.

        `needed` is about how many bytes of pages it changes; 0 for what must not be held back.
        """

        def whole(db: apsw.Connection) -> T:
            if needed and self.require is not None:
                self.require(needed)
            return transact(db, act)

        return self.single(whole)

    def single(self, act: Callable[[apsw.Connection], T]) -> T:
        """Does what is a transaction by itself: one statement, or one that begins and commits. Raises as `run` does.

        The error's cause is what SQLite said.
        """
        if self._doubt is not None:
            raise self._doubt.error()
        try:
            return act(self.db)
        except AgentError as error:
            self._roll_back(error)
            raise
        except Exception as error:
            raise self._roll_back(error) from error

    def _roll_back(self, error: Exception) -> AgentError:
        # Before anything else is done with the connection: its errno is that of the last call.
        failure = error if isinstance(error, AgentError) else translate(error, self.db.system_errno)
        failure = with_space(failure, Path(self.db.filename).parent)
        try:
            if self.db.in_transaction:  # SQLite has often rolled back by itself
                self.db.execute("ROLLBACK")
        except apsw.Error:
            failure = corrupt("A failed write could not be taken back.")
            self._doubt = Failure.of(failure)
        # A page that SQLite finds damaged leaves no doubt: what was written on the way to it has been taken back.
        in_doubt = isinstance(error, apsw.Error) and not isinstance(error, apsw.CorruptError)
        if failure.reason is ErrorReason.JOURNAL_CORRUPT and in_doubt:
            self._doubt = Failure.of(failure)
        return failure


def transact(db: apsw.Connection, act: Callable[[apsw.Connection], T]) -> T:
    """One transaction, for `single`: whoever calls it otherwise leaves a failure without consequence."""
    db.execute("BEGIN IMMEDIATE")
    result = act(db)
    db.execute("COMMIT")
    return result
