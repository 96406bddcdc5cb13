"""Every journal a run must behave alike on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from runwright.adapters.memory.journal import MemoryJournal
from runwright.adapters.sqlite.journal import SqliteJournal

from tests.builders import Bench


@pytest.fixture(params=["memory", "sqlite"])
async def any_journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MemoryJournal | SqliteJournal]:
    """A journal in memory, then one on disk."""
    journal = MemoryJournal() if request.param == "memory" else SqliteJournal.open(tmp_path)
    yield journal
    await journal.close()


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    """A journal on disk."""
    journal = SqliteJournal.open(tmp_path)
    yield journal
    await journal.close()


@pytest.fixture
def bench() -> Bench:
    """The parts of a runtime, with a journal in memory and a clock that is turned by hand."""
    return Bench()
