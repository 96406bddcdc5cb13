"""Every journal a run must behave alike on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from runwright.adapters.sqlite.journal import SqliteJournal

from tests.builders import Bench
from tests.ports.stores import STORES, AnyJournal


@pytest.fixture(params=STORES)
async def any_journal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AnyJournal]:
    """A journal in memory, then one on disk."""
    journal = STORES[request.param](tmp_path)
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
