"""How appends share commits on disk, and what happens to them when the disk or another program is in the way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import apsw
import pytest
from runwright.adapters.sqlite import SqliteJournal
from runwright.core.errors import ErrorReason
from runwright.ports.journal import StoredEvent

from tests.ports.journal_builders import check_chain, key, large, put, reason, turn

CAP_SECONDS = 60.0
RUN, OTHER = key("run-1"), key("run-2")


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    journal = SqliteJournal.open(tmp_path)
    yield journal
    await journal.close()


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Another program has the file locked for writing."""
    intruder = apsw.Connection(str(directory / "journal.db"))
    intruder.execute("BEGIN EXCLUSIVE")
    yield
    intruder.execute("ROLLBACK")
    intruder.close()


async def handed_over(*appends: Coroutine[None, None, list[StoredEvent]]) -> list[asyncio.Task[list[StoredEvent]]]:
    """Starts the appends; on return each has given its batch to the writer."""
    tasks = [asyncio.create_task(append) for append in appends]
    await asyncio.sleep(0)
    return tasks


async def test_concurrent_appends_share_commits(journal: SqliteJournal) -> None:
    runs = [key(f"run-{number}") for number in range(200)]

    stored = await asyncio.gather(*(put(journal, run, turn(), turn(), after=0) for run in runs))

    assert journal.commits <= 50
    assert sorted(event.position for events in stored for event in events) == list(range(1, 401))
    for run, events in zip(runs, stored, strict=True):
        check_chain(run, events)


async def test_what_gathers_during_a_commit_is_the_next_commit(journal: SqliteJournal, tmp_path: Path) -> None:
    with held(tmp_path):
        tasks = await handed_over(*(put(journal, key(f"run-{n}"), turn(), after=0) for n in range(20)))

    await asyncio.gather(*tasks)
    assert journal.commits <= 2
    assert journal.head == 20


async def test_a_full_journal_answers_everybody_and_goes_on_when_there_is_room(journal: SqliteJournal) -> None:
    runs = [key(f"run-{number}") for number in range(20)]
    await asyncio.gather(*(put(journal, run, turn(), after=0) for run in runs))
    await journal.set_max_bytes(1)

    def attempt() -> list[Coroutine[None, None, list[StoredEvent]]]:
        return [put(journal, run, turn(), after=1, contents=[large(n)]) for n, run in enumerate(runs)]

    refused = await asyncio.gather(*attempt(), return_exceptions=True)

    assert [reason(outcome) for outcome in refused] == [ErrorReason.JOURNAL_FULL] * 20
    assert journal.head == 20
    assert await journal.content(RUN.namespace, [large(n).ref.digest for n in range(20)]) == {}
    await journal.set_max_bytes(None)
    stored = await asyncio.gather(*attempt())
    assert {events[0].seq for events in stored} == {2}
    assert sorted(events[0].position for events in stored) == list(range(21, 41))


async def test_a_locked_file_is_busy_until_it_is_released(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path, busy_timeout_ms=20)

    with held(tmp_path):
        refused = await asyncio.gather(
            put(journal, RUN, turn(), after=0), put(journal, OTHER, turn(), after=0), return_exceptions=True
        )

    assert [reason(outcome) for outcome in refused] == [ErrorReason.JOURNAL_BUSY] * 2
    assert await journal.load(RUN) is None
    stored = await put(journal, RUN, turn(), after=0)
    assert stored[0].position == 1
    await journal.close()


async def test_a_cancelled_caller_does_not_undo_its_append(journal: SqliteJournal, tmp_path: Path) -> None:
    with held(tmp_path):
        cancelled, waiting = await handed_over(put(journal, RUN, turn(), after=0), put(journal, OTHER, turn(), after=0))
        cancelled.cancel()

    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert (await waiting)[0].position == 2
    assert [event.position for event in await journal.read(RUN, after=0, limit=10)] == [1]
    assert (await put(journal, RUN, turn(), after=1))[0].seq == 2


async def test_close_finishes_what_was_handed_over(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    with held(tmp_path):
        tasks = await handed_over(*(put(journal, key(f"run-{n}"), turn(), after=0) for n in range(20)))
        closing = asyncio.create_task(journal.close())

    stored = await asyncio.gather(*tasks)

    await closing
    assert sorted(events[0].position for events in stored) == list(range(1, 21))
    reopened = SqliteJournal.open(tmp_path)
    assert reopened.head == len(await reopened.open_runs()) == 20
    await reopened.close()


async def test_a_cancelled_close_still_closes(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    closing = asyncio.create_task(journal.close())
    await asyncio.sleep(0)

    closing.cancel()

    with pytest.raises(asyncio.CancelledError):
        await closing
    await journal.close()
    await SqliteJournal.open(tmp_path).close()


class LateToSaySo:
    """A connection whose commits are done a while before its thread hears of it."""

    def __init__(self, db: apsw.Connection) -> None:
        self.go_on = threading.Event()
        self._db = db

    def execute(self, statement: str, *values: Any) -> Any:
        """As the connection's."""
        done = self._db.execute(statement, *values)
        if "INSERT" in statement:
            assert self.go_on.wait(CAP_SECONDS)
        return done

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


async def test_what_a_reader_has_seen_is_never_ahead_of_the_head(journal: SqliteJournal) -> None:
    late = LateToSaySo(journal._writer.group._db)
    journal._writer.group._db = cast(apsw.Connection, late)
    append = asyncio.create_task(put(journal, RUN, turn(), after=0))
    async with asyncio.timeout(CAP_SECONDS):
        while not (loaded := await journal.load(RUN)):  # noqa: ASYNC110 - a step of the loop, not a nap
            await asyncio.sleep(0)

    seen = await journal.read(RUN, after=0, limit=9)

    assert not append.done()
    position = loaded.last_position
    assert [event.position for event in seen] == [position]
    assert journal.head == position
    late.go_on.set()
    await append
    assert journal.head == position
