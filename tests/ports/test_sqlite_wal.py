"""The -wal file: bounded beside readers, small again once they have gone, and counted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest
from runwright.adapters.sqlite import SqliteJournal
from runwright.adapters.sqlite.opening.wal import LARGE_BYTES, USUAL_BYTES
from runwright.adapters.sqlite.reading import checked_events
from runwright.core.content import Content
from runwright.core.errors import AgentError, ErrorReason

from tests.builders import ListLog
from tests.ports.journal_builders import check_chain, key, put, turn
from tests.ports.test_journal_removing import LATER, begin, finish

RUN = key("run-1")
MIB = 1024 * 1024


def sizes(directory: Path) -> tuple[int, int]:
    """Bytes of journal.db and of its -wal."""
    return (directory / "journal.db").stat().st_size, (directory / "journal.db-wal").stat().st_size


@contextmanager
def stranger(directory: Path) -> Iterator[apsw.Connection]:
    """Another program that has begun to read and does not end."""
    db = apsw.Connection(str(directory / "journal.db"), flags=apsw.SQLITE_OPEN_READONLY)
    db.execute("BEGIN")
    db.execute("SELECT COUNT(*) FROM events").fetchall()
    try:
        yield db
    finally:
        db.close()


async def fill(journal: SqliteJournal, first: int, count: int, size: int = 256 * 1024) -> None:
    """Appends with that much content each."""
    for number in range(first, first + count):
        content = Content.of(number.to_bytes(4, "big") * (size // 4), "text/plain")
        await put(journal, RUN, turn(), after=number, contents=[content])


async def a_second(journal: SqliteJournal) -> bool:
    """What the ticker does once a second; whether it wants to be called again."""
    again = journal._wal.tend(journal._writer.hand_over)
    await journal._writer.perform(lambda _: None)
    return again


async def test_beside_nobody_it_stays_at_its_usual_size(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    await fill(journal, 0, 100)

    assert sizes(tmp_path)[1] <= USUAL_BYTES + MIB
    await journal.close()


async def test_it_is_small_again_soon_after_a_strange_reader_has_gone_also_when_nobody_writes(tmp_path: Path) -> None:
    log = ListLog()
    journal = SqliteJournal.open(tmp_path, log=log)
    with stranger(tmp_path):
        await fill(journal, 0, 100)
        assert sizes(tmp_path)[1] > LARGE_BYTES
        for _ in range(40):
            assert await a_second(journal)
        held = sizes(tmp_path)[1]

    for _ in range(40):
        if not await a_second(journal):
            break

    assert held > LARGE_BYTES
    assert 0 < sizes(tmp_path)[1] <= 64 * 1024
    assert [line.event for line in log.lines] == [
        "the -wal file cannot be made small",
        "the -wal file is small again",
    ]
    await fill(journal, 100, 1)
    check_chain(RUN, await journal.read(RUN, after=0, limit=1000))
    await journal.close()


async def test_readers_that_never_pause_do_not_keep_it_from_becoming_small(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    await fill(journal, 0, 1)
    stop = threading.Event()

    def read(own: threading.Event, other: threading.Event) -> None:
        """Ends only once the other has begun: at every moment somebody reads."""
        db = apsw.Connection(str(tmp_path / "journal.db"), flags=apsw.SQLITE_OPEN_READONLY)
        while not stop.is_set():
            db.execute("BEGIN")
            db.execute("SELECT COUNT(*) FROM events").fetchall()
            own.set()
            other.wait(1)
            other.clear()
            db.execute("COMMIT")
        own.set()
        db.close()

    one, two = threading.Event(), threading.Event()
    threads = [threading.Thread(target=read, args=pair) for pair in ((one, two), (two, one))]
    for thread in threads:
        thread.start()
    try:
        largest = 0
        for round_number in range(3):
            await fill(journal, 1 + 80 * round_number, 80)
            for _ in range(40):
                if not await a_second(journal):
                    break
                await asyncio.sleep(0)
            largest = max(largest, sizes(tmp_path)[1])
    finally:
        stop.set()
        one.set()
        two.set()
        for thread in threads:
            thread.join()

    assert largest <= LARGE_BYTES
    await journal.close()


@pytest.mark.parametrize("bound", [2 * MIB, 8 * MIB, 48 * MIB])
async def test_both_files_together_stay_within_the_bound_beside_a_strange_reader(tmp_path: Path, bound: int) -> None:
    journal = SqliteJournal.open(tmp_path, max_bytes=bound)
    number, size = 0, bound // 64
    with stranger(tmp_path):
        with pytest.raises(AgentError) as refused:
            while number < 10_000:
                await fill(journal, number, 1, size)
                number += 1
                assert sum(sizes(tmp_path)) <= bound
        assert refused.value.reason is ErrorReason.JOURNAL_FULL
        assert number > 8
        with pytest.raises(AgentError):
            await fill(journal, number, 1, size)
        assert sum(sizes(tmp_path)) <= bound

    await fill(journal, number, 4, size)

    assert sum(sizes(tmp_path)) <= bound
    check_chain(RUN, await journal.read(RUN, after=0, limit=10_000))
    await journal.close()


async def test_a_journal_that_is_full_takes_more_once_something_was_removed(tmp_path: Path) -> None:
    bound = 4 * MIB
    journal = SqliteJournal.open(tmp_path, max_bytes=bound)

    async def fill_up(name: str) -> int:
        for number in range(1000):
            run = key(f"{name}-{number}")
            content = Content.of(f"{name}{number:04d}".encode() * 4_000, "text/plain")
            try:
                await begin(journal, run, content)
                await finish(journal, run)
            except AgentError as error:
                assert error.reason is ErrorReason.JOURNAL_FULL
                return number
            assert sum(sizes(tmp_path)) <= bound
        raise AssertionError("the bound does not bind")

    first = await fill_up("a")
    while (await journal.remove_ended(before=LATER, now=LATER, limit=64)).more:
        pass
    second = await fill_up("b")

    assert first > 40
    assert second >= first - 15
    await journal.close()


async def test_it_counts_when_space_is_running_out(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path, max_bytes=64 * MIB)
    with stranger(tmp_path):
        await fill(journal, 0, 60)
        space = await journal.space()

    assert space.wal >= 15 * MIB
    assert space.taken == space.used + space.wal
    await journal.close()


async def test_nothing_is_removed_while_a_strange_reader_makes_it_grow(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    await begin(journal, key("old"))
    await finish(journal, key("old"))
    with stranger(tmp_path):
        await fill(journal, 0, 140)
        assert sizes(tmp_path)[1] > 2 * LARGE_BYTES
        held = await journal.remove_ended(before=LATER, now=LATER, limit=64)

    for _ in range(4):
        await a_second(journal)
    gone = await journal.remove_ended(before=LATER, now=LATER, limit=64)

    assert (held.events, held.more) == (0, False)
    assert [run.run_id for run in gone.runs] == ["old"]
    await journal.close()


async def test_a_question_that_meets_damage_leaves_no_snapshot_behind(tmp_path: Path) -> None:
    """Whoever keeps the error must not keep the moment at which it was met."""
    journal = SqliteJournal.open(tmp_path)
    await put(journal, RUN, turn(), turn(), turn(), after=0)
    db = apsw.Connection(str(tmp_path / "journal.db"), flags=apsw.SQLITE_OPEN_READONLY)

    rows = checked_events._rows_one_by_one(db, RUN, (1, 0, 10))
    next(iter(rows))

    assert db.txn_state("main") == apsw.SQLITE_TXN_NONE
    db.close()
    await journal.close()
