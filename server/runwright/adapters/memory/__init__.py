"""A journal that lives as long as its process."""

from runwright.adapters.memory.journal import MemoryJournal

__all__ = ["MemoryJournal"]
