"""Rows of an older version: read as they are, or from the events, and written anew once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from runwright.adapters.sqlite import SqliteJournal
from runwright.adapters.sqlite.inspecting import inspection, verification
from runwright.adapters.sqlite.reading import run_rows
from runwright.core.ids import RunKey
from runwright.core.outcomes import RunStatus
from runwright.core.selection import RunFilter
from runwright.ports.tools import ToolOutcome, ToolOutcomeKind
from runwright.testing import FunctionTools
from runwright.wire.checked_row import RowColumns, RowEnd, SnapshotRow
from runwright.wire.state_row import VERSION

from tests import builders as b
from tests.ports.test_sqlite_damage import folded, requested
from tests.runtime.watching import key
from tests.wire.test_state_row import as_version_1

ENDED, OPEN = RUNS = key("ended"), key("repair")


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """A directory with a run that has ended, and one with a call whose outcome is unknown."""

    async def lost(arguments: object) -> ToolOutcome:
        return ToolOutcome(ToolOutcomeKind.LOST)

    bench = b.Bench(journal=SqliteJournal.open(tmp_path / "data"))
    bench.tools = FunctionTools({"write": lost, "look": b.look})
    bench.packages = (b.package(b.asks("write"), tools=(b.writing_tool(), b.tool())),)
    await bench.runtime().run_text(b.request("repair"))
    bench.packages = (b.package(b.asks("look"), b.says("{results}"), tools=(b.writing_tool(), b.tool())),)
    await bench.runtime().run_text(b.request("ended", labels={"b": "2", "a": "1"}, session_id="s"))
    await bench.journal.close()
    return tmp_path / "data"


def downgraded(data: Path, run: RunKey, change: Callable[[bytes], bytes] = lambda body: body) -> None:
    """Makes the row of an open journal's run one that version 1 has written."""
    with closing(apsw.Connection(str(data / "journal.db"))) as db:
        found = run_rows.load(db, run)
        ((own_hash, position, is_open, number),) = db.execute(
            "SELECT hash, last_position, open, status FROM runs WHERE run_id = ?", (run.run_id,)
        ).fetchall()
        assert found is not None
        body = change(as_version_1(found.state))
        columns = RowColumns.of(found.state, RunStatus(number))
        row = SnapshotRow.of(body, columns, 1).checked(RowEnd(position, own_hash, is_open))
        db.execute("UPDATE runs SET snapshot = ? WHERE run_id = ?", (row, run.run_id))


def version_of(data: Path, run: RunKey) -> int:
    """Of the run's row."""
    ((snapshot,),) = requested(data, f"SELECT snapshot FROM runs WHERE run_id = '{run.run_id}'")
    return int(snapshot[0])


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.run_id)
async def test_a_row_of_version_1_is_read_without_the_events_and_written_anew_once(data: Path, run: RunKey) -> None:
    whole, _ = await folded(data, run)
    downgraded(data, run)
    assert version_of(data, run) == 1
    log, no_events = b.ListLog(), pytest.MonkeyPatch()
    no_events.setattr(run_rows.checked_events, "page", lambda *_: pytest.fail("the events were read"))

    try:
        first, is_of_today = await folded(data, run, log)
        second, again = await folded(data, run, log)
    finally:
        no_events.undo()

    assert first == second == whole
    assert (is_of_today, again, version_of(data, run)) == (False, True, VERSION)
    assert [line.event for line in log.lines if "damaged" in line.event] == []
    with inspection.opened(data / "journal.db", busy_timeout_ms=0) as db:
        assert verification.verify(db).faults == ()


async def test_a_list_of_runs_writes_their_old_rows_anew(data: Path) -> None:
    for run in RUNS:
        downgraded(data, run)

    journal = SqliteJournal.open(data)
    await journal.list_runs(ENDED.namespace, RunFilter(), before=None, limit=9)
    await journal.close()

    assert [version_of(data, run) for run in RUNS] == [VERSION, VERSION]


async def test_an_old_row_that_only_the_events_can_explain_is_folded_once_and_is_no_damage(data: Path) -> None:
    whole, _ = await folded(data, ENDED)
    downgraded(data, ENDED, lambda body: body.replace(b'"turn_ended":', b'"turn_is_over":'))
    with inspection.opened(data / "journal.db", busy_timeout_ms=0) as db:
        assert verification.verify(db).faults == ()
    log = b.ListLog()

    first, is_of_today = await folded(data, ENDED, log)
    second, again = await folded(data, ENDED, log)

    assert first == second == whole
    assert (is_of_today, again, version_of(data, ENDED)) == (False, True, VERSION)
    assert [line.event for line in log.lines if "damaged" in line.event] == []
