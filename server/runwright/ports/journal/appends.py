"""Appending: the one way in which a run gets further."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol, TypeAlias

from msgspec import Struct

from runwright.core.content import Content
from runwright.core.ids import RunKey
from runwright.core.records import Record
from runwright.core.side_rows import FailedCondition, SideRow
from runwright.core.state import RunState
from runwright.core.units import Seq
from runwright.ports.journal.events import StoredEvent


class Appended(Struct, frozen=True):
    """The append stands. `events` are its records as they were stored, at least one."""

    events: Sequence[StoredEvent]


AppendOutcome: TypeAlias = Appended | FailedCondition


class Appending(asyncio.Future[AppendOutcome]):
    """An append on its way. What is being written cannot be taken back, so it cannot be cancelled.

    A task that waits for it and is cancelled meanwhile hears of that once the
    append has come to its end: `done()` is true then, and the outcome known.
    """

    def cancel(self, msg: object = None) -> bool:
        """Changes nothing."""
        return False


class Appender(Protocol):
    """Takes what became true of runs, and says when it is durable."""

    def append(
        self,
        run: RunKey,
        records: Sequence[Record],
        *,
        after: Seq,
        contents: Sequence[Content],
        snapshot: RunState,
        side_rows: Sequence[SideRow] = (),
    ) -> Appending:
        """Appends the records, stores the contents, replaces the snapshot row and works off side rows, atomically.

        `after` is the run's last sequence number (0 for a new run), else
        JOURNAL_CONFLICT and nothing is written, as for a removed run. `snapshot` is the state after
        the records. Content that the records refer to is handed over also when it
        is stored already: what else referred to it may be removed meanwhile.
        Once the answer is there all of it is durable. A cancelled caller does
        not undo an append that has been handed over.

        A side row whose condition does not hold is the answer, a FailedCondition:
        nothing of this append stands then, and whatever else is committed with it
        does. Conditions are looked at when the append's turn has come, before
        anything of it is written, and see all that was handed over before.
        """

    async def change_beside(self, run: RunKey, side_rows: Sequence[SideRow]) -> FailedCondition | None:
        """Works off side rows that belong to a run, ended or not, apart from an append; durable on return.

        A condition that does not hold is the answer, and nothing is written then. It
        has its turn among appends. Raises RUN_NOT_FOUND, for a removed run too.
        """

    async def probe(self) -> None:
        """Writes as much as a start may hold, and takes it back. Raises what an append would be refused with."""
