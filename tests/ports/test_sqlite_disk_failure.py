"""Disks that fail: a file system of SQLite's that does so when told."""

from __future__ import annotations

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
