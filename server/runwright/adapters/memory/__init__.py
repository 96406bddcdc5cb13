"""A journal and registrations that live as long as their process."""

from runwright.adapters.memory.callbacks import MemoryCallbacks
from runwright.adapters.memory.journal import MemoryJournal

__all__ = ["MemoryCallbacks", "MemoryJournal"]
