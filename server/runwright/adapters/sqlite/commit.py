"""GroupCommit: many batches, one transaction, one fsync."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import apsw

from runwright.adapters.sqlite.appended import MAX_ROWS, Row, put, put_all
from runwright.adapters.sqlite.batch import Batch, Group, Outcome, as_rows
from runwright.adapters.sqlite.failures import corrupt, translate, with_space
from runwright.adapters.sqlite.standings import Standings
from runwright.core.errors import AgentError, ErrorReason, Failure

T = TypeVar("T")
# Errors of SQLite that say nothing about the transaction or the disk.
_OF_THE_BATCH = (apsw.ConstraintError, apsw.TooBigError)


class GroupCommit:
    """Turns groups of batches into transactions on one connection.

    `head`, its hash and `commits` are those of finished commits. After a failure that
    leaves the store in doubt every later group is refused with JOURNAL_CORRUPT:
    only reading the file afresh can tell what it holds.
    """

    def __init__(self, db: apsw.Connection, head: int, head_hash: bytes = bytes(32)) -> None:
        self.head = head
        self.head_hash = head_hash
        self.commits = 0
        self._db = db
        self._standings = Standings()
        self._doubt: Failure | None = None

    @property
    def is_in_doubt(self) -> bool:
        """True when nothing may be written any more."""
        return self._doubt is not None

    def commit(self, group: Sequence[Batch]) -> list[Outcome]:
        """The outcome of each batch, in order; those without an error are durable. Never raises.

        A conflict or a defect is the failure of its batch alone; what the
        disk or another program does to the transaction fails the whole group.
        """
        if self._doubt is not None:
            return [self._doubt.error() for _ in group]
        try:
            return self._transact(group)
        except Exception as error:  # noqa: BLE001 - whatever it was, everybody in the group must hear of it
            failure = self._roll_back(error)
            return [_because(failure.error(), error) for _ in group]

    def alone(self, act: Callable[[apsw.Connection], T]) -> T:
        """Does something else in a transaction of its own. Raises AgentError; then nothing of it stands."""
        if self._doubt is not None:
            raise self._doubt.error()
        try:
            self._standings.forget()
            self._db.execute("BEGIN IMMEDIATE")
            result = act(self._db)
            self._db.execute("COMMIT")
        except Exception as error:
            raise self._roll_back(error).error() from error
        return result

    def _transact(self, group: Sequence[Batch]) -> list[Outcome]:
        planned = self._plan(group, self._standings)
        if not planned.moved:
            return planned.outcomes
        try:
            self._write(planned.rows)
        except Exception as error:
            if not _is_of_a_batch(error):
                raise
            # Somebody's rows are at fault: from the beginning, one after the other, to find out whose.
            self._standings.forget()
            return self._one_by_one(group)
        self._committed(planned.outcomes)
        self._standings.moved(planned.moved)
        return planned.outcomes

    def _plan(self, group: Sequence[Batch], standings: Standings, position: int | None = None) -> Group:
        found = standings.of(self._db, (batch.run for batch in group))
        last_run = standings.last_run(self._db)
        return as_rows(group, self.head if position is None else position, last_run, found)

    def _write(self, rows: Sequence[Row]) -> None:
        """Writes and commits; one step if they fit into one statement."""
        if len(rows) <= MAX_ROWS:
            put(self._db, rows)
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            put_all(self._db, rows)
            self._db.execute("COMMIT")
        except Exception as error:
            if _is_of_a_batch(error):
                self._db.execute("ROLLBACK")
            raise

    def _committed(self, outcomes: Sequence[Outcome]) -> None:
        stored = [outcome[-1] for outcome in outcomes if isinstance(outcome, list)]
        self.head, self.head_hash = stored[-1].position, stored[-1].hash
        self.commits += 1

    def _one_by_one(self, group: Sequence[Batch]) -> list[Outcome]:
        position, outcomes = self.head, list[Outcome]()
        self._db.execute("BEGIN IMMEDIATE")
        for batch in group:
            outcome = self._attempt(batch, position)
            if isinstance(outcome, list):
                position = outcome[-1].position
            outcomes.append(outcome)
        if position == self.head:
            self._db.execute("ROLLBACK")
            return outcomes
        self._db.execute("COMMIT")
        self._committed(outcomes)
        return outcomes

    def _attempt(self, batch: Batch, position: int) -> Outcome:
        # Explicit savepoints: apsw's `with connection` replaces a FullError by the error of its own rollback.
        self._db.execute("SAVEPOINT batch")
        try:
            planned = self._plan([batch], Standings(), position)  # what is in the transaction, not what was known
            put_all(self._db, planned.rows)
        except Exception as error:
            if not _is_of_a_batch(error):
                raise
            self._undo()
            return _because(translate(error), error)
        self._db.execute("RELEASE batch")
        return planned.outcomes[0]

    def _undo(self) -> None:
        self._db.execute("ROLLBACK TO batch")
        self._db.execute("RELEASE batch")

    def _roll_back(self, error: Exception) -> Failure:
        failure = Failure.of(with_space(translate(error, self._db.system_errno), Path(self._db.filename).parent))
        self._standings.forget()
        try:
            if self._db.in_transaction:  # SQLite has often rolled back by itself
                self._db.execute("ROLLBACK")
        except apsw.Error:
            failure = Failure.of(corrupt("A failed append could not be taken back."))
        if failure.reason is ErrorReason.JOURNAL_CORRUPT:
            self._doubt = failure
        return failure


def _is_of_a_batch(error: Exception) -> bool:
    return not isinstance(error, apsw.Error) or isinstance(error, _OF_THE_BATCH)


def _because(error: AgentError, cause: Exception) -> AgentError:
    error.__cause__ = cause
    return error
