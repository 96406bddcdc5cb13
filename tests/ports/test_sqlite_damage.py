"""What is damaged on disk is not believed: rows are made anew from events, events and contents refused by name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest
from runwright.adapters.sqlite import SqliteJournal
from runwright.adapters.sqlite.opening import schema
from runwright.adapters.sqlite.reading import run_rows
from runwright.core import records as r
from runwright.core.audit import AuditEntry, AuditKind
from runwright.core.content import Content
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import RunKey
from runwright.core.outcomes import RunPhase
from runwright.core.selection import RunFilter, Scope, ScopeKind, Selection
from runwright.core.state import RunState
from runwright.ports.journal import LoadedRun
from runwright.testing import FunctionTools, ManualClock

from tests import builders as b
from tests.ports.journal_builders import AT, BACK_TO_VERSION_4, end, key, put, turn
from tests.runtime.parts import HeldTool

ENDED, OPEN = key("ended"), key("open")
EVENTS = 13  # of a run with one call that has ended
ROWS = """SELECT run_no, namespace, run_id, seq, hash, last_position, open, status, session_id, agent_id, labels,
    removed_at, length(snapshot) FROM runs"""
EVERYTHING = Selection(Scope(ENDED.namespace, ScopeKind.ALL))


@pytest.fixture
async def data(tmp_path: Path) -> AsyncIterator[Path]:
    """A directory with a run that has ended, and one that a crash has left in the middle of a call."""
    journal = SqliteJournal.open(tmp_path / "data")
    bench = b.Bench(journal=journal)
    runtime = bench.runtime()
    handle, _ = await runtime.start_run(b.request("ended", labels={"b": "2", "a": "1"}, session_id="s"))
    await handle.wait()
    held = HeldTool()
    bench.tools = FunctionTools({"look": held})
    second = bench.runtime()
    await second.start_run(b.request("open"))
    await held.begun.wait()
    await journal.close()
    yield tmp_path / "data"
    held.let_go.set()


def edit(data: Path, *statements: str) -> None:
    """Changes the file behind its server's back."""
    db = apsw.Connection(str(data / "journal.db"))
    for statement in statements:
        db.execute(statement)
    db.close()


def requested(data: Path, query: str) -> list[Any]:
    """What the file says."""
    db = apsw.Connection(str(data / "journal.db"))
    found = db.execute(query).fetchall()
    db.close()
    return found


async def folded(data: Path, run: RunKey, log: b.ListLog | None = None) -> tuple[RunState, bool]:
    """The run after a restart, and whether its row was believed."""
    journal = SqliteJournal.open(data, log=log)
    with closing(schema.open_reader(data / "journal.db", busy_timeout_ms=0)) as db:
        found = run_rows.load(db, run)
    loaded = await journal.load(run)
    await journal.close()
    assert found is not None
    assert loaded == found.run
    return loaded.state, found.rewrite is None


@pytest.mark.parametrize(
    "damage",
    [
        "seq = seq - 1",
        "seq = seq + 64",
        "hash = zeroblob(32)",
        "last_position = last_position + 1",
        "last_position = 1",
        "open = 1 - open",
        "status = status + 1",
        "session_id = session_id || 'x'",
        "agent_id = 'other'",
        """labels = '{"a":"1","b":"3"}'""",
        "labels = 'no json'",
        "removed_at = 1",
        "snapshot = x''",
        "snapshot = CAST(substr(snapshot, 1, 50) || 'x' || substr(snapshot, 52) AS BLOB)",
    ],
)
@pytest.mark.parametrize("run", [ENDED, OPEN], ids=lambda run: run.run_id)
async def test_a_row_that_is_not_as_it_was_written_is_made_anew_from_its_events(
    data: Path, run: RunKey, damage: str
) -> None:
    whole, _ = await folded(data, run)
    before = requested(data, ROWS)
    log = b.ListLog()

    edit(data, f"UPDATE runs SET {damage} WHERE run_id = '{run.run_id}'")
    first, believed = await folded(data, run, log)
    second, again = await folded(data, run)

    assert first == second == whole
    assert (believed, again) == (False, True)
    assert requested(data, ROWS) == before
    lines = [line.fields for line in log.lines if "made anew" in line.event]
    assert lines == [{"namespace": "default", "run_id": run.run_id}]


async def test_rows_of_before_they_had_a_check_are_folded_once(data: Path) -> None:
    before = requested(data, ROWS)
    edit(
        data,
        *(statement for statement in BACK_TO_VERSION_4.split(";") if statement.strip()),
        "UPDATE runs SET snapshot = substr(snapshot, 34)",
        "UPDATE meta SET value = 4 WHERE key='schema_version'",
    )
    log = b.ListLog()

    first, believed = await folded(data, ENDED, log)
    second, again = await folded(data, ENDED)

    assert first == second
    assert (first.phase, believed, again) == (RunPhase.COMPLETED, False, True)
    assert requested(data, ROWS)[0] == before[0]
    assert [line for line in log.lines if "made anew" in line.event] == []


async def test_a_list_makes_old_rows_anew_as_well(data: Path) -> None:
    before = requested(data, ROWS)
    edit(data, "UPDATE runs SET snapshot = substr(snapshot, 34)")

    journal = SqliteJournal.open(data)
    listed = await journal.list_runs(ENDED.namespace, RunFilter(), before=None, limit=10)
    await journal.close()

    assert [run.state.key for run in listed.runs] == [OPEN, ENDED]
    assert requested(data, ROWS) == before


@pytest.mark.parametrize(
    ("damage", "first_bad"),
    [
        ("data = CAST(substr(data, 1, 20) || x'ff' || substr(data, 22) AS BLOB) WHERE seq = 3", "3"),
        ("previous_hash = zeroblob(32) WHERE seq = 4", "4"),
        ("hash = zeroblob(32) WHERE seq = 2", "2"),
        ("kind = 3 WHERE seq = 5", "5"),
        ("kind = 999 WHERE seq = 5", "5"),
        ("session_id = 'another' WHERE seq = 6", "6"),
        ("agent_id = 'another' WHERE seq = 1", "1"),
    ],
)
async def test_a_damaged_event_is_refused_by_its_number_and_those_before_it_are_served(
    data: Path, damage: str, first_bad: str
) -> None:
    whole = SqliteJournal.open(data)
    events = await whole.read(ENDED, after=0, limit=100)
    other = await whole.read(OPEN, after=0, limit=100)
    await whole.close()
    edit(data, f"UPDATE events SET {damage} AND run_no = 1")
    good = events[: int(first_bad) - 1]
    after = good[-1].position if good else 0

    journal = SqliteJournal.open(data)
    with pytest.raises(AgentError) as messages:
        await journal.messages(ENDED)
    with pytest.raises(AgentError) as rest:
        await journal.read(ENDED, after=after, limit=100)
    with pytest.raises(AgentError) as selected:
        await journal.select(EVERYTHING, after=after, limit=100)
    served = await journal.read(ENDED, after=0, limit=100) if good else []
    page = await journal.select(EVERYTHING, after=0, limit=100) if good else None
    another = await journal.read(OPEN, after=0, limit=100)
    await journal.close()

    for refused in (messages, rest, selected):
        assert refused.value.reason is ErrorReason.JOURNAL_CORRUPT
        assert refused.value.metadata == {"run_id": "ended", "first_bad": first_bad}
    assert served == good
    assert page is None or (list(page.events), page.reached, page.more) == (good, after, True)
    assert another == other


async def test_an_event_whose_number_is_another_is_missing_where_it_was(data: Path) -> None:
    edit(data, "UPDATE events SET seq = 99 WHERE seq = 7 AND run_no = 1")

    journal = SqliteJournal.open(data)
    with pytest.raises(AgentError) as refused:
        await journal.messages(ENDED)
    served = await journal.read(ENDED, after=0, limit=100)
    await journal.close()

    assert refused.value.metadata == {"run_id": "ended", "first_bad": "7"}
    assert [event.seq for event in served] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("statement", ["DELETE FROM events WHERE seq = 13", "DELETE FROM events WHERE seq > 10"])
async def test_events_that_are_missing_at_the_end_are_named(data: Path, statement: str) -> None:
    assert requested(data, "SELECT MAX(seq) FROM events WHERE run_no = 1") == [(EVENTS,)]
    missing = "13" if "= 13" in statement else "11"
    edit(data, f"{statement} AND run_no = 1")

    journal = SqliteJournal.open(data)
    for question in (journal.load(ENDED), journal.read(ENDED, after=0, limit=100)):
        with pytest.raises(AgentError) as refused:
            await question
        assert refused.value.reason is ErrorReason.JOURNAL_CORRUPT
        assert refused.value.metadata == {"run_id": "ended", "first_bad": missing}
    await journal.close()


async def test_events_of_another_run_do_not_pass_for_those_of_a_run(data: Path) -> None:
    edit(
        data,
        "UPDATE events SET run_no = 3 WHERE run_no = 1",
        "UPDATE events SET run_no = 1 WHERE run_no = 2",
        "UPDATE events SET run_no = 2 WHERE run_no = 3",
    )

    journal = SqliteJournal.open(data)
    for run in (ENDED, OPEN):
        for question in (journal.load(run), journal.messages(run), journal.read(run, after=0, limit=9)):
            with pytest.raises(AgentError) as refused:
                await question
            assert refused.value.metadata == {"run_id": run.run_id, "first_bad": "1"}
    await journal.close()


async def test_of_many_runs_one_whose_row_holds_no_text_keeps_no_other_from_being_read(data: Path) -> None:
    edit(data, "UPDATE runs SET agent_id = CAST(x'ff' AS TEXT) WHERE run_id = 'ended'")
    journal = SqliteJournal.open(data)

    ended, unended = await journal.load_many([ENDED, OPEN])
    await journal.close()

    assert isinstance(ended, LoadedRun) and ended.state.agent_id == "helper", "by its events"
    assert isinstance(unended, LoadedRun) and not unended.state.is_terminal


async def test_of_many_runs_those_that_cannot_be_read_are_errors_beside_the_others(data: Path) -> None:
    whole, _ = await folded(data, ENDED)
    edit(data, "UPDATE events SET data = x'ffff' WHERE run_no = 2 AND seq = 3", "UPDATE runs SET snapshot = x''")

    journal = SqliteJournal.open(data)
    ended, unread, unknown = await journal.load_many([ENDED, OPEN, key("unknown")])
    await journal.close()

    assert isinstance(ended, LoadedRun)
    assert (ended.state, unknown) == (whole, None)
    assert isinstance(unread, AgentError)
    assert (unread.reason, unread.metadata) == (ErrorReason.JOURNAL_CORRUPT, {"run_id": "open", "first_bad": "3"})


TABLE_LEAF, INDEX_LEAF = 0x0D, 0x0A  # the types of pages with rows and with entries of an index, in the first byte
PAGE = 4096
# The beginning of the row's header: types of the columns run_no, namespace, run_id, seq, hash, last_position, open.
OPEN_ROW = bytes([0, 13 + 2 * 7, 13 + 2 * 4, 1, 12 + 2 * 32, 1])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (OPEN_ROW + b"\x09", OPEN_ROW + b"\x08"),  # open is not 1 but 0
        (b"defaultopen", b"defaultopem"),
        (b"defaultopen", b"eefaultopen"),
        (b"defaultopen", b"defaultop\xffn"),
    ],
)
async def test_an_open_run_is_found_under_its_name_whatever_its_row_says(data: Path, old: bytes, new: bytes) -> None:
    whole, _ = await folded(data, OPEN)
    assert flipped_in_rows(data, old, new) == 1

    journal = SqliteJournal.open(data)
    found = await journal.open_runs()
    listed = await journal.list_runs(OPEN.namespace, RunFilter(), before=None, limit=10)
    await journal.close()
    state, _ = await folded(data, OPEN)

    assert found == [OPEN]
    assert state == whole
    assert listed.runs[-1].state.key == ENDED
    assert [run.state for run in listed.runs[:-1]] in ([whole], [])


@pytest.mark.parametrize(("name", "other"), [(b"defaultended", b"defaultendef"), (b"defaultopen", b"eefaultopen")])
@pytest.mark.parametrize("page", ["rows", "index"])
async def test_a_name_that_an_index_has_lost_is_found_again_at_the_start(
    data: Path, page: str, name: bytes, other: bytes
) -> None:
    whole = {run: await folded(data, run) for run in (ENDED, OPEN)}
    log = b.ListLog()
    assert flipped_in_rows(data, name, other, TABLE_LEAF if page == "rows" else INDEX_LEAF) >= 1

    journal = SqliteJournal.open(data, log=log)
    found = await journal.open_runs()
    await journal.close()

    assert found == [OPEN]
    assert [line.event for line in log.lines] == ["an index of the journal was damaged and is made anew"]
    assert {run: await folded(data, run) for run in (ENDED, OPEN)} == whole
    assert requested(data, "PRAGMA integrity_check") == [("ok",)]
    assert requested(data, "SELECT namespace, run_id FROM runs ORDER BY run_no") == [
        ("default", "ended"),
        ("default", "open"),
    ]


def flipped_in_rows(data: Path, old: bytes, new: bytes, kind: int = TABLE_LEAF) -> int:
    """Changes bytes in pages that hold rows, and not in those of indexes; how often."""
    path = data / "journal.db"
    pages = bytearray(path.read_bytes())
    changed = 0
    for start in range(0, len(pages), PAGE):
        page = bytes(pages[start : start + PAGE])
        if page[0] == kind and old in page:
            changed += page.count(old)
            pages[start : start + PAGE] = page.replace(old, new)
    path.write_bytes(pages)
    return changed


@pytest.mark.parametrize(
    "damage",
    ["data = CAST(data || x'00' AS BLOB)", "hash = zeroblob(32)", "previous_hash = zeroblob(32)", "number = 9"],
)
async def test_a_damaged_audit_entry_is_not_listed(data: Path, damage: str) -> None:
    journal = SqliteJournal.open(data)
    journal.audit(ManualClock()).note(AuditEntry(kind=AuditKind.RELOAD_FAILED, reason="keys"))
    await journal.close()
    edit(data, f"UPDATE audit SET {damage}")

    journal = SqliteJournal.open(data)
    with pytest.raises(AgentError) as refused:
        await journal.audit(ManualClock()).page(["", "default"], before=None, limit=10)
    await journal.close()

    assert refused.value.reason is ErrorReason.JOURNAL_CORRUPT
    assert refused.value.metadata["first_bad"] == ("9" if "= 9" in damage else "1")


async def test_a_row_whose_indexes_know_it_otherwise_is_made_anew_and_others_are_written(data: Path) -> None:
    whole, _ = await folded(data, ENDED)
    before = requested(data, ROWS)
    assert flipped_in_rows(data, b"shelper\x06{", b"thelper\x06{") == 1  # session, agent and status of the row

    journal = SqliteJournal.open(data)
    loaded = await journal.load(ENDED)
    await put(journal, key("another"), turn(), after=0)
    await journal.close()
    again, believed = await folded(data, ENDED)

    assert loaded is not None
    assert (loaded.state, again, believed) == (whole, whole, True)
    assert requested(data, ROWS)[:2] == before
    assert requested(data, "PRAGMA integrity_check") == [("ok",)]


async def test_a_page_that_is_damaged_fails_what_needs_it_and_nothing_else(data: Path) -> None:
    ((page,),) = requested(data, "SELECT rootpage FROM sqlite_schema WHERE name = 'content_uses'")
    path = data / "journal.db"
    pages = bytearray(path.read_bytes())
    pages[(page - 1) * PAGE : page * PAGE] = b"\xff" * PAGE
    path.write_bytes(pages)
    twice = Content.text("twice")
    said = r.TurnStarted(at=AT, input=(twice.ref, twice.ref))

    journal = SqliteJournal.open(data)
    answers = await asyncio.gather(
        put(journal, key("one"), end(), after=0),
        put(journal, key("two"), said, after=0, contents=[twice]),
        put(journal, key("three"), r.TurnCompleted(at=AT), after=0),
        return_exceptions=True,
    )
    later = await put(journal, key("three"), r.TurnCompleted(at=AT), after=1)
    await journal.close()

    refused = [answer for answer in answers if isinstance(answer, AgentError)]
    assert [(error.reason, error.metadata["run_id"]) for error in refused[-1:]] == [
        (ErrorReason.JOURNAL_CORRUPT, "two")
    ]
    assert isinstance(answers[2], list)
    assert len(later) == 1
