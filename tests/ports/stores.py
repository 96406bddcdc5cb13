"""Every store of runs: what the contract of the journal is held to. A new one gets its line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from runwright.adapters.memory import MemoryJournal
from runwright.adapters.sqlite import SqliteJournal

AnyJournal: TypeAlias = MemoryJournal | SqliteJournal

# How one is opened on an empty directory.
STORES: Mapping[str, Callable[[Path], AnyJournal]] = {
    "memory": lambda _: MemoryJournal(),
    "sqlite": SqliteJournal.open,
}
