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
from runwright.adapters import journal_rules as rules
from runwright.adapters.sqlite import SqliteJournal
from runwright.adapters.sqlite.batch import Batch
from runwright.adapters.sqlite.commit import GroupCommit
from runwright.adapters.sqlite.schema import limit_size, open_writer
from runwright.core.content import Content
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import RunKey
from runwright.ports.journal import StoredEvent
from runwright.wire.state_row import encode_state

from tests.ports.journal_builders import check_chain, key, put, state, turn

CAP_SECONDS = 10.0
RUN, OTHER, THIRD = key("run-1"), key("run-2"), key("run-3")


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    journal = SqliteJournal.open(tmp_path)
    yield journal
    await journal.close()


@pytest.fixture
def db(tmp_path: Path) -> Iterator[apsw.Connection]:
    db = open_writer(tmp_path / "journal.db", busy_timeout_ms=0)
    yield db
    db.close()


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


def batch(run: RunKey, *, after: int, contents: tuple[Content, ...] = ()) -> Batch:
    snapshot = state(run, after + 1)
    encoded = rules.encode(run, [turn()], after=after, snapshot=snapshot)
    answer: asyncio.Future[list[StoredEvent]] = asyncio.get_running_loop().create_future()
    return Batch(run, encoded, after, contents, encode_state(snapshot), answer)


def large(number: int) -> Content:
    """16 KiB that no other number has."""
    return Content.of(number.to_bytes(4, "big") * 4096, "application/octet-stream")


def reason(outcome: object) -> ErrorReason | None:
    return outcome.reason if isinstance(outcome, AgentError) else None


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


async def test_a_conflict_or_a_defect_fails_its_own_batch_only(db: apsw.Connection) -> None:
    group = GroupCommit(db, 0)
    group.commit([batch(RUN, after=0)])
    # The writer has lost count of this run: its next event breaks a constraint after the run's row is written.
    db.execute(
        "INSERT INTO events (position, run_no, seq, kind, data, previous_hash, hash)"
        " VALUES (99, 1, 2, 2, x'', x'', x'')"
    )

    outcomes = group.commit(
        [batch(OTHER, after=0), batch(THIRD, after=4, contents=(large(1),)), batch(RUN, after=1), batch(OTHER, after=1)]
    )

    reasons = [reason(outcome) for outcome in outcomes]
    assert reasons == [None, ErrorReason.JOURNAL_CONFLICT, ErrorReason.INTERNAL, None]
    assert (group.head, group.commits) == (3, 2)
    assert db.execute("SELECT run_id, seq, last_position FROM runs").fetchall() == [("run-1", 1, 1), ("run-2", 2, 3)]
    assert db.execute("SELECT COUNT(*) FROM contents").fetchall() == [(0,)]


async def test_a_group_of_conflicts_commits_nothing(db: apsw.Connection) -> None:
    group = GroupCommit(db, 0)

    outcomes = group.commit([batch(RUN, after=1), batch(OTHER, after=2)])

    assert [reason(outcome) for outcome in outcomes] == [ErrorReason.JOURNAL_CONFLICT] * 2
    assert (group.head, group.commits, db.in_transaction) == (0, 0, False)


async def test_a_full_disk_fails_the_whole_group_and_nothing_of_it_is_written(db: apsw.Connection) -> None:
    group = GroupCommit(db, 0)
    group.commit([batch(RUN, after=0)])
    limit_size(db, 1)
    batches = [batch(RUN, after=1), batch(OTHER, after=0, contents=(large(1),)), batch(THIRD, after=0)]

    outcomes = group.commit(batches)

    assert [reason(outcome) for outcome in outcomes] == [ErrorReason.JOURNAL_FULL] * 3
    assert len({id(outcome) for outcome in outcomes}) == 3  # raised to three callers: each needs its own traceback
    assert db.execute("SELECT run_id, seq FROM runs").fetchall() == [("run-1", 1)]
    assert (group.head, group.commits, group.is_in_doubt) == (1, 1, False)
    limit_size(db, None)
    assert [reason(outcome) for outcome in group.commit(batches)] == [None] * 3
    assert group.head == 4


async def test_a_full_journal_answers_everybody_and_goes_on_when_there_is_room(journal: SqliteJournal) -> None:
    runs = [key(f"run-{number}") for number in range(20)]
    await asyncio.gather(*(put(journal, run, turn(), after=0) for run in runs))
    await journal.set_max_bytes(1)

    def attempt() -> list[Coroutine[None, None, list[StoredEvent]]]:
        return [put(journal, run, turn(), after=1, contents=[large(n)]) for n, run in enumerate(runs)]

    refused = await asyncio.gather(*attempt(), return_exceptions=True)

    assert [reason(outcome) for outcome in refused] == [ErrorReason.JOURNAL_FULL] * 20
    assert journal.head == 20
    assert await journal.content(RUN, [large(n).ref.digest for n in range(20)]) == {}
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
    assert await journal.tail(RUN) == (None, [])
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
        while not (position := await journal.last_position(RUN)):  # noqa: ASYNC110 - a step of the loop, not a nap
            await asyncio.sleep(0)

    seen = await journal.read(RUN, after=0, limit=9)

    assert not append.done()
    assert [event.position for event in seen] == [position]
    assert journal.head == position
    late.go_on.set()
    await append
    assert journal.head == position
