"""The watched journal: every answer is the journal's own, and observers hear of what stands."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from runwright.adapters.sqlite import SqliteJournal
from runwright.adapters.telemetry.observed_journal import ObservedJournal
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import RunKey
from runwright.core.records import Record
from runwright.core.side_rows import FailedCondition, SetCounter, SideRow, Spend
from runwright.core.state import RunState
from runwright.ports.journal import Appended, AppendOutcome, Journal
from runwright.ports.storage import Storage

from tests.ports.journal_builders import key, state, turn


class Told:
    """An observer that keeps what it hears, or fails."""

    def __init__(self, *, fails: bool = False) -> None:
        self.heard: list[tuple[RunKey, int, int]] = []
        self._fails = fails

    def appended(self, run: RunKey, records: Sequence[Record], state: RunState, seconds: float) -> None:
        """See the port."""
        assert seconds >= 0
        if self._fails:
            raise ZeroDivisionError
        self.heard.append((run, len(records), state.seq))


@pytest.fixture
async def inner(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    journal = SqliteJournal.open(tmp_path)
    yield journal
    await journal.close()


async def append(journal: ObservedJournal, *rows: SideRow, after: int = 0) -> AppendOutcome:
    """One small record."""
    snapshot = state(key(), after + 1)
    return await journal.append(key(), [turn()], after=after, contents=(), snapshot=snapshot, side_rows=rows)


async def test_whatever_is_no_append_is_the_journals_own(inner: SqliteJournal) -> None:
    observed = ObservedJournal(inner)
    await append(observed)
    asked = {name for port in (Journal, Storage) for name in dir(port) if not name.startswith("_")} - {"append"}

    assert {name for name in asked if getattr(observed, name) != getattr(inner, name)} == set()
    assert observed.head == 1
    assert len(asked) > 20
    assert isinstance(observed, Storage)


async def test_observers_hear_of_what_stands_and_of_nothing_else(inner: SqliteJournal) -> None:
    observed, told = ObservedJournal(inner), Told()
    observed.observers = [told]

    stands = await append(observed, SetCounter("uses", 1))
    failed = await append(observed, Spend("uses", 2), after=1)
    with pytest.raises(AgentError) as refused:
        await append(observed, after=7)

    assert isinstance(stands, Appended)
    assert failed == FailedCondition(Spend("uses", 2), 0)
    assert refused.value.reason is ErrorReason.JOURNAL_CONFLICT
    assert told.heard == [(key(), 1, 1)]
    assert observed.oldest_wait() == 0


async def test_an_append_stands_whatever_observers_make_of_it(inner: SqliteJournal) -> None:
    observed = ObservedJournal(inner)
    observed.observers = [Told(fails=True)]

    appending = observed.append(key(), [turn()], after=0, contents=(), snapshot=state(key(), 1))
    waits = observed.oldest_wait()
    outcome = await appending

    assert isinstance(outcome, Appended)
    assert waits > 0
    assert await inner.load(key()) is not None
