"""What was removed is gone: from the file, from its -wal, from backups, and from what earlier versions left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import pytest
from runwright.adapters.sqlite import SqliteJournal
from runwright.adapters.sqlite.inspecting.backup import back_up, restore
from runwright.adapters.sqlite.opening.transactions import Transactions
from runwright.core.callbacks import Callback, Tls
from runwright.core.content import Content
from runwright.core.errors import AgentError
from runwright.core.ids import DEFAULT_NAMESPACE

from tests.builders import ListLog
from tests.ports.journal_builders import BACK_TO_VERSION_4, key
from tests.ports.test_journal_removing import LATER, begin, finish

SECRET = b"the-marker-that-must-go"
NOT_REMOVED = b"the-marker-that-must-stay"
SIZES = [100, 3_000, 5_000, 90_000]  # in a page with others, alone in one, in chains of pages


def content(marker: bytes, size: int) -> Content:
    """Bytes with a marker at both ends."""
    return Content.of(marker + bytes(size) + marker + str(size).encode(), "text/plain")


def copies(directory: Path, marker: bytes) -> dict[str, int]:
    """How often each file of a directory holds the marker."""
    return {
        path.name: found
        for path in directory.iterdir()
        if path.is_file() and (found := path.read_bytes().count(marker))
    }


async def small_wal(journal: SqliteJournal) -> None:
    """What happens by itself within a second or two."""
    journal._wal.tend(journal._writer.hand_over)
    await journal._writer.perform(lambda _: None)


async def filled(journal: SqliteJournal) -> None:
    """Runs that end, with markers in what they refer to, and one that stays."""
    for size in SIZES:
        await begin(journal, key(f"old-{size}"), content(SECRET, size))
        await finish(journal, key(f"old-{size}"))
    await begin(journal, key("new"), content(NOT_REMOVED, 5_000))


async def test_contents_of_removed_runs_are_in_no_file(tmp_path: Path) -> None:
    data = tmp_path / "data"
    journal = SqliteJournal.open(data)
    await filled(journal)
    before = copies(data, SECRET)

    while (await journal.remove_ended(before=LATER, now=LATER, limit=4)).more:
        pass
    await small_wal(journal)
    back_up(data, tmp_path / "copy")

    assert sum(before.values()) >= 2 * len(SIZES)
    assert copies(data, SECRET) == {}
    assert copies(tmp_path, SECRET) == {}
    assert copies(data, NOT_REMOVED)
    assert copies(tmp_path, NOT_REMOVED)
    assert 0 < (data / "journal.db-wal").stat().st_size < 64 * 1024
    await journal.close()
    assert copies(data, SECRET) == {}


async def test_credentials_of_ended_and_renewed_registrations_are_in_no_file(tmp_path: Path) -> None:
    data = tmp_path / "data"
    journal = SqliteJournal.open(data)
    store = journal.callbacks()

    async def register(name: str, credential: bytes) -> None:
        tls = Tls(b"x" * 6_000)
        await store.put(
            Callback(
                namespace=DEFAULT_NAMESPACE,
                callback_id=name,
                owner="o",
                name="desk",
                address="127.0.0.1:1",
                tls=tls,
                credential=credential.decode(),
            )
        )

    for number in range(9):
        await register(f"gone-{number}", SECRET)
    await register("renewed", SECRET)
    await register("lasting", NOT_REMOVED)
    before = copies(data, SECRET)

    for number in range(9):
        await store.remove(DEFAULT_NAMESPACE, f"gone-{number}")
    await register("renewed", NOT_REMOVED)
    await small_wal(journal)
    back_up(data, tmp_path / "copy")

    assert before
    assert copies(data, SECRET) == copies(tmp_path, SECRET) == {}
    assert copies(data, NOT_REMOVED)
    await journal.close()


async def test_a_reader_that_stays_delays_it_and_no_longer(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    await filled(journal)
    stranger = apsw.Connection(str(tmp_path / "journal.db"), flags=apsw.SQLITE_OPEN_READONLY)
    stranger.execute("BEGIN")
    stranger.execute("SELECT COUNT(*) FROM events").fetchall()
    while (await journal.remove_ended(before=LATER, now=LATER, limit=4)).more:
        pass
    await small_wal(journal)
    held = copies(tmp_path, SECRET)
    stranger.close()

    for _ in range(3):
        await small_wal(journal)

    assert held
    assert copies(tmp_path, SECRET) == {}
    await journal.close()


def as_version_4(directory: Path) -> None:
    """Takes a journal back, and lets that version remove the contents with a marker, as it did."""
    db = apsw.Connection(str(directory / "journal.db"))
    db.pragma("secure_delete", 0)
    for (run_no,) in db.execute("SELECT run_no FROM runs WHERE run_id LIKE 'old-%'").fetchall():
        db.execute("DELETE FROM events WHERE run_no = ?", (run_no,))
        db.execute("UPDATE runs SET removed_at = 1 WHERE run_no = ?", (run_no,))
    db.execute("DELETE FROM contents WHERE instr(data, ?) > 0", (SECRET,))
    db.execute("DELETE FROM callbacks")
    for statement in BACK_TO_VERSION_4.split(";"):
        db.execute(statement)
    db.execute("UPDATE meta SET value = 4 WHERE key = 'schema_version'")
    db.close()


async def earlier(directory: Path) -> None:
    """A journal of version 4 from which runs and a registration were removed."""
    journal = SqliteJournal.open(directory)
    await filled(journal)
    gone = Callback(
        namespace=DEFAULT_NAMESPACE,
        callback_id="gone",
        owner="o",
        name="desk",
        address="127.0.0.1:1",
        credential=SECRET.decode(),
    )
    await journal.callbacks().put(gone)
    await journal.close()
    as_version_4(directory)
    assert sum(copies(directory, SECRET).values()) >= 3


async def test_an_upgrade_takes_out_what_earlier_versions_left(tmp_path: Path) -> None:
    await earlier(tmp_path)

    journal = SqliteJournal.open(tmp_path)

    assert copies(tmp_path, SECRET) == {}
    assert len(await journal.read(key("new"), after=0, limit=9)) == 1
    assert [*(await journal.content(key("new").namespace, [content(NOT_REMOVED, 5_000).ref.digest])).values()]
    await journal.close()
    assert copies(tmp_path, SECRET) == {}


async def test_where_there_is_no_room_for_it_the_start_says_so_and_a_backup_is_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    await earlier(data)
    log = ListLog()
    with monkeypatch.context() as full:
        full.setattr("runwright.adapters.sqlite.opening.schema.scrubbing.scrub", lambda _: None)
        journal = SqliteJournal.open(data, log=log)

    back_up(data, tmp_path / "copy")
    restore(tmp_path / "copy", tmp_path / "new")

    assert [line.event for line in log.lines] == ["removed contents may stand in free room of journal.db"]
    assert copies(data, SECRET)
    assert copies(tmp_path, SECRET) == copies(tmp_path / "new", SECRET) == {}
    await journal.close()
    await SqliteJournal.open(data).close()
    assert copies(data, SECRET) == {}


async def test_a_file_that_could_not_be_synced_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await SqliteJournal.open(tmp_path).close()
    db = apsw.Connection(str(tmp_path / "journal.db"))
    db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('scrub_wanted', 1)")
    db.close()
    single = Transactions.single

    def unsynced(self: Transactions, _: Any) -> Any:
        monkeypatch.setattr(Transactions, "single", single)  # once: what follows at the start is written

        def act(_: apsw.Connection) -> None:
            error = apsw.IOError("disk I/O error")
            error.result, error.extendedresult = apsw.SQLITE_IOERR, apsw.SQLITE_IOERR_FSYNC
            raise error

        return single(self, act)

    monkeypatch.setattr(Transactions, "single", unsynced)
    with pytest.raises(AgentError):
        SqliteJournal.open(tmp_path)

    await SqliteJournal.open(tmp_path).close()
