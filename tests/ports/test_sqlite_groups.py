"""A group of appends as one statement: what becomes of each, and what is remembered of the runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from runwright.adapters.journal_rules import first_link
from runwright.adapters.sqlite.opening.appended import MAX_ROWS
from runwright.adapters.sqlite.opening.schema import limit_size, open_writer
from runwright.adapters.sqlite.opening.transactions import Transactions
from runwright.adapters.sqlite.writing import run_heads
from runwright.adapters.sqlite.writing.commit import GroupCommit
from runwright.adapters.sqlite.writing.run_heads import RunHead, RunHeads
from runwright.core.errors import ErrorReason
from runwright.ports.journal import Appended

from tests.ports.journal_builders import batch, check_chain, key, large, reason

RUN, OTHER, THIRD = key("run-1"), key("run-2"), key("run-3")
# The next append to the first run breaks a constraint after the run's row is written.
FAULT = """CREATE TRIGGER fault BEFORE INSERT ON events WHEN NEW.run_no = 1 AND NEW.seq = 2
    BEGIN SELECT RAISE(ABORT, 'a fault'); END"""


@pytest.fixture
def db(tmp_path: Path) -> Iterator[apsw.Connection]:
    db = open_writer(tmp_path / "journal.db", busy_timeout_ms=0)
    yield db
    db.close()


async def test_a_conflict_or_a_defect_fails_its_own_batch_only(db: apsw.Connection) -> None:
    group = GroupCommit(Transactions(db), 0)
    group.commit([batch(RUN, after=0)])
    db.execute(FAULT)

    outcomes = group.commit(
        [batch(OTHER, after=0), batch(THIRD, after=4, contents=(large(1),)), batch(RUN, after=1), batch(OTHER, after=1)]
    )

    reasons = [reason(outcome) for outcome in outcomes]
    assert reasons == [None, ErrorReason.JOURNAL_CONFLICT, ErrorReason.INTERNAL, None]
    assert (group.head, group.commits) == (3, 2)
    assert db.execute("SELECT run_id, seq, last_position FROM runs").fetchall() == [("run-1", 1, 1), ("run-2", 2, 3)]
    assert db.execute("SELECT COUNT(*) FROM contents").fetchall() == [(0,)]


async def test_a_group_of_conflicts_commits_nothing(db: apsw.Connection) -> None:
    group = GroupCommit(Transactions(db), 0)

    outcomes = group.commit([batch(RUN, after=1), batch(OTHER, after=2)])

    assert [reason(outcome) for outcome in outcomes] == [ErrorReason.JOURNAL_CONFLICT] * 2
    assert (group.head, group.commits, db.in_transaction) == (0, 0, False)


async def test_a_full_disk_fails_the_whole_group_and_nothing_of_it_is_written(db: apsw.Connection) -> None:
    group = GroupCommit(Transactions(db), 0)
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


async def test_a_group_of_known_runs_is_one_statement(db: apsw.Connection) -> None:
    group, runs = GroupCommit(Transactions(db), 0), [key(f"run-{number}") for number in range(20)]
    group.commit([batch(run, after=0) for run in runs])
    made: list[str] = []
    db.exec_trace = lambda _, statement, __: made.append(statement) or True

    outcomes = group.commit([batch(run, after=1) for run in runs])

    db.exec_trace = None
    assert [reason(outcome) for outcome in outcomes] == [None] * 20
    assert len(made) == 1
    assert group.commits == 2


async def test_a_group_beyond_one_statement_is_one_commit(db: apsw.Connection) -> None:
    group, runs = GroupCommit(Transactions(db), 0), [key(f"run-{number}") for number in range(MAX_ROWS // 2)]

    outcomes = group.commit([batch(run, after=0, number=2) for run in runs])

    assert group.commits == 1
    for run, outcome in zip(runs, outcomes, strict=True):
        assert isinstance(outcome, Appended)
        check_chain(run, outcome.events)
    assert db.execute("SELECT COUNT(*), MAX(position) FROM events").fetchall() == [(MAX_ROWS, MAX_ROWS)]


async def test_in_a_large_group_too_a_defect_fails_its_own_batch_only(db: apsw.Connection) -> None:
    group = GroupCommit(Transactions(db), 0)
    group.commit([batch(RUN, after=0)])
    db.execute(FAULT)
    others = [key(f"other-{number}") for number in range(MAX_ROWS // 2)]

    outcomes = group.commit([batch(RUN, after=1), *(batch(run, after=0) for run in others)])

    assert [reason(outcome) for outcome in outcomes] == [ErrorReason.INTERNAL] + [None] * len(others)
    assert (group.head, group.commits, db.in_transaction) == (1 + len(others), 2, False)


async def test_a_run_that_was_moved_behind_the_writer_is_a_conflict(db: apsw.Connection) -> None:
    group = GroupCommit(Transactions(db), 0)
    group.commit([batch(RUN, after=0)])
    db.execute("UPDATE runs SET seq = 7")
    db.execute("UPDATE events SET seq = 7")

    outcomes = group.commit([batch(RUN, after=1), batch(OTHER, after=0)])

    assert [reason(outcome) for outcome in outcomes] == [ErrorReason.JOURNAL_CONFLICT, None]
    assert db.execute("SELECT run_id, seq FROM runs").fetchall() == [("run-1", 7), ("run-2", 1)]


async def test_content_is_stored_once_and_its_uses_are_counted(db: apsw.Connection) -> None:
    group, same = GroupCommit(Transactions(db), 0), large(1)
    group.commit([batch(RUN, after=0, contents=(same,)), batch(OTHER, after=0, contents=(same, large(2)))])

    group.commit([batch(THIRD, after=0, contents=(same,))])

    assert db.execute("SELECT COUNT(*) FROM contents").fetchall() == [(2,)]
    # Every record refers to REF, which nobody brought: three uses. What was brought is referred to by none.
    uses = dict(db.execute("SELECT digest, uses FROM content_uses").fetchall())
    assert sorted(uses.values()) == [0, 0, 4]


def test_where_the_oldest_runs_stand_is_asked_again(db: apsw.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_heads, "CACHED_RUNS", 2)
    known = RunHeads()
    head = {run: RunHead(number, 5, bytes(32)) for number, run in enumerate((RUN, OTHER, THIRD), start=1)}

    known.moved(head)

    found = known.of(db, [RUN, OTHER, THIRD])
    assert (found[OTHER], found[THIRD]) == (head[OTHER], head[THIRD])
    assert found[RUN] == RunHead(0, 0, first_link(RUN))  # as the file has it: not at all


async def test_more_runs_are_found_than_one_question_asks_for(db: apsw.Connection) -> None:
    runs = [key(f"run-{number}") for number in range(150)]
    GroupCommit(Transactions(db), 0).commit(
        [batch(run, after=0, number=number) for number, run in enumerate(runs, start=1)]
    )

    found = RunHeads().of(db, runs)

    assert [head.seq for head in found.values() if isinstance(head, RunHead)] == [
        int(run.run_id.removeprefix("run-")) + 1 for run in found
    ]
