"""Side rows in the journal's file: part of the one commit, checked when read, and free where there are none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from msgspec.structs import replace
from runwright.adapters.sqlite import SqliteJournal
from runwright.adapters.sqlite.inspecting import backup, inspection, verification
from runwright.adapters.sqlite.opening.appended import MAX_ROWS
from runwright.adapters.sqlite.opening.schema import limit_size, open_writer
from runwright.adapters.sqlite.opening.transactions import Transactions
from runwright.adapters.sqlite.writing.batch import Batch
from runwright.adapters.sqlite.writing.commit import GroupCommit
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import RunKey
from runwright.core.side_rows import EntryIs, FailedCondition, NoEntry, PutEntry, SetCounter, SideRow, Spend
from runwright.ports.journal import Appended, Entry

from tests.ports.journal_builders import batch, key, large, reason
from tests.ports.test_side_rows_contract import ONE, TWO, append, entries, entry
from tests.ports.test_sqlite_damage import edit, requested
from tests.ports.test_sqlite_groups import FAULT


@pytest.fixture
def db(tmp_path: Path) -> Iterator[apsw.Connection]:
    db = open_writer(tmp_path / "journal.db", busy_timeout_ms=0)
    yield db
    db.close()


def with_rows(run: RunKey, *rows: SideRow, after: int = 0) -> Batch:
    """What the writer is given for an append with side rows."""
    return replace(batch(run, after=after), side_rows=rows)


async def written(directory: Path) -> None:
    """A closed journal with two entries and a counter of one run."""
    journal = SqliteJournal.open(directory)
    await append(journal, ONE, PutEntry("waiting", "a", b"1"), PutEntry("waiting", "b", b"2"), SetCounter("uses", 3))
    await append(journal, TWO, Spend("uses"))
    await journal.close()


def faults(directory: Path) -> list[tuple[str, str]]:
    """What `doctor` would find."""
    with inspection.opened(directory / "journal.db", busy_timeout_ms=0) as db:
        return [(fault.subject, fault.what) for fault in verification.verify(db).faults]


async def test_they_are_there_after_a_restart_and_in_a_backup(tmp_path: Path) -> None:
    await written(tmp_path / "data")
    backup.back_up(tmp_path / "data", tmp_path / "copy.db")
    backup.restore(tmp_path / "copy.db", tmp_path / "restored")

    for name in ("data", "restored"):
        journal = SqliteJournal.open(tmp_path / name)
        assert await entries(journal) == [entry(ONE, "a", b"1"), entry(ONE, "b", b"2")]
        assert await journal.counter(ONE.namespace, "uses") == 2
        await journal.close()
        assert faults(tmp_path / name) == []


async def test_without_side_rows_an_append_is_the_one_statement_it_was(db: apsw.Connection) -> None:
    group, statements = GroupCommit(Transactions(db), 0), list[str]()
    group.commit([batch(ONE, after=0)])
    db.exec_trace = lambda _, statement, __: not statements.append(statement)

    group.commit([batch(ONE, after=1)])
    plain = len(statements)
    group.commit([with_rows(ONE, PutEntry("waiting", "a"), SetCounter("uses", 1), after=2)])
    group.commit([with_rows(ONE, NoEntry("waiting", "b"), Spend("uses"), after=3)])

    assert plain == 1
    assert len(statements) == 1 + 1 + 3, (
        "what is written is part of the statement; each row that is looked at is a question"
    )
    assert [statement for statement in statements if not statement.startswith(("INSERT INTO appended", "SELECT"))] == []


async def test_no_question_about_them_scans_a_table(tmp_path: Path) -> None:
    await written(tmp_path)
    with inspection.opened(tmp_path / "journal.db", busy_timeout_ms=0) as db:
        plans = [
            step
            for query in (
                "SELECT key FROM entries WHERE namespace = ? AND index_name = ? AND key > ? AND key >= ? AND key < ?",
                "SELECT run_no FROM counters WHERE namespace = ? AND counter = ?",
                "SELECT 1 FROM entries WHERE run_no = ?",
                "SELECT 1 FROM counters WHERE run_no = ?",
            )
            for *_, step in db.execute(f"EXPLAIN QUERY PLAN {query}", (1,) * query.count("?"))
        ]

    assert [step for step in plans if "SCAN" in step] == []
    assert len(plans) == 4


async def test_a_group_beyond_one_statement_is_all_or_nothing_append_by_append(db: apsw.Connection) -> None:
    group, runs = GroupCommit(Transactions(db), 0), [key(f"run-{number}") for number in range(MAX_ROWS // 2)]
    batches = [
        with_rows(run, NoEntry("waiting", f"{number // 2}"), PutEntry("waiting", f"{number // 2}"))
        for number, run in enumerate(runs)
    ]

    outcomes = group.commit(batches)

    assert [isinstance(outcome, Appended) for outcome in outcomes] == [True, False] * (len(runs) // 2)
    assert group.commits == 1
    assert db.execute("SELECT COUNT(*) FROM entries").fetchall() == db.execute("SELECT COUNT(*) FROM runs").fetchall()


async def test_beside_a_batch_at_fault_conditions_are_what_they_were(db: apsw.Connection) -> None:
    group = GroupCommit(Transactions(db), 0)
    group.commit([batch(ONE, after=0), with_rows(TWO, SetCounter("uses", 1))])
    db.execute(FAULT)

    outcomes = group.commit(
        [
            with_rows(key("a"), Spend("uses")),
            with_rows(ONE, SetCounter("uses", 9), after=1),
            with_rows(key("b"), Spend("uses")),
            with_rows(key("c"), PutEntry("waiting", "c")),
        ]
    )

    kinds = [reason(outcome) or type(outcome).__name__ for outcome in outcomes]
    assert kinds == ["Appended", ErrorReason.INTERNAL, "FailedCondition", "Appended"]
    assert db.execute("SELECT remaining FROM counters").fetchall() == [(0,)]
    assert db.execute("SELECT key FROM entries").fetchall() == [("c",)]


async def test_a_full_disk_writes_none_of_them(db: apsw.Connection) -> None:
    group = GroupCommit(Transactions(db), 0)
    group.commit([with_rows(ONE, SetCounter("uses", 1))])
    limit_size(db, 1)
    taken = replace(batch(TWO, after=0, contents=(large(1), large(2))), side_rows=(Spend("uses"),))

    (outcome,) = group.commit([taken])

    assert reason(outcome) is ErrorReason.JOURNAL_FULL
    limit_size(db, None)
    (again,) = group.commit([taken])
    assert isinstance(again, Appended)
    assert db.execute("SELECT remaining FROM counters").fetchall() == [(0,)]


@pytest.mark.parametrize(
    "damage",
    ["value = x'33'", "expires_at = 1", "run_no = 2", "row_check = x''", "namespace = 'other'"],
)
async def test_an_entry_that_is_not_as_it_was_written_is_neither_believed_nor_hides_the_others(
    tmp_path: Path, damage: str
) -> None:
    await written(tmp_path)
    edit(tmp_path, f"UPDATE entries SET {damage} WHERE key = 'a'")
    journal = SqliteJournal.open(tmp_path)
    namespace = ONE.namespace if "namespace" not in damage else type(ONE.namespace)("other")

    found = await journal.entries(namespace, "waiting", limit=9)
    with pytest.raises(AgentError) as refused:
        await journal.named(namespace, ("waiting", "b"), ("waiting", "a"))
    run = RunKey(namespace, key("three").run_id)
    with pytest.raises(AgentError) as unwritten:
        await append(journal, run, EntryIs("waiting", "a", b"1"))
    other = await append(journal, key("four"), EntryIs("waiting", "b", b"2"))
    await journal.close()

    assert [type(each) for each in found] == [AgentError, Entry][: len(found)]
    assert isinstance(found[0], AgentError)
    assert found[0].reason is refused.value.reason is unwritten.value.reason is ErrorReason.JOURNAL_CORRUPT
    assert unwritten.value.metadata["run_id"] == "three"
    assert isinstance(other, Appended)
    assert ("entry a of index waiting", "it is not as it was written") in faults(tmp_path)


@pytest.mark.parametrize("damage", ["remaining = 99", "run_no = 2", "row_check = x''"])
async def test_a_counter_that_is_not_as_it_was_written_is_not_spent(tmp_path: Path, damage: str) -> None:
    await written(tmp_path)
    edit(tmp_path, f"UPDATE counters SET {damage}")
    journal = SqliteJournal.open(tmp_path)

    with pytest.raises(AgentError) as refused:
        await append(journal, key("three"), Spend("uses"))
    with pytest.raises(AgentError) as unread:
        await journal.counter(ONE.namespace, "uses")
    other = await append(journal, key("four"))
    await journal.close()

    assert (refused.value.reason, refused.value.metadata["run_id"]) == (ErrorReason.JOURNAL_CORRUPT, "three")
    assert unread.value.reason is ErrorReason.JOURNAL_CORRUPT
    assert isinstance(other, Appended)
    assert faults(tmp_path) == [("counter uses", "it is not as it was written")]


async def test_rows_of_no_run_are_found(tmp_path: Path) -> None:
    await written(tmp_path)
    edit(tmp_path, "UPDATE runs SET run_no = 9 WHERE run_no = 1", "UPDATE events SET run_no = 9 WHERE run_no = 1")

    found = faults(tmp_path)

    assert ("run number 1", "it has entries and is no run, or one that was removed") in found
    assert ("run number 1", "it has counters and is no run, or one that was removed") in found


async def test_a_failed_condition_is_no_event_for_whoever_reads_the_file(tmp_path: Path) -> None:
    await written(tmp_path)
    journal = SqliteJournal.open(tmp_path)
    before = requested(tmp_path, "SELECT COUNT(*) FROM events")

    outcome = await append(journal, TWO, Spend("uses", 9), after=1)

    assert outcome == FailedCondition(Spend("uses", 9), 0)
    assert requested(tmp_path, "SELECT COUNT(*) FROM events") == before
    await journal.close()


async def test_a_key_that_is_no_text_any_more_is_told_and_hides_no_other(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    await append(journal, key("a"), *(PutEntry("waiting", name) for name in ("a", "b", "c")))
    await journal.close()
    db = apsw.Connection(str(tmp_path / "journal.db"))
    db.execute("UPDATE entries SET key = CAST(x'62ff' AS TEXT) WHERE key = 'b'")
    db.close()

    journal = SqliteJournal.open(tmp_path)
    found = await journal.entries(key().namespace, "waiting", limit=9)
    await journal.close()

    assert [each.key for each in found if isinstance(each, Entry)] == ["a", "c"]
    [damaged] = [each for each in found if isinstance(each, AgentError)]
    assert (damaged.reason, damaged.metadata["run_id"]) == (ErrorReason.JOURNAL_CORRUPT, "a")
