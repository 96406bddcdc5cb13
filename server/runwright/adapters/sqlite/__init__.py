"""A journal in one SQLite file."""

from runwright.adapters.sqlite.journal import SqliteJournal

__all__ = ["SqliteJournal"]
