"""Disks that fail: a file system of SQLite's that does so when told."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
from runwright.adapters.sqlite import SqliteJournal
from runwright.adapters.sqlite.opening import schema
from runwright.core.audit import AuditEntry, AuditKind
from runwright.core.callbacks import Callback
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import DEFAULT_NAMESPACE
from runwright.testing import ManualClock

from tests.ports.journal_builders import check_chain, key, put, put_ended, turn
from tests.ports.test_sqlite_upgrade import place

RUN = key("run-1")


class Disk(apsw.VFS):
    """The real file system, but for one fault."""

    def __init__(self) -> None:
        self.fault: int | None = None
        super().__init__("failing-disk", "unix", makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        return DiskFile(self, name, flags)


class DiskFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._disk = disk

    def xSync(self, flags: int) -> None:
        if self._disk.fault == apsw.SQLITE_IOERR_FSYNC:
            raise apsw.exception_for(self._disk.fault)
        super().xSync(flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        if self._disk.fault in (apsw.SQLITE_FULL, apsw.SQLITE_IOERR_WRITE):
            raise apsw.exception_for(self._disk.fault)
        super().xWrite(data, offset)


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    yield disk
    disk.unregister()


@pytest.mark.parametrize("fault", [apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_WRITE])
async def test_after_a_failed_write_nothing_is_written_until_the_journal_is_reopened(
    disk: Disk, tmp_path: Path, fault: int
) -> None:
    journal = SqliteJournal.open(tmp_path)
    stored = await put(journal, RUN, turn(), after=0)
    disk.fault = fault
    with pytest.raises(AgentError) as failed:
        await put(journal, RUN, turn(), after=1)
    disk.fault = None

    with pytest.raises(AgentError) as refused:
        await put(journal, RUN, turn(), after=1)

    assert failed.value.reason is refused.value.reason is ErrorReason.JOURNAL_CORRUPT
    assert isinstance(failed.value.__cause__, apsw.IOError)
    assert await journal.read(RUN, after=0, limit=10) == stored
    await journal.close()
    reopened = SqliteJournal.open(tmp_path)
    events = await reopened.read(RUN, after=0, limit=10)
    check_chain(RUN, events)
    assert (await put(reopened, RUN, turn(), after=len(events)))[0].position == reopened.head
    await reopened.close()


async def test_a_disk_that_fills_up_in_mid_commit_is_full_until_there_is_room(disk: Disk, tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    await put(journal, RUN, turn(), after=0)
    disk.fault = apsw.SQLITE_FULL
    with pytest.raises(AgentError) as refused:
        await put(journal, RUN, turn(), after=1)

    disk.fault = None

    assert refused.value.reason is ErrorReason.JOURNAL_FULL
    assert (await put(journal, RUN, turn(), after=1))[0].position == 2
    check_chain(RUN, await journal.read(RUN, after=0, limit=10))
    await journal.close()


async def test_a_whole_journal_is_not_called_damaged_by_a_full_disk(disk: Disk, tmp_path: Path) -> None:
    """That it is in use, and a new epoch, must be on disk before anything else is."""
    first = SqliteJournal.open(tmp_path)
    await put(first, RUN, turn(), after=0)
    await first.close()
    disk.fault = apsw.SQLITE_FULL

    with pytest.raises(AgentError) as refused:
        SqliteJournal.open(tmp_path)
    disk.fault = None
    journal = SqliteJournal.open(tmp_path)
    read = await journal.read(RUN, after=0, limit=9)
    await journal.close()

    assert refused.value.reason is ErrorReason.JOURNAL_FULL
    assert int(refused.value.metadata["disk_free"]) > 0
    assert "bytes free" in str(refused.value)
    assert len(read) == 1


async def test_a_disk_that_is_full_after_that_refuses_every_write_and_is_read(disk: Disk, tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    await put(journal, RUN, turn(), after=0)
    disk.fault = apsw.SQLITE_FULL
    with pytest.raises(AgentError) as refused:
        await put(journal, RUN, turn(), after=1)
    with pytest.raises(AgentError) as counting:
        await journal.recovery().begin(0)
    with pytest.raises(AgentError) as probed:
        await journal.probe()
    read = await journal.read(RUN, after=0, limit=9)
    disk.fault = None
    await journal.probe()
    await put(journal, RUN, turn(), after=1)
    await journal.close()

    assert {error.value.reason for error in (refused, counting, probed)} == {ErrorReason.JOURNAL_FULL}
    assert int(refused.value.metadata["disk_free"]) > 0
    assert "bytes free" in refused.value.message
    assert len(read) == 1


@pytest.mark.parametrize("place", ["LOCK", ".journal.head.new"])
async def test_a_disk_too_full_for_what_stands_beside_the_journal_does_not_keep_it_shut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    first = SqliteJournal.open(tmp_path)
    await put(first, RUN, turn(), after=0)
    await first.close()

    real = os.write if place == "LOCK" else os.open

    def full(what: object, *rest: object, **options: object) -> object:
        if place == "LOCK" or str(what).endswith(place):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(what, *rest, **options)  # type: ignore[operator]

    with monkeypatch.context() as patched:
        patched.setattr(os, "write" if place == "LOCK" else "open", full)
        second = SqliteJournal.open(tmp_path)
    await put(second, RUN, turn(), after=1)
    await second.close()

    third = SqliteJournal.open(tmp_path)
    assert third.head == 2
    await third.close()


def test_a_disk_without_room_for_the_directory_says_so_and_what_the_system_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> object:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(AgentError) as caught:
        SqliteJournal.open(tmp_path)

    assert caught.value.reason is ErrorReason.JOURNAL_FULL
    assert caught.value.metadata["errno"] == "EDQUOT"
    assert "disk_free" in caught.value.metadata


BAD_RUNS = """
    CREATE TEMP TRIGGER IF NOT EXISTS bad BEFORE INSERT ON main.runs WHEN NEW.run_id = 'bad'
    BEGIN SELECT RAISE(ABORT, 'a defect'); END"""
Commit = Callable[[SqliteJournal], Awaitable[Any]]


def registration(address: str = "127.0.0.1:1") -> Callback:
    """A small one."""
    return Callback(namespace=DEFAULT_NAMESPACE, callback_id="one", owner="o", name="desk", address=address)


async def an_append(journal: SqliteJournal) -> None:
    await put(journal, key("run-3"), turn(), after=0)


async def a_group_with_a_defect(journal: SqliteJournal) -> None:
    """Two appends together, of which the first fails: each is written in a savepoint of its own."""
    await journal._writer.perform(lambda db: db.execute(BAD_RUNS))
    both = (put(journal, key("bad"), turn(), after=0), put(journal, key("good"), turn(), after=0))
    for outcome in await asyncio.gather(*both, return_exceptions=True):
        if isinstance(outcome, AgentError) and outcome.reason is ErrorReason.JOURNAL_CORRUPT:
            raise outcome


async def a_registration(journal: SqliteJournal) -> None:
    await journal.callbacks().put(registration("127.0.0.1:2"))


async def the_end_of_a_registration(journal: SqliteJournal) -> None:
    await journal.callbacks().remove(DEFAULT_NAMESPACE, "one")


async def a_removal(journal: SqliteJournal) -> None:
    assert (await journal.remove_ended(before=2**60, now=2**60, limit=9)).events


async def an_audit_entry(journal: SqliteJournal) -> None:
    """Nobody waits for it and nobody is told: what follows shows what it did."""
    audit = journal.audit(ManualClock())
    audit.note(AuditEntry(kind=AuditKind.ROLE_DENIED, namespace="default"))
    audit._flush(True)
    await journal.callbacks().load()
    await journal._writer.perform(lambda _: None)
    if journal._writer.group.is_in_doubt:
        raise AgentError(ErrorReason.JOURNAL_CORRUPT, "The journal is in doubt.")


async def a_removal_on_an_operators_word(journal: SqliteJournal) -> None:
    await journal.remove(key("run-2"), now=2**60)


async def the_count_of_a_start(journal: SqliteJournal) -> None:
    await journal.recovery().begin(1)


async def a_checkpoint_that_shrinks_the_wal(journal: SqliteJournal) -> None:
    await journal._writer.perform(lambda _: journal._wal.reset())


COMMITS = (
    *(an_append, a_group_with_a_defect, a_registration, the_end_of_a_registration),
    *(a_removal, a_removal_on_an_operators_word, the_count_of_a_start),
    *(an_audit_entry, a_checkpoint_that_shrinks_the_wal),
)


@pytest.mark.parametrize("fault", [apsw.SQLITE_IOERR_FSYNC, apsw.SQLITE_IOERR_WRITE])
@pytest.mark.parametrize("commit", COMMITS)
async def test_whatever_fails_to_be_committed_nothing_is_acknowledged_afterwards(
    disk: Disk, tmp_path: Path, commit: Commit, fault: int
) -> None:
    journal = SqliteJournal.open(tmp_path)
    await put_ended(journal, RUN)
    await put(journal, key("run-2"), turn(), after=0)
    await journal.callbacks().put(registration())
    disk.fault = fault
    with pytest.raises(AgentError) as failed:
        await commit(journal)
    disk.fault = None

    refusals = []
    for later in COMMITS:
        with pytest.raises(AgentError) as refused:
            await later(journal)
        refusals.append(refused.value.reason)

    assert failed.value.reason is ErrorReason.JOURNAL_CORRUPT
    assert set(refusals) == {ErrorReason.JOURNAL_CORRUPT}
    await journal.close()
    reopened = SqliteJournal.open(tmp_path)
    assert (await put(reopened, key("afterwards"), turn(), after=0))[0].position == reopened.head
    await reopened.close()


@pytest.mark.parametrize("old", [True, False])
def test_a_start_whose_first_commit_fails_does_not_serve(disk: Disk, tmp_path: Path, old: bool) -> None:
    if old:
        place(tmp_path)
    else:
        schema.open_writer(tmp_path / "journal.db", busy_timeout_ms=0).close()
    disk.fault = apsw.SQLITE_IOERR_FSYNC
    with pytest.raises(AgentError) as failed:
        SqliteJournal.open(tmp_path)
    disk.fault = None

    assert failed.value.reason is ErrorReason.JOURNAL_CORRUPT


async def test_a_close_that_cannot_be_noted_leaves_a_journal_that_opens(disk: Disk, tmp_path: Path) -> None:
    journal = SqliteJournal.open(tmp_path)
    stored = await put(journal, RUN, turn(), after=0)
    disk.fault = apsw.SQLITE_FULL
    await journal.close()
    disk.fault = None

    assert (tmp_path / "journal.db-wal").stat().st_size > 0
    reopened = SqliteJournal.open(tmp_path)
    assert await reopened.read(RUN, after=0, limit=9) == stored
    await reopened.close()
