"""Removal on disk: killed at any moment it leaves nothing half; its room is used again; an old journal can do it."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import sqlite3
import sys
from pathlib import Path

import apsw
import pytest
from runwright.adapters.sqlite import SqliteJournal
from runwright.adapters.sqlite.inspecting import inspection, verification
from runwright.adapters.sqlite.opening import anchor, anchor_keeper
from runwright.adapters.sqlite.retention import held, removing
from runwright.core.content import Content
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import DEFAULT_NAMESPACE
from runwright.core.selection import ANY_RUN

from tests.builders import ListLog
from tests.ports.journal_builders import BACK_TO_VERSION_4, key
from tests.ports.test_journal_removing import LATER, SHARED, begin, finish, ran
from tests.ports.test_sqlite_upgrade import DUMP

NAMES = [f"run-{number}" for number in range(12)]


async def killed_after(directory: Path, steps: int) -> int:
    """Removes in a process that is killed after so many steps; how many steps it told of."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.ports.removing_child", str(directory), str(LATER)),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert child.stdout is not None
    said = [await child.stdout.readline() for _ in range(steps)]
    child.kill()
    said += (await child.stdout.read()).splitlines()
    await child.wait()
    return len([line for line in said if line])


def verified(directory: Path) -> verification.Verified:
    """The whole file, checked."""
    with inspection.opened(directory / "journal.db", busy_timeout_ms=1000) as db:
        return verification.verify(db)


async def test_a_process_that_is_killed_while_it_removes_leaves_nothing_half(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    await ran(journal, *NAMES)
    await begin(journal, key("heir"), Content.text("of run-3"), at=LATER)
    await journal.close()

    for steps in (1, 2, 5, 4):
        message = await killed_after(tmp_path, steps)
        assert message >= steps
        assert verified(tmp_path).faults == ()
        journal = SqliteJournal.open(tmp_path)
        listed = {
            run.state.key.run_id
            for run in (await journal.list_runs(DEFAULT_NAMESPACE, ANY_RUN, before=None, limit=99)).runs
        }
        for name in NAMES:
            events = await journal.read(key(name), after=0, limit=9)
            loaded = await journal.load(key(name))
            assert loaded is not None
            assert len(events) == (2 if name in listed else 0)
            assert bool(loaded.state.removed_at) is (name not in listed)
        await journal.close()

    journal = SqliteJournal.open(tmp_path)
    while (await journal.remove_ended(before=LATER, now=LATER, limit=3)).more:
        pass
    assert [await journal.read(key(name), after=0, limit=9) for name in NAMES] == [[]] * len(NAMES)
    left = await journal.content(key("heir").namespace, [Content.text(f"of {name}").ref.digest for name in NAMES])
    assert list(left.values()) == [b"of run-3"]
    assert await journal.content(key("heir").namespace, [SHARED.ref.digest]) == {}
    await journal.close()
    found = verified(tmp_path)
    assert (found.runs, found.events, found.contents, found.faults) == (1, 1, 1, ())


async def test_the_room_of_removed_runs_is_used_again(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    large = [Content.of(bytes([number]) * 300_000, "application/octet-stream") for number in range(20)]
    for number, content in enumerate(large[:10]):
        await begin(journal, key(f"old-{number}"), content)
        await finish(journal, key(f"old-{number}"))
    await begin(journal, key("open"))
    full = await journal.space()

    steps = [await journal.remove_ended(before=LATER, now=LATER, limit=1000)]
    while steps[-1].more:
        steps.append(await journal.remove_ended(before=LATER, now=LATER, limit=1000))
    empty = await journal.space()
    for number, content in enumerate(large[10:]):
        await begin(journal, key(f"new-{number}"), content)
    again = await journal.space()
    await journal.close()

    assert sum(len(step.runs) for step in steps) == 10
    assert full.used - empty.used > 2_900_000
    assert empty.reusable > 2_900_000
    assert again.used + again.reusable <= (full.used + full.reusable) * 1.1


async def test_a_run_whose_end_cannot_be_read_stays_and_holds_nobody_up(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    await ran(journal, "damaged", "old", "last")
    await journal.close()
    db = apsw.Connection(str(tmp_path / "journal.db"))
    db.execute("UPDATE events SET data = x'ffff' WHERE position = 2")
    db.close()

    journal = SqliteJournal.open(tmp_path)
    step = await journal.remove_ended(before=LATER, now=LATER, limit=100)

    assert [run.run_id for run in step.runs] == ["old"]
    assert len(await journal.read(key("damaged"), after=0, limit=9)) == 1, "the event before the damaged one"
    await journal.close()
    db = apsw.Connection(str(tmp_path / "journal.db"))
    assert db.execute("SELECT last_position, removed_at FROM runs WHERE run_id = 'damaged'").fetchall() == [(2, 0)]
    db.close()


async def test_a_journal_of_version_1_counts_what_its_events_refer_to(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "journal.db")
    db.executescript(DUMP.read_text())
    db.close()
    journal = SqliteJournal.open(tmp_path)
    await begin(journal, key("newest"), at=LATER)
    before = await journal.space()

    step = await journal.remove_ended(before=2**60, now=LATER, limit=1000)

    assert [run.run_id for run in step.runs] == ["first", "first"]
    assert await journal.open_runs() == [key("second"), key("newest")]
    assert (await journal.space()).reusable >= before.reusable
    await journal.close()
    found = verified(tmp_path)
    assert found.faults == ()
    db = sqlite3.connect(tmp_path / "journal.db")
    stray = (
        "SELECT COUNT(*) FROM content_uses WHERE (namespace, digest) NOT IN (SELECT namespace, digest FROM contents)"
    )
    assert db.execute(stray).fetchone()[0] == 0
    assert db.execute("SELECT DISTINCT namespace FROM contents").fetchall() == [("default",)]
    assert found.contents > 0
    db.close()


async def test_what_is_left_of_runs_that_version_4_removed_gets_a_check(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    await ran(journal, "old", "last")
    await journal.remove_ended(before=LATER, now=LATER, limit=100)
    before = await journal.load(key("old"))
    await journal.close()
    db = apsw.Connection(str(tmp_path / "journal.db"))
    db.execute("UPDATE runs SET snapshot = substr(snapshot, 34)")
    db.execute(f"{BACK_TO_VERSION_4} UPDATE meta SET value = 4 WHERE key = 'schema_version'")
    db.close()

    journal = SqliteJournal.open(tmp_path)
    after = await journal.load(key("old"))
    await journal.close()

    assert before is not None
    assert after == before
    assert verified(tmp_path).faults == ()


def no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("anchor_is_taken", [True, False], ids=["the anchor follows", "the anchor cannot be written"])
async def test_whatever_is_removed_the_anchor_finds_its_event_after_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anchor_is_taken: bool
) -> None:
    """What `journal.head` says must be in `journal.db` at every start, or the start is refused as a loss of data."""
    journal = SqliteJournal.open(tmp_path / "data")
    await ran(journal, "old")
    await journal.close()  # the anchor stands at the end of a run that will be old
    journal = SqliteJournal.open(tmp_path / "data")
    if not anchor_is_taken:
        monkeypatch.setattr(anchor, "write", no_room)
        monkeypatch.setattr(anchor_keeper, "_overwrite", lambda *_: False)
    await ran(journal, "older", "last")
    await begin(journal, key("newest"))

    step = await journal.remove_ended(before=LATER, now=LATER, limit=100)
    shutil.copytree(tmp_path / "data", tmp_path / "after a crash")
    monkeypatch.undo()
    await journal.close()
    survivor = SqliteJournal.open(tmp_path / "after a crash")

    assert await survivor.open_runs() == [key("newest")]
    assert bool(step.runs) is anchor_is_taken, "what cannot be vouched for stays"
    await survivor.close()


async def test_nobody_is_removed_behind_the_run_where_the_anchor_stands(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    await ran(journal, "first", "second", "third")
    second = (await journal.read(key("second"), after=0, limit=9))[-1].position
    await journal.close()
    db = apsw.Connection(str(tmp_path / "journal.db"))

    with db:
        step = removing.step(db, removing.Wanted(LATER, LATER, {second}), 100)
    db.close()

    assert [run.run_id for run in step.runs] == ["first"]
    assert step.more is False


@pytest.mark.parametrize("step", [0, 1])
async def test_a_removal_stands_whatever_meets_the_deletion_of_its_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    log = ListLog()
    journal = SqliteJournal.open(tmp_path, log=log)
    gone, _ = await ran(journal, "gone", "last")
    steps = [True] * step
    with monkeypatch.context() as patched:

        def busy(db: apsw.Connection, retained: object) -> bool:
            if steps:
                return steps.pop()
            raise apsw.BusyError("another program holds the file")

        patched.setattr(held, "go_on", busy)
        await journal.remove(gone, now=LATER)
    hidden = await journal.read(gone, after=0, limit=9)
    left = await journal.load(gone)
    with pytest.raises(AgentError) as again:
        await journal.remove(gone, now=LATER)
    await journal.remove_ended(before=0, now=LATER, limit=9)
    await journal.close()

    assert hidden == []
    assert left is not None and left.state.removed_at == LATER
    assert again.value.reason is ErrorReason.RUN_NOT_FOUND
    assert [line.event for line in log.lines] == ["events of a removed run are deleted later"]
    db = apsw.Connection(str(tmp_path / "journal.db"))
    assert db.execute("SELECT COUNT(*) FROM events WHERE run_no = 1").fetchall() == [(0,)]
