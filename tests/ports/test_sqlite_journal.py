"""The journal's file: what it keeps over a restart, what it refuses to open, how it is set up."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest
from runwright.adapters import journal_rules as rules
from runwright.adapters.sqlite import SqliteJournal
from runwright.adapters.sqlite.opening import schema
from runwright.adapters.sqlite.reading import queries, selecting
from runwright.adapters.sqlite.tables import EVENTS_OF_RUN
from runwright.core.apply import fold
from runwright.core.content import Content
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.kinds import MESSAGE_BEARING
from runwright.core.outcomes import RunStatus
from runwright.core.selection import EventFilter, RunFilter, Scope, ScopeKind, Selection
from runwright.core.state import RunState
from runwright.ports.journal import LoadedRun

from tests.ports.journal_builders import BEGUN, check_chain, key, put, put_begun, put_ended, state, turn

RUN = key("run-1")


def edit(directory: Path, statement: str) -> None:
    """Changes a closed journal behind its back."""
    db = apsw.Connection(str(directory / "journal.db"))
    db.execute(statement)
    db.close()


def rows(directory: Path, query: str) -> list[Any]:
    """What the file says."""
    db = schema.open_reader(directory / "journal.db", busy_timeout_ms=0)
    found = db.execute(query).fetchall()
    db.close()
    return found


async def written(directory: Path) -> None:
    """A closed journal with two events of one run."""
    journal = SqliteJournal.open(directory)
    await put(journal, RUN, turn(), turn(), after=0)
    await journal.close()


async def test_a_reopened_journal_is_the_same_journal(tmp_path: Path) -> None:
    first = SqliteJournal.open(tmp_path)
    stored = await put(first, RUN, turn(), turn(), after=0, contents=[Content.text("hello")])
    await first.close()

    second = SqliteJournal.open(tmp_path)

    assert (second.incarnation, second.cursor_key, second.head) == (first.incarnation, first.cursor_key, 2)
    assert second.commits == 0
    stored += await put(second, RUN, turn(), after=2)
    assert await second.read(RUN, after=0, limit=10) == stored
    check_chain(RUN, stored)
    assert await second.load(RUN) == LoadedRun(state(RUN, 3), 3)
    assert await second.content(RUN.namespace, [Content.text("hello").ref.digest]) != {}
    await second.close()


async def test_a_snapshot_of_another_version_is_replaced_by_what_the_events_say(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    await put_begun(journal, RUN)
    await journal.close()
    edit(tmp_path, "UPDATE runs SET snapshot = CAST('{}' AS BLOB)")

    journal = SqliteJournal.open(tmp_path)

    assert await journal.load(RUN) == LoadedRun(fold(RunState(key=RUN), BEGUN), len(BEGUN))
    await journal.close()


async def test_a_snapshot_of_an_earlier_moment_is_replaced_by_what_the_events_say(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    await put_begun(journal, RUN, 1)
    ((earlier,),) = rows(tmp_path, "SELECT snapshot FROM runs")
    await put_begun(journal, RUN, 2)
    await journal.close()
    older = schema.open_writer(tmp_path / "journal.db", busy_timeout_ms=0)
    older.execute("UPDATE runs SET snapshot = ?", (earlier,))
    older.close()

    journal = SqliteJournal.open(tmp_path)

    assert await journal.load(RUN) == LoadedRun(fold(RunState(key=RUN), BEGUN), len(BEGUN))
    await journal.close()


async def test_events_that_do_not_follow_from_one_another_are_no_run(tmp_path: Path) -> None:
    await written(tmp_path)
    edit(tmp_path, "UPDATE runs SET snapshot = x'00'")
    journal = SqliteJournal.open(tmp_path)

    with pytest.raises(AgentError) as refused:
        await journal.load(RUN)

    assert refused.value.reason is ErrorReason.JOURNAL_CORRUPT
    assert refused.value.metadata == {"run_id": "run-1", "first_bad": "1"}
    await journal.close()


async def test_an_event_that_does_not_decode_is_named(tmp_path: Path) -> None:
    await written(tmp_path)
    edit(tmp_path, "UPDATE events SET data = x'ffff' WHERE seq = 2")
    journal = SqliteJournal.open(tmp_path)

    with pytest.raises(AgentError) as refused:
        await journal.messages(RUN)

    assert refused.value.reason is ErrorReason.JOURNAL_CORRUPT
    assert refused.value.metadata == {"run_id": "run-1", "first_bad": "2"}
    await journal.close()


async def test_a_directory_in_use_is_refused_naming_the_process(tmp_path: Path) -> None:
    first = SqliteJournal.open(tmp_path)

    with pytest.raises(AgentError) as refused:
        SqliteJournal.open(tmp_path)

    assert refused.value.reason is ErrorReason.JOURNAL_BUSY
    assert f"process {os.getpid()} on " in refused.value.message
    await put(first, RUN, turn(), after=0)
    await first.close()
    await SqliteJournal.open(tmp_path).close()


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough for its header\n" * 400, b"\x00" * 100, b"short"]
)
async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(content)

    for _ in range(2):  # a refusal gives the lock back
        with pytest.raises(AgentError) as refused:
            SqliteJournal.open(tmp_path)
        assert refused.value.reason is ErrorReason.JOURNAL_CORRUPT

    assert path.read_bytes() == content


@pytest.mark.parametrize("table", ["customers (name)", "meta (colour)", "meta (key, value)"])
async def test_the_database_of_another_program_is_refused_and_left_alone(tmp_path: Path, table: str) -> None:
    edit(tmp_path, f"CREATE TABLE {table}")
    before = (tmp_path / "journal.db").read_bytes()

    with pytest.raises(AgentError) as refused:
        SqliteJournal.open(tmp_path)

    assert refused.value.reason is ErrorReason.JOURNAL_CORRUPT
    assert (tmp_path / "journal.db").read_bytes() == before


async def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    await written(tmp_path)
    newer = schema.open_writer(tmp_path / "journal.db", busy_timeout_ms=0)
    newer.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)  # killed before it could tidy up
    newer.execute(f"UPDATE meta SET value = {schema.SCHEMA_VERSION + 1} WHERE key = 'schema_version'")
    newer.close()
    before = (tmp_path / "journal.db").read_bytes()

    with pytest.raises(AgentError) as refused:
        SqliteJournal.open(tmp_path)

    assert refused.value.reason is ErrorReason.JOURNAL_CORRUPT
    assert f"version {schema.SCHEMA_VERSION + 1}" in refused.value.message
    assert f"versions 1 to {schema.SCHEMA_VERSION}" in refused.value.message
    assert (tmp_path / "journal.db").read_bytes() == before
    assert (tmp_path / "journal.db-wal").stat().st_size > 0


async def test_a_quota_holds_from_the_start(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path, max_bytes=400_000)
    small, big = Content.text("hello"), Content.text("x" * 400_000)

    await put(journal, RUN, turn(), after=0, contents=[small])
    with pytest.raises(AgentError) as refused:
        await put(journal, RUN, turn(), after=1, contents=[big])

    assert refused.value.reason is ErrorReason.JOURNAL_FULL
    await journal.close()
    assert (tmp_path / "journal.db").stat().st_size <= 400_000


def test_every_commit_is_on_disk_before_it_is_acknowledged(tmp_path: Path) -> None:
    for _ in ("made", "opened again"):
        db = schema.open_writer(tmp_path / "journal.db", busy_timeout_ms=0)

        assert db.pragma("journal_mode") == "wal"
        assert db.pragma("synchronous") == 2
        db.close()


async def test_only_the_owner_can_read_the_files(tmp_path: Path) -> None:
    directory = tmp_path / "state" / "data"
    journal = SqliteJournal.open(directory)
    await put(journal, RUN, turn(), after=0)

    modes = {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}

    assert directory.stat().st_mode & 0o777 == 0o700
    assert modes == dict.fromkeys(("LOCK", "journal.db", "journal.db-wal", "journal.db-shm", "journal.head"), 0o600)
    await journal.close()
    assert {path.name for path in directory.iterdir()} == {"LOCK", "journal.db", "journal.head"}


Ask = Callable[[apsw.Connection], object]


def plan(directory: Path, *questions: Ask) -> tuple[int, list[str]]:
    """How many statements these are, and the steps in which SQLite answers them."""
    db = schema.open_reader(directory / "journal.db", busy_timeout_ms=0)
    requested: list[tuple[str, apsw.Bindings | None]] = []

    def note(_: apsw.Cursor, statement: str, bindings: apsw.Bindings | None) -> bool:
        requested.append((statement, bindings))
        return True

    db.exec_trace = note
    for question in questions:
        question(db)
    db.exec_trace = None
    plans = [str(step) for query, values in requested for *_, step in db.execute(f"EXPLAIN QUERY PLAN {query}", values)]
    db.close()
    return len(requested), plans


async def test_no_question_scans_a_table(tmp_path: Path) -> None:
    await written(tmp_path)

    requested, plans = plan(
        tmp_path,
        lambda db: queries.load(db, RUN),
        lambda db: queries.records(db, RUN, MESSAGE_BEARING),
        lambda db: queries.read(db, RUN, 0, 10),
        lambda db: queries.content(db, RUN.namespace, ["sha256:00"], RUN.run_id, required=False),
    )

    assert requested == 8
    used = "\n".join(plans)
    assert used.count(f"{EVENTS_OF_RUN} (run_no=? AND seq>?)") == 2  # the conversation, and a page
    # The last event beside its row: where it is says the index, without the event.
    assert used.count("SEARCH e USING INTEGER PRIMARY KEY (rowid=?)") == 1
    assert [step for step in plans if "SCAN" in step and "json_each" not in step] == []


@pytest.mark.parametrize(
    ("kind", "chosen", "index"),
    [
        (ScopeKind.RUN, EventFilter(), f"{EVENTS_OF_RUN} (run_no=? AND seq>?"),
        (ScopeKind.SESSION, EventFilter(), "events_of_session (namespace=? AND session_id=? AND rowid>?"),
        (ScopeKind.AGENT, EventFilter(), "events_of_agent (namespace=? AND agent_id=? AND rowid>?"),
        (ScopeKind.ALL, EventFilter(run_ids=frozenset({"a"})), "events_of_namespace (namespace=? AND rowid>?"),
        (ScopeKind.ALL, EventFilter(terminal_only=True), "events_ending_runs (namespace=? AND rowid>?"),
    ],
)
async def test_a_stream_is_read_by_the_index_of_its_scope(
    tmp_path: Path, kind: ScopeKind, chosen: EventFilter, index: str
) -> None:
    await written(tmp_path)
    of = {ScopeKind.RUN: "run-1", ScopeKind.SESSION: "session-1", ScopeKind.AGENT: "agent-1", ScopeKind.ALL: ""}[kind]
    selection = Selection(Scope(RUN.namespace, kind, of), chosen)

    _, plans = plan(tmp_path, lambda db: selecting.select(db, selection, 0, 10))

    of_its_end = f"COVERING INDEX {EVENTS_OF_RUN} (run_no=?)"  # the run's newest number, asked of the index alone
    assert [step for step in plans if " e " in step and index not in step and of_its_end not in step] == []
    assert [step for step in plans if "TEMP B-TREE" in step] == []


async def test_runs_are_listed_by_their_index(tmp_path: Path) -> None:
    await written(tmp_path)
    wanted = RunFilter(statuses=frozenset({RunStatus.RUNNING}), agent_id="agent-1", labels={"team": "blue"})

    _, plans = plan(tmp_path, lambda db: selecting.list_runs(db, RUN.namespace, wanted, before=None, limit=10))

    assert sum("runs_of_namespace (namespace=? AND rowid" in step for step in plans) == 2
    assert [step for step in plans if "TEMP B-TREE" in step] == []


async def test_what_is_asked_in_steps_is_refused_when_the_journal_closes_between_two(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    await put_begun(journal, key())
    transact = journal._writer.transact

    async def then_closed(act: Any, **rest: Any) -> Any:
        found = await transact(act, **rest)
        await journal.close()
        return found

    journal._writer.transact = then_closed  # type: ignore[method-assign]

    with pytest.raises(type(rules.closed())):
        await journal.probe()


async def test_a_listener_that_fails_keeps_no_answer_back(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    failed: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context["exception"]))

    def listener(_: Any) -> None:
        raise ZeroDivisionError

    journal.listen(listener)
    async with asyncio.timeout(10):
        await put_begun(journal, key())

    assert [type(error) for error in failed] == [ZeroDivisionError], "it is reported"
    await journal.close()


@pytest.mark.parametrize("refused", ["runwright-journal-writer", "runwright-journal-ticker"])
async def test_an_open_that_gets_no_thread_leaves_neither_thread_nor_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    start, before = threading.Thread.start, set(threading.enumerate())

    def refuse(thread: threading.Thread) -> None:
        if thread.name == refused:
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            SqliteJournal.open(tmp_path)
    left = set(threading.enumerate()) - before
    journal = SqliteJournal.open(tmp_path)
    await put_ended(journal, key("a"))
    await journal.close()

    assert left == set()
