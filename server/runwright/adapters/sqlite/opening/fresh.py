"""A data directory that a start or a restore has made and did not come to use."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType

import apsw

from runwright.adapters.sqlite.opening import anchor
from runwright.adapters.sqlite.opening.lock import LOCK, DirectoryLock, holder
from runwright.core.errors import AgentError

# What an open journal consists of; the lock goes last.
_FILES = (f"{anchor.JOURNAL}-wal", f"{anchor.JOURNAL}-shm", anchor.FILE, anchor.JOURNAL)


class UnservedDirectory:
    """As a context around a start: unless the server came to serve, what it made of the data directory goes again.

    What was there before stays, and so does a journal with an event, whoever wrote it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._made: list[Path] = []
        self._is_served = False

    def __enter__(self) -> UnservedDirectory:
        place = self._directory.absolute()
        while not place.exists() and place != place.parent:
            self._made.append(place)
            place = place.parent
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._made and not self._is_served and error is not None:
            with suppress(OSError, AgentError, apsw.Error):
                self._remove()

    def retained_by(self, ready: Callable[[str], None]) -> Callable[[str], None]:
        """The same callback; once it is called, the directory stays."""

        def message(address: str) -> None:
            self._is_served = True
            ready(address)

        return message

    def _remove(self) -> None:
        if self._directory.exists():
            lock = self._locked()
            try:
                if _has_events(self._directory / anchor.JOURNAL):
                    return
                for name in (*_FILES, LOCK):  # the lock is the last: nobody makes a journal beside files that go
                    (self._directory / name).unlink(missing_ok=True)
            finally:
                if lock is not None:
                    lock.release()
        for place in self._made:
            if place.exists():
                place.rmdir()  # of what somebody else has put there it is no longer ours

    def _locked(self) -> DirectoryLock | None:
        """The lock; None when this process has it already, because its journal was not closed."""
        try:
            return DirectoryLock.take(self._directory)
        except AgentError:
            if holder(self._directory) == str(os.getpid()):
                return None
            raise


def _has_events(path: Path) -> bool:
    if not path.exists():
        return False
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as db:
        return next(iter(db.execute("SELECT 1 FROM events LIMIT 1")), None) is not None
