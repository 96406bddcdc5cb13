"""GroupCommit: many batches, one transaction, one fsync."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import apsw

from runwright.adapters.sqlite import side_rows
from runwright.adapters.sqlite.failures import corrupt, translate
from runwright.adapters.sqlite.opening.appended import MAX_ROWS, Row, needed_by, put, put_all
from runwright.adapters.sqlite.opening.transactions import Transactions, transact
from runwright.adapters.sqlite.writing.batch import Batch, Group, Outcome, as_rows
from runwright.adapters.sqlite.writing.run_heads import RunHeads
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import RunKey
from runwright.ports.journal import Appended

T = TypeVar("T")
# Errors of SQLite that say nothing about the transaction or the disk, or only about pages that others need not touch.
_OF_THE_BATCH = (apsw.ConstraintError, apsw.TooBigError, apsw.CorruptError)


class GroupCommit:
    """Turns groups of batches into transactions on one connection.

    `head`, its hash and `commits` are those of finished commits.
    """

    def __init__(self, transactions: Transactions, head: int, head_hash: bytes = bytes(32)) -> None:
        self.head = head
        self.head_hash = head_hash
        self.commits = 0
        self._db = transactions.db
        self._transactions = transactions
        self._run_heads = RunHeads()

    @property
    def is_in_doubt(self) -> bool:
        """True when nothing may be written any more; see Transactions."""
        return self._transactions.in_doubt

    def commit(self, group: Sequence[Batch]) -> list[Outcome]:
        """The outcome of each batch, in order; those without an error are durable. Never raises.

        A conflict or a defect is the failure of its batch alone; what the
        disk or another program does to the transaction fails the whole group.
        """
        try:
            return self._commit(group)
        except AgentError as error:
            self._run_heads.forget()
            if error.reason is ErrorReason.JOURNAL_FULL and error.__cause__ is None and len(group) > 1:
                half = len(group) // 2  # the bound has no room for all of it: for some it may have
                return self.commit(group[:half]) + self.commit(group[half:])
            return [_again(error) for _ in group]

    def alone(self, act: Callable[[apsw.Connection], T], *, needed: int = 0) -> T:
        """Does something else in a transaction of its own, as Transactions does.

        It must not move a run on: where runs stand is remembered.
        """
        try:
            return self._transactions.run(act, needed=needed)
        except AgentError:
            self._run_heads.forget()
            raise

    def removed(self, runs: Sequence[RunKey]) -> None:
        """Forgets where runs stand whose removal begins, for `act` of `alone` to say."""
        self._run_heads.removed(runs)

    def _commit(self, group: Sequence[Batch]) -> list[Outcome]:
        try:
            return self._transactions.single(lambda _: self._together(group))
        except AgentError as error:
            if self.is_in_doubt or not _is_of_a_batch(error.__cause__):
                raise
            # Somebody's rows are at fault: from the beginning, one after the other, to find out whose.
            self._run_heads.forget()
            if isinstance(error.__cause__, apsw.CorruptError):
                return [self._by_itself(batch) for batch in group]
        outcomes = self._transactions.run(lambda _: self._one_by_one(group))
        self._committed(outcomes)
        return outcomes

    def _by_itself(self, batch: Batch) -> Outcome:
        """In a transaction of its own: after a damaged page SQLite takes nothing more in the one that met it."""
        try:
            (outcome,) = self._transactions.single(lambda _: self._together([batch]))
        except AgentError as error:
            self._run_heads.forget()
            return _of_run(batch.run, error)
        return outcome

    def _together(self, group: Sequence[Batch]) -> list[Outcome]:
        planned = self._plan(group, self._run_heads)
        if planned.moved:
            if self._transactions.require is not None:
                self._transactions.require(needed_by(planned.rows))
            self._write(planned.rows)
            self._committed(planned.outcomes)
            self._run_heads.moved(planned.moved)
        return planned.outcomes

    def _plan(self, group: Sequence[Batch], run_heads: RunHeads, position: int | None = None) -> Group:
        found = run_heads.of(self._db, (batch.run for batch in group))
        last_run = run_heads.last_run(self._db)
        behind = self.head if position is None else position
        return as_rows(group, behind, last_run, found, side_rows.state(self._db))

    def _write(self, rows: Sequence[Row]) -> None:
        """Writes and commits; one step if they fit into one statement."""
        if len(rows) <= MAX_ROWS:
            put(self._db, rows)
            return
        transact(self._db, lambda db: put_all(db, rows))

    def _committed(self, outcomes: Sequence[Outcome]) -> None:
        stored = [outcome.events[-1] for outcome in outcomes if isinstance(outcome, Appended)]
        if stored:
            self.head, self.head_hash = stored[-1].position, stored[-1].hash
            self.commits += 1

    def _one_by_one(self, group: Sequence[Batch]) -> list[Outcome]:
        """Inside the open transaction, each batch in a savepoint of its own."""
        position, outcomes = self.head, list[Outcome]()
        for batch in group:
            outcome = self._attempt(batch, position)
            if isinstance(outcome, Appended):
                position = outcome.events[-1].position
            outcomes.append(outcome)
        return outcomes

    def _attempt(self, batch: Batch, position: int) -> Outcome:
        # Explicit savepoints: apsw's `with connection` replaces a FullError by the error of its own rollback.
        self._db.execute("SAVEPOINT batch")
        try:
            planned = self._plan([batch], RunHeads(), position)  # what is in the transaction, not what was known
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


def _is_of_a_batch(error: BaseException | None) -> bool:
    return error is not None and (not isinstance(error, apsw.Error) or isinstance(error, _OF_THE_BATCH))


def _of_run(run: RunKey, error: AgentError) -> AgentError:
    """Damage that one run's append met is that run's; whatever else happened stays what it is."""
    if not isinstance(error.__cause__, apsw.CorruptError):
        return error
    message = f"Run {run.run_id} cannot be written: the journal's file is damaged."
    return _because(corrupt(message, run_id=run.run_id), error.__cause__)


def _because(error: AgentError, cause: Exception) -> AgentError:
    error.__cause__ = cause
    return error


def _again(error: AgentError) -> AgentError:
    """The same error for one more caller: an exception that is raised twice would show the wrong place."""
    copy = AgentError(error.reason, error.message, metadata=dict(error.metadata))
    copy.__cause__ = error.__cause__
    return copy
