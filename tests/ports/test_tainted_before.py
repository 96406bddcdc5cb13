"""Journals of builds that did not say by which calls something is tainted: it is said that nobody knows."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from msgspec.structs import replace
from runwright._gen.runwright.v1 import approval_pb2
from runwright.adapters.sqlite import SqliteJournal
from runwright.adapters.sqlite.inspecting import inspection, verification
from runwright.adapters.sqlite.reading import run_rows
from runwright.core import context
from runwright.core import records as r
from runwright.core.approval_rows import read_requested, rows_of_request
from runwright.core.kinds import EventKind
from runwright.core.outcomes import RunStatus
from runwright.core.side_rows import PutEntry
from runwright.core.state import RunState
from runwright.core.taint import TaintingCall
from runwright.wire.approvals import put_approval
from runwright.wire.checked_row import RowColumns, RowEnd, SnapshotRow
from runwright.wire.state_row import VERSION, decode_state, encode_state

from tests import builders as b
from tests.core import builders as core
from tests.ports.test_sqlite_damage import folded
from tests.ports.test_sqlite_row_versions import version_of
from tests.properties.random_runs import RandomRun
from tests.runtime.approving import decide, shown
from tests.runtime.tainting import SEND, named, reading_and_sending, reading_tools
from tests.runtime.watching import key, reached, records_of

ENDED, OPEN = RUNS = key("ended"), key("open")
PACKAGE = reading_and_sending(b.asks("page"), b.asks(SEND), b.asks(SEND), b.says("done"))
ASKED = "open/a2.1.1"


def as_version_2(state: RunState) -> bytes:
    """The row as version 2 wrote it last."""
    row = json.loads(encode_state(state))
    return json.dumps({name: value for name, value in row.items() if name != "taint"}, separators=(",", ":")).encode()


def downgrade(data: Path) -> None:
    """Makes the rows of the closed journal those of version 2."""
    with closing(apsw.Connection(str(data / "journal.db"))) as db:
        for run in RUNS:
            found = run_rows.load(db, run)
            assert found is not None
            columns = "SELECT hash, last_position, open, status FROM runs WHERE run_id = ?"
            ((own_hash, position, is_open, number),) = db.execute(columns, (run.run_id,)).fetchall()
            row = SnapshotRow.of(as_version_2(found.state), RowColumns.of(found.state, RunStatus(number)), 2)
            snapshot = row.checked(RowEnd(position, own_hash, is_open))
            db.execute("UPDATE runs SET snapshot = ? WHERE run_id = ?", (snapshot, run.run_id))


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """A directory as an older build left it, with a tainted run that has ended, and one that waits for somebody."""
    older = pytest.MonkeyPatch()
    older.setattr(RunState, "tainted_by", property(lambda state: None))
    older.setattr(context, "taint_of_context", lambda turns: None)
    bench = b.Bench(journal=SqliteJournal.open(tmp_path / "data"))
    bench.tools = reading_tools()
    try:
        runtime = bench.runtime(reading_and_sending(b.asks("page"), b.says("done")))
        await runtime.run_text(b.request("ended", session_id="s"))
        runtime = bench.runtime(PACKAGE)
        await runtime.start_run(b.request("open"))
        await reached(runtime, EventKind.APPROVAL_REQUESTED, "open")
        await runtime.drain(0)
        await runtime.close()
    finally:
        older.undo()
    await bench.journal.close()
    downgrade(tmp_path / "data")
    return tmp_path / "data"


async def test_a_row_of_a_tainted_run_is_folded_from_its_events_once_and_is_no_damage(data: Path) -> None:
    with inspection.opened(data / "journal.db", busy_timeout_ms=0) as db:
        assert verification.verify(db).faults == ()

    for run in RUNS:
        assert version_of(data, run) == 2
        (first, is_of_today), (second, again) = await folded(data, run), await folded(data, run)

        assert first == second
        assert named(first.tainted_by) == ["c1.1"], "its events say it"
        assert (is_of_today, again, version_of(data, run)) == (False, True, VERSION)


async def test_an_approval_of_before_says_that_nobody_knows_and_the_next_one_of_the_run_names_the_call(
    data: Path,
) -> None:
    bench = b.Bench(journal=SqliteJournal.open(data), tools=reading_tools(), packages=(PACKAGE,))
    runtime = bench.runtime()
    await runtime.recover()

    before = await shown(runtime, approval_id=ASKED)
    message = approval_pb2.Approval()
    put_approval(message, before)
    await decide(runtime, approval_id=ASKED)
    await reached(runtime, EventKind.APPROVAL_REQUESTED, "open", times=2)
    after = await shown(runtime, approval_id="open/a3.1.1")
    await runtime.drain(0)
    await runtime.close()
    await bench.journal.close()

    assert (before.asked.tainted, before.asked.tainted_by) == (True, None)
    assert (message.tainted, message.HasField("tainted_by")) == (True, False)
    assert named(after.asked.tainted_by) == ["c1.1"]


async def test_a_turn_of_before_is_named_without_its_calls(data: Path) -> None:
    bench = b.Bench(journal=SqliteJournal.open(data), tools=reading_tools())
    runtime = bench.runtime(reading_and_sending(b.says("hello")))
    await runtime.run_text(b.request("next", session_id="s"))

    [ended] = await records_of(bench.journal, r.RunCompleted, "next")
    await runtime.close()
    await bench.journal.close()

    assert ended.tainted_by is not None
    assert ended.tainted_by.calls == (TaintingCall(run_id="ended"),)


def test_an_entry_of_an_approval_of_before_is_read() -> None:
    [asked] = [each for each in core.examples().values() if isinstance(each, r.ApprovalRequested)]
    [entry, _] = rows_of_request(core.NEW, asked)
    assert isinstance(entry, PutEntry)
    fields = json.loads(entry.value)
    assert read_requested(entry.value).tainted_by == asked.tainted_by

    del fields["tainted_by"]

    assert read_requested(json.dumps(fields).encode()) == replace(read_requested(entry.value), tainted_by=None)


def test_a_row_of_a_run_that_nothing_had_tainted_is_taken_as_it_is() -> None:
    tainted = 0
    for seed in range(50):
        run = RandomRun(seed)
        run.give(run.first)
        for _ in range(20):
            run.give(run.next())
            tainted += run.state.tainted
            assert run.state.tainted == (run.state.taint is not None)
            expected = None if run.state.tainted else run.state
            assert decode_state(as_version_2(run.state), 2) == expected, f"seed {seed}"
    assert tainted, "some of them are"
