"""Little space is said once, with figures, and once that there is enough again; nothing else changes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from runwright.adapters.sqlite.journal import SqliteJournal
from runwright.core.content import Content
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.space import LeastSpace, Space
from runwright.ports.storage import Storage
from runwright.runtime.housekeeping.space_watch import PERIOD_US, SpaceWatch
from runwright.testing import ManualClock

from tests.builders import ListLog
from tests.ports.journal_builders import key, put, turn
from tests.runtime.watching import eventually

GIB = 1024**3
PLENTY = Space(used=GIB, reusable=0, wal=0, max_bytes=None, disk_free=50 * GIB, disk_total=100 * GIB)


@dataclass
class Disk:
    """A store with figures of the test's own."""

    figures: Space | Exception = PLENTY

    async def space(self) -> Space:
        """See the port."""
        if isinstance(self.figures, Exception):
            raise self.figures
        return self.figures


def figures(**changed: int) -> Space:
    """What is plenty, but for this."""
    value = {"used": GIB, "reusable": 0, "wal": 0, "max_bytes": None, "disk_free": 50 * GIB, "disk_total": 100 * GIB}
    return Space(**{**value, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (
            figures(disk_free=GIB - 1, disk_total=2 * GIB),
            "the disk of the data directory has 1024.0 of 2048.0 MiB free",
        ),
        (figures(disk_free=9 * GIB), "the disk of the data directory has 9216.0 of 102400.0 MiB free"),
        (figures(max_bytes=GIB + GIB // 20), "the journal has 51.2 of 1075.2 MiB left of journal_max_bytes"),
        (figures(max_bytes=GIB // 2), "the journal has 0.0 of 512.0 MiB left of journal_max_bytes"),
        (figures(max_bytes=2 * GIB), ""),
        (PLENTY, ""),
    ],
)
def test_what_is_little_is_told_with_figures(space: Space, said: str) -> None:
    assert "; ".join(LeastSpace().shortages(space)) == said


async def test_it_is_said_once_until_it_has_been_well_again() -> None:
    disk, log = Disk(), ListLog()
    watch = SpaceWatch(disk, LeastSpace(), ManualClock(), log)

    for free in (50, 5, 4, 3, 50, 50, 1):
        disk.figures = figures(disk_free=free * GIB)
        await watch.look()

    assert [line.event for line in log.lines] == [
        "space is running out",
        "there is space again",
        "space is running out",
    ]
    message = log.lines[0].fields
    assert message["disk_free_bytes"] == 5 * GIB
    assert "retention_days" in str(message["remedy"])


async def test_a_store_that_does_not_answer_ends_no_watch() -> None:
    disk, log, clock = Disk(AgentError(ErrorReason.JOURNAL_BUSY, "Held.")), ListLog(), ManualClock()
    task = asyncio.create_task(SpaceWatch(disk, LeastSpace(), clock, log).run())
    await eventually(lambda: bool(clock.waiting))
    disk.figures = figures(disk_free=1)

    clock.advance(PERIOD_US)

    await eventually(lambda: len(log.lines) == 2)
    task.cancel()
    assert [line.event for line in log.lines] == ["free space cannot be measured", "space is running out"]


async def test_a_journal_on_disk_knows_its_room(sqlite: SqliteJournal) -> None:
    assert isinstance(sqlite, Storage)
    empty = await sqlite.space()

    await put(sqlite, key(), turn(), after=0, contents=[Content.text("x" * 500_000)])
    await sqlite.set_max_bytes(10_000_000)

    full = await sqlite.space()
    assert full.used - empty.used >= 490_000
    assert (empty.max_bytes, full.max_bytes) == (None, 10_000_000)
    assert full.disk_total >= full.disk_free > 0
