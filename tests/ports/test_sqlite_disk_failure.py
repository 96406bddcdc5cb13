"""Disks that fail: a file system of SQLite's that does so when told."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from runwright.adapters.sqlite import SqliteJournal
from runwright.core.errors import AgentError, ErrorReason

from tests.ports.journal_builders import check_chain, key, put, turn

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


async def test_a_whole_journal_is_opened_on_a_full_disk_and_read(disk: Disk, tmp_path: Path) -> None:
    first = SqliteJournal.open(tmp_path)
    await put(first, RUN, turn(), after=0)
    await first.close()
    disk.fault = apsw.SQLITE_FULL

    journal = SqliteJournal.open(tmp_path)
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
