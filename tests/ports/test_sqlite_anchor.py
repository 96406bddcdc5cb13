"""The head anchor: a journal whose end is missing is found at the next start, and nothing else is refused."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest
from runwright.adapters.sqlite import SqliteJournal
from runwright.adapters.sqlite.inspecting.backup import back_up, restore
from runwright.adapters.sqlite.opening import anchor, anchor_keeper
from runwright.core.errors import AgentError, ErrorReason

from tests.builders import ListLog
from tests.ports.journal_builders import key, put, turn
from tests.ports.test_journal_removing import LATER, begin, finish
from tests.ports.test_sqlite_journal import edit

RUN = key("run-1")


async def write(directory: Path, *, after: int = 0) -> None:
    """Two more events, and a proper close."""
    journal = SqliteJournal.open(directory)
    await put(journal, RUN, turn(), turn(), after=after)
    await journal.close()


def refused(directory: Path) -> str:
    """What is said when the journal is not opened."""
    with pytest.raises(AgentError) as error:
        SqliteJournal.open(directory)
    assert error.value.reason is ErrorReason.JOURNAL_CORRUPT
    assert "runwright restore" in error.value.message
    return error.value.message


async def test_the_anchor_follows_the_journal_and_is_there_from_the_first_start(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    assert anchor.read(tmp_path) == anchor.Anchor(journal.incarnation, 0, bytes(32))

    stored = await put(journal, RUN, turn(), turn(), after=0)
    await journal.close()

    assert anchor.read(tmp_path) == anchor.Anchor(journal.incarnation, 2, stored[-1].hash)
    assert (tmp_path / anchor.FILE).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / anchor.FILE).read_text().startswith(f"runwright-head-v1 {journal.incarnation} 2 ")


async def test_an_older_copy_of_the_file_is_not_opened_and_left_as_it_is(tmp_path: Path) -> None:
    await write(tmp_path)
    shutil.copy(tmp_path / "journal.db", tmp_path / "older.db")
    await write(tmp_path, after=2)
    shutil.copy(tmp_path / "older.db", tmp_path / "journal.db")
    before = (tmp_path / "journal.db").read_bytes()

    assert "it ends at position 2, and 4 had been reached" in refused(tmp_path)

    assert (tmp_path / "journal.db").read_bytes() == before
    restore(tmp_path / "journal.db", tmp_path / "new")
    journal = SqliteJournal.open(tmp_path / "new")
    assert journal.head == 2
    await journal.close()


async def test_a_tail_that_was_cut_off_a_lost_file_and_another_journal_are_found(tmp_path: Path) -> None:
    await write(tmp_path)
    await write(tmp_path / "other")
    shutil.copytree(tmp_path, tmp_path / "cut", ignore=shutil.ignore_patterns("cut", "other"))
    edit(tmp_path / "cut", "DELETE FROM events WHERE position = 2")
    assert "it ends at position 1, and 2 had been reached" in refused(tmp_path / "cut")

    (tmp_path / "cut" / "journal.db").unlink()
    assert "journal.db is missing" in refused(tmp_path / "cut")
    assert not (tmp_path / "cut" / "journal.db").exists()

    (tmp_path / "cut" / "journal.db").touch()
    assert "journal.db is empty" in refused(tmp_path / "cut")

    shutil.copy(tmp_path / "other" / "journal.db", tmp_path / "cut" / "journal.db")
    assert "another journal" in refused(tmp_path / "cut")


async def test_another_event_where_the_anchor_stands_is_found(tmp_path: Path) -> None:
    await write(tmp_path)
    edit(tmp_path, "UPDATE events SET hash = CAST(x'00' || substr(hash, 2) AS BLOB) WHERE position = 2")

    assert "its event at position 2 is not the one that was there" in refused(tmp_path)


async def test_an_anchor_that_lags_is_no_fault(tmp_path: Path) -> None:
    await write(tmp_path)
    shutil.copy(tmp_path / anchor.FILE, tmp_path / "lagging")
    await write(tmp_path, after=2)
    shutil.copy(tmp_path / "lagging", tmp_path / anchor.FILE)

    journal = SqliteJournal.open(tmp_path)

    assert journal.head == 4
    found = anchor.read(tmp_path)
    assert found is not None
    assert found.position == 4
    await journal.close()


@pytest.mark.parametrize("left", [None, b"", b"runwright-head-v1 abc", b"\xff" * 80])
async def test_a_missing_or_torn_anchor_is_made_anew_and_said(tmp_path: Path, left: bytes | None) -> None:
    await write(tmp_path)
    (tmp_path / anchor.FILE).unlink()
    if left is not None:
        (tmp_path / anchor.FILE).write_bytes(left)
    log = ListLog()

    journal = SqliteJournal.open(tmp_path, log=log)
    await journal.close()

    assert [line.event.split()[0] for line in log.lines] == ["journal.head"]
    found = anchor.read(tmp_path)
    assert found is not None
    assert found.position == 2


async def test_a_flipped_character_makes_the_anchor_a_torn_one(tmp_path: Path) -> None:
    await write(tmp_path)
    whole = (tmp_path / anchor.FILE).read_text()
    for place in range(0, len(whole) - 1, 7):
        changed = whole[:place] + ("0" if whole[place] != "0" else "1") + whole[place + 1 :]
        (tmp_path / anchor.FILE).write_text(changed)
        with pytest.raises(anchor.TornAnchor):
            anchor.read(tmp_path)


async def test_a_backup_is_restored_with_an_anchor_of_its_own(tmp_path: Path) -> None:
    await write(tmp_path / "data")
    back_up(tmp_path / "data", tmp_path / "copy")
    (tmp_path / "lost").mkdir()
    shutil.copy(tmp_path / "data" / anchor.FILE, tmp_path / "lost" / anchor.FILE)  # of a journal that is no more

    restore(tmp_path / "copy", tmp_path / "lost")

    journal = SqliteJournal.open(tmp_path / "lost")
    found = anchor.read(tmp_path / "lost")
    assert found is not None
    assert (found.incarnation, found.position) == (journal.incarnation, 2)
    await journal.close()


async def test_a_disk_that_does_not_take_the_anchor_fails_no_append(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(directory: Path, message: anchor.Anchor) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    log = ListLog()
    journal = SqliteJournal.open(tmp_path, log=log)
    with monkeypatch.context() as full:
        full.setattr(anchor, "write", no_room)
        full.setattr(anchor_keeper, "_overwrite", lambda *_: False)
        await put(journal, RUN, turn(), after=0)
        await journal.close()

    found = anchor.read(tmp_path)
    assert found is not None
    assert found.position == 0
    assert [line.event for line in log.lines] == ["journal.head cannot be written; it lags until it can"]
    await write(tmp_path, after=1)


async def test_what_the_anchor_stands_at_is_not_removed(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    keeper = journal._keeper  # the only way to hold it at one place
    keeper.note(0, bytes(32))
    assert keeper.held == {0}
    await put(journal, RUN, turn(), after=0)
    assert keeper.held <= {0, 1}
    assert keeper.catch_up() is False
    assert keeper.held == {1}
    await journal.close()


async def test_nothing_is_removed_while_the_anchor_cannot_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a loss of power it may stand at any event that was noted since: each must still be there."""
    journal = SqliteJournal.open(tmp_path)
    await begin(journal, RUN)
    await finish(journal, RUN)
    await put(journal, key("run-2"), turn(), after=0)

    def fails(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(anchor_keeper.os, "fsync", fails)
        held = await journal.remove_ended(before=LATER, now=LATER, limit=9)
    gone = await journal.remove_ended(before=LATER, now=LATER, limit=9)

    assert (held.events, held.more) == (0, False)
    assert gone.events == 2
    await journal.close()


@pytest.fixture
async def killed(tmp_path: Path) -> Path:
    """A directory as a server leaves it that is killed behind its third acknowledged append."""
    journal = SqliteJournal.open(tmp_path / "data")
    for after in range(3):
        await put(journal, RUN, turn(), after=after)
    shutil.copytree(tmp_path / "data", tmp_path / "killed", ignore=shutil.ignore_patterns("*-shm"))
    await journal.close()
    return tmp_path / "killed"


async def test_an_append_is_in_the_anchor_before_it_is_acknowledged(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    for after in range(20):
        await put(journal, RUN, turn(), after=after)
        found = anchor.read(tmp_path)
        assert found is not None
        assert found.position == after + 1
    await journal.close()


async def test_a_killed_server_s_journal_opens_and_says_what_cannot_be_excluded(killed: Path) -> None:
    log = ListLog()
    journal = SqliteJournal.open(killed, log=log)

    assert journal.head == 3
    assert [line.event for line in log.lines] == ["the journal was not closed by its last server"]
    assert "loss of power" in str(log.lines[0].fields["cannot_be_excluded"])
    await journal.close()


@pytest.mark.parametrize("lost", [1, 24 + 4096, 10**9])
async def test_the_last_frame_of_the_wal_cannot_be_lost_unseen_once_it_was_acknowledged(
    killed: Path, lost: int
) -> None:
    wal = killed / "journal.db-wal"
    with wal.open("r+b") as file:
        file.truncate(max(0, wal.stat().st_size - lost))

    assert "and 3 had been reached" in refused(killed)


async def test_a_flipped_bit_in_the_wal_loses_no_event_unseen(killed: Path, tmp_path: Path) -> None:
    whole = (killed / "journal.db-wal").read_bytes()
    outcomes = set[bool]()
    for place in range(0, len(whole), 997):
        again = tmp_path / f"flip-{place}"
        shutil.copytree(killed, again)
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        (again / "journal.db-wal").write_bytes(changed)
        try:
            journal = SqliteJournal.open(again)
        except AgentError as error:
            assert error.reason is ErrorReason.JOURNAL_CORRUPT
            outcomes.add(False)
        else:
            assert journal.head == 3
            outcomes.add(True)
            await journal.close()
    assert False in outcomes


@pytest.mark.parametrize("cut", [True, False])
async def test_wal_and_anchor_that_are_lost_together_are_missed(killed: Path, cut: bool) -> None:
    (killed / anchor.FILE).unlink()
    (killed / "journal.db-wal").write_bytes(b"") if cut else (killed / "journal.db-wal").unlink()

    assert "neither its -wal file nor a whole journal.head is there" in refused(killed)
    assert "neither its -wal file nor a whole journal.head is there" in refused(killed)

    restore(killed / "journal.db", killed / "new")
    journal = SqliteJournal.open(killed / "new")
    await journal.close()


async def test_without_an_anchor_a_journal_that_was_not_closed_opens_with_a_warning(killed: Path) -> None:
    (killed / anchor.FILE).unlink()
    log = ListLog()

    journal = SqliteJournal.open(killed, log=log)
    await journal.close()

    assert [line.event for line in log.lines][-1] == "the journal was not closed by its last server"
    assert "acknowledged events" in str(log.lines[-1].fields["cannot_be_excluded"])


async def test_a_journal_that_somebody_looked_into_after_a_crash_still_opens(killed: Path) -> None:
    edit(killed, "UPDATE meta SET value = value WHERE 0")  # on closing SQLite copies -wal and removes it
    assert not (killed / "journal.db-wal").exists()

    journal = SqliteJournal.open(killed)

    assert journal.head == 3
    await journal.close()


async def test_a_start_that_fails_late_leaves_a_journal_that_was_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(tmp_path)
    with monkeypatch.context() as fails:
        fails.setattr(anchor, "write", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error")))
        with pytest.raises(OSError, match="Input/output"):
            SqliteJournal.open(tmp_path)
    (tmp_path / anchor.FILE).unlink()

    await write(tmp_path, after=2)


async def test_an_anchor_that_somebody_removed_is_made_again_beside_the_server(tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    await put(journal, RUN, turn(), after=0)
    (tmp_path / anchor.FILE).unlink()
    await put(journal, RUN, turn(), after=1)

    assert journal._keeper.catch_up() is False

    found = anchor.read(tmp_path)
    assert found is not None
    assert found.position == 2
    await put(journal, RUN, turn(), after=2)
    found = anchor.read(tmp_path)
    assert found is not None
    assert found.position == 3
    await journal.close()
