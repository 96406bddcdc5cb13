"""A journal, registrations and packages that live as long as their process."""

from runwright.adapters.memory.callbacks import MemoryCallbacks
from runwright.adapters.memory.journal import MemoryJournal
from runwright.adapters.memory.packages import MemoryPackages

__all__ = ["MemoryCallbacks", "MemoryJournal", "MemoryPackages"]
