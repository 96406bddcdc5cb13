"""A row that is damaged is no place to append at, also while nothing could make it anew yet."""

from __future__ import annotations

import asyncio
from pathlib import Path

import apsw
import pytest
from runwright.adapters.sqlite import SqliteJournal
from runwright.adapters.sqlite.inspecting import inspection, verification
from runwright.core.apply import fold
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import RunKey
from runwright.core.state import RunState

from tests.ports.journal_builders import BEGUN, key, put_begun

ROW = "UPDATE runs SET {} WHERE run_id = 'run-1'"


async def append_second(journal: SqliteJournal, run: RunKey) -> None:
    """The second event, by somebody who knows the first."""
    begun = fold(RunState(key=run), BEGUN[:1])
    await journal.append(run, BEGUN[1:], after=1, contents=(), snapshot=fold(begun, BEGUN[1:]))


async def damaged(directory: Path, *statements: str) -> SqliteJournal:
    """A journal with two runs of one event, opened after somebody has changed its file."""
    journal = SqliteJournal.open(directory)
    for run in (key(), key("run-2")):
        await put_begun(journal, run, 1)
    await journal.close()
    db = apsw.Connection(str(directory / "journal.db"))
    for statement in statements:
        db.execute(statement)
    db.close()
    return SqliteJournal.open(directory)


@pytest.mark.parametrize("damage", ["hash = zeroblob(32)", "seq = seq + 3", "removed_at = 7"])
async def test_an_append_follows_the_last_event_and_not_a_damaged_row(tmp_path: Path, damage: str) -> None:
    """Nothing was read before it: what a reader would have had made anew still stands as it is."""
    journal = await damaged(tmp_path, ROW.format(damage))

    await append_second(journal, key())
    events = await journal.read(key(), after=0, limit=9)
    loaded = await journal.load(key())
    await journal.close()

    assert loaded is not None and (loaded.state.seq, len(events)) == (2, 2)
    with inspection.opened(tmp_path / "journal.db", busy_timeout_ms=0) as db:
        assert [fault.what for fault in verification.verify(db).faults if "content" not in fault.what] == []


@pytest.mark.parametrize("damage", ["data = CAST(data || x'00' AS BLOB)", "hash = randomblob(32)"])
async def test_nothing_follows_an_event_that_is_damaged_and_other_runs_go_on(tmp_path: Path, damage: str) -> None:
    journal = await damaged(tmp_path, ROW.format("hash = zeroblob(32)"), f"UPDATE events SET {damage} WHERE run_no = 1")

    first, second = await asyncio.gather(
        append_second(journal, key()), append_second(journal, key("run-2")), return_exceptions=True
    )
    events = await journal.read(key("run-2"), after=0, limit=9)
    await journal.close()

    assert isinstance(first, AgentError)
    assert (first.reason, first.metadata["run_id"]) == (ErrorReason.JOURNAL_CORRUPT, "run-1")
    assert (second, len(events)) == (None, 2)
