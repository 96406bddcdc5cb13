"""An older journal opens as one of the present version: nothing is lost, and its runs can be selected."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import apsw
import pytest
from msgspec import structs
from runwright.adapters.sqlite import SqliteJournal
from runwright.adapters.sqlite.opening import schema, upgrade
from runwright.core.callbacks import Callback
from runwright.core.ids import DEFAULT_NAMESPACE, Namespace
from runwright.core.kinds import EventKind
from runwright.core.outcomes import RunPhase, RunStatus
from runwright.core.selection import EventFilter, RunFilter, Scope, ScopeKind, Selection

from tests.ports.journal_builders import BACK_TO_VERSION_4, check_chain, key, put, turn
from tests.ports.test_callback_store_contract import BARE, FULL
from tests.ports.test_journal_removing import LATER, begin, finish

DUMP = Path(__file__).with_name("journal_v1.sql")  # made by version 1: three runs, one of them open
THEIRS = Namespace("theirs")


def place(directory: Path, then: str = "") -> None:
    """Puts the old journal there."""
    db = sqlite3.connect(directory / "journal.db")
    db.executescript(DUMP.read_text() + then)
    db.close()


def rows(directory: Path, query: str) -> list[tuple[object, ...]]:
    """What the closed file says."""
    db = sqlite3.connect(directory / "journal.db")
    found = db.execute(query).fetchall()
    db.close()
    return found


RUNS = "SELECT run_no, namespace, run_id, seq, hash, last_position, open, snapshot FROM runs"
NOT_REMOVED = "SELECT position, run_no, seq, kind, data, previous_hash, hash FROM events ORDER BY position"


async def test_an_old_journal_keeps_every_byte_and_can_be_selected_from(tmp_path: Path) -> None:
    place(tmp_path)
    before = rows(tmp_path, NOT_REMOVED)

    journal = SqliteJournal.open(tmp_path)

    everything = await journal.select(Selection(Scope(DEFAULT_NAMESPACE, ScopeKind.ALL)), after=0, limit=1000)
    morning = await journal.select(Selection(Scope(DEFAULT_NAMESPACE, ScopeKind.SESSION, "morning")), after=0, limit=99)
    ends = Selection(Scope(THEIRS, ScopeKind.AGENT, "helper"), EventFilter(terminal_only=True))
    first = await journal.read(key("first"), after=0, limit=100)
    assert {event.run.run_id for event in everything.events} == {"first", "second"}
    assert list(morning.events) == first
    assert [event.kind for event in (await journal.select(ends, after=0, limit=9)).events] == [EventKind.RUN_COMPLETED]
    check_chain(key("first"), first)
    assert await journal.open_runs() == [key("second")]
    await journal.close()
    assert rows(tmp_path, NOT_REMOVED) == before
    assert rows(tmp_path, "SELECT value FROM meta WHERE key = 'schema_version'") == [(schema.SCHEMA_VERSION,)]


async def test_the_runs_of_an_old_journal_are_listed(tmp_path: Path) -> None:
    place(tmp_path)
    journal = SqliteJournal.open(tmp_path)

    listed = await journal.list_runs(DEFAULT_NAMESPACE, RunFilter(), before=None, limit=10)
    stuck = RunFilter(statuses=frozenset({RunStatus.REPAIR_NEEDED}), agent_id="clerk")
    blue = RunFilter(statuses=frozenset({RunStatus.COMPLETED}), labels={"team": "blue"}, session_id="morning")

    assert [run.state.key.run_id for run in listed.runs] == ["second", "first"]
    for wanted, run_id in ((stuck, "second"), (blue, "first")):
        page = await journal.list_runs(DEFAULT_NAMESPACE, wanted, before=None, limit=10)
        assert [run.state.key.run_id for run in page.runs] == [run_id]
    await journal.close()


async def test_a_damaged_run_does_not_keep_the_journal_from_opening(tmp_path: Path) -> None:
    place(tmp_path, "UPDATE runs SET snapshot = x'00'; UPDATE events SET data = x'ffff' WHERE seq = 2;")

    journal = SqliteJournal.open(tmp_path)
    found = await journal.select(Selection(Scope(DEFAULT_NAMESPACE, ScopeKind.SESSION, "morning")), after=0, limit=1)
    listed = await journal.list_runs(DEFAULT_NAMESPACE, RunFilter(), before=None, limit=9)
    await journal.close()

    assert [event.run.run_id for event in found.events] == ["first"]
    outlines = [(run.state.key.run_id, run.state.phase, run.state.agent_id) for run in listed.runs]
    assert outlines == [("second", RunPhase.RUNNING, "clerk"), ("first", RunPhase.COMPLETED, "helper")]
    statuses = rows(tmp_path, "SELECT run_id, status FROM runs ORDER BY run_no")
    assert statuses == [("first", 6), ("second", 2), ("first", 6)]


def test_an_upgrade_that_is_cut_off_leaves_the_old_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place(tmp_path)
    before = rows(tmp_path, "SELECT * FROM events"), rows(tmp_path, RUNS)

    with monkeypatch.context() as cut:
        cut.setattr(upgrade, "SELECTING", ("CREATE INDEX broken ON nowhere (x)",))
        with pytest.raises(Exception, match="cannot be used as a journal"):
            SqliteJournal.open(tmp_path)

    assert (rows(tmp_path, "SELECT * FROM events"), rows(tmp_path, RUNS)) == before
    schema.open_writer(tmp_path / "journal.db", busy_timeout_ms=0).close()
    assert rows(tmp_path, "SELECT value FROM meta WHERE key = 'schema_version'") == [(schema.SCHEMA_VERSION,)]


def test_an_upgraded_file_has_the_tables_of_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    place(tmp_path / "old")

    shapes = []
    for name in ("old", "new"):
        db = schema.open_writer(tmp_path / name / "journal.db", busy_timeout_ms=0)
        shapes.append(shape(db))
        db.close()

    assert shapes[0] == shapes[1]


def shape(db: apsw.Connection) -> object:
    """Columns and indexes, without the white space of their statements."""
    tables = {
        name: db.execute(f"PRAGMA table_info({name})").fetchall()
        for name in ("meta", "runs", "events", "callbacks", "epochs")
    }
    indexes = db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'index'").fetchall()
    return tables, sorted(indexes, key=str)


async def test_a_journal_of_version_2_gets_what_version_3_has(tmp_path: Path) -> None:
    place(tmp_path)
    await SqliteJournal.open(tmp_path).close()
    old_kinds = "kind IN (2, 4, 6, 9, 10, 11)"
    back = f"""
        DROP INDEX runs_of_session; DROP INDEX runs_open_in_session;
        CREATE INDEX events_of_run ON events (run_no);
        CREATE INDEX events_with_messages ON events (run_no) WHERE {old_kinds};
        DROP TABLE packages; DROP TABLE package_changes; DROP TABLE entries; DROP TABLE counters;
        DROP TABLE recovering; DROP TABLE removals; DROP TABLE callbacks; DROP TABLE audit; DROP TABLE content_uses;
        DROP INDEX runs_of_namespace; CREATE INDEX runs_of_namespace ON runs (namespace);
        DROP INDEX runs_ended; DROP INDEX removed_of_namespace; DROP INDEX removed_of_session;
        DROP INDEX removed_of_agent; ALTER TABLE runs DROP COLUMN removed_at; DROP TABLE epochs;
        UPDATE meta SET value = 2 WHERE key = 'schema_version';"""
    db = sqlite3.connect(tmp_path / "journal.db")
    db.executescript(back)
    db.close()
    before = rows(tmp_path, NOT_REMOVED), rows(tmp_path, RUNS)

    journal = SqliteJournal.open(tmp_path)
    morning = await journal.session(DEFAULT_NAMESPACE, "morning", "helper", turns=9)
    messages = await journal.messages(key("first"))
    wanted = Callback(namespace=THEIRS, callback_id="one", owner="o", name="desk", address="127.0.0.1:1")
    await journal.callbacks().put(wanted)
    retained = await journal.callbacks().load()
    await journal.close()

    assert [(run.run_id, run.turn is not None) for run in morning.runs] == [("first", True)]
    assert len(messages) >= 3
    assert retained == [wanted]
    assert (rows(tmp_path, NOT_REMOVED), rows(tmp_path, RUNS)) == before
    assert rows(tmp_path, "SELECT value FROM meta WHERE key = 'schema_version'") == [(schema.SCHEMA_VERSION,)]


async def test_a_journal_of_version_3_loses_two_indexes_and_nothing_else(tmp_path: Path) -> None:
    place(tmp_path)
    await SqliteJournal.open(tmp_path).close()
    new_shape = rows(tmp_path, "SELECT name, sql FROM sqlite_schema ORDER BY name")
    back = f"""{BACK_TO_VERSION_4}
        CREATE INDEX events_of_run ON events (run_no);
        CREATE INDEX events_with_messages ON events (run_no) WHERE kind IN (2, 4, 6, 9, 10, 11, 21);
        UPDATE meta SET value = 3 WHERE key = 'schema_version';"""
    db = sqlite3.connect(tmp_path / "journal.db")
    db.executescript(back)
    db.close()
    before = rows(tmp_path, NOT_REMOVED), rows(tmp_path, RUNS)

    await SqliteJournal.open(tmp_path).close()

    assert rows(tmp_path, "SELECT name, sql FROM sqlite_schema ORDER BY name") == new_shape
    assert (rows(tmp_path, NOT_REMOVED), rows(tmp_path, RUNS)) == before
    assert rows(tmp_path, "SELECT value FROM meta WHERE key = 'schema_version'") == [(schema.SCHEMA_VERSION,)]


async def test_registrations_of_version_4_come_along_without_a_key(tmp_path: Path) -> None:
    place(tmp_path)
    journal = SqliteJournal.open(tmp_path)
    known = Callback(
        namespace=THEIRS, callback_id="one", owner="o", name="desk", address="127.0.0.1:1", owner_key="k:1:2"
    )
    await journal.callbacks().put(known)
    await journal.close()
    back = f"""{BACK_TO_VERSION_4}
        UPDATE meta SET value = 4 WHERE key = 'schema_version';"""
    db = sqlite3.connect(tmp_path / "journal.db")
    db.executescript(back)
    db.close()

    journal = SqliteJournal.open(tmp_path)
    retained = await journal.callbacks().load()
    await journal.close()

    assert retained == [structs.replace(known, owner_key="")]


async def test_what_version_4_left_of_a_removed_run_is_still_told(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    await begin(journal, key("old"))
    await finish(journal, key("old"))
    await put(journal, key("new"), turn(), after=0)
    while (await journal.remove_ended(before=LATER, now=LATER, limit=9)).more:
        pass
    before = await journal.load(key("old"))
    await journal.close()
    db = sqlite3.connect(tmp_path / "journal.db")
    db.executescript(BACK_TO_VERSION_4 + "UPDATE meta SET value = 4 WHERE key = 'schema_version';")
    # A version byte and a check of 32 bytes stand before what version 4 wrote.
    db.execute("UPDATE runs SET snapshot = substr(snapshot, 34) WHERE run_id = 'old'")
    db.commit()
    db.close()

    journal = SqliteJournal.open(tmp_path)
    after = await journal.load(key("old"))
    await journal.close()

    assert before is not None
    assert before.state.removed_at == LATER
    assert after == before


async def test_text_of_version_4_that_is_none_keeps_nothing_else_from_coming_along(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    for each in (FULL, BARE):
        await journal.callbacks().put(each)
    await begin(journal, key("old"))
    await finish(journal, key("old"))
    await put(journal, key("new"), turn(), after=0)
    while (await journal.remove_ended(before=LATER, now=LATER, limit=9)).more:
        pass
    await journal.close()
    db = sqlite3.connect(tmp_path / "journal.db")
    db.executescript(BACK_TO_VERSION_4 + "UPDATE meta SET value = 4 WHERE key = 'schema_version';")
    db.execute("UPDATE runs SET snapshot = substr(snapshot, 34), run_id = CAST(x'ff' AS TEXT) WHERE run_id = 'old'")
    db.execute("UPDATE callbacks SET address = CAST(x'ff' AS TEXT) WHERE callback_id = ?", (FULL.callback_id,))
    db.commit()
    db.close()

    journal = SqliteJournal.open(tmp_path)
    found = [callback.callback_id for callback in await journal.callbacks().load()]
    new = await journal.load(key("new"))
    await journal.close()

    assert found == [BARE.callback_id]
    assert new is not None
