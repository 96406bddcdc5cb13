"""The `-wal` file: what it may grow to, when it becomes small again, and the room it shares with `journal.db`."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

import apsw

from runwright.adapters.sqlite.failures import full
from runwright.adapters.sqlite.opening import usage
from runwright.adapters.sqlite.opening.schema import limit_size
from runwright.adapters.sqlite.opening.transactions import Transactions
from runwright.core.errors import AgentError, ErrorReason
from runwright.ports.log import OperatorLog

# Once that much has been written SQLite copies it into journal.db after each commit, and then begins at the front.
CHECKPOINT_PAGES = 1_000
USUAL_BYTES = 4 * 1024 * 1024
# Above so many times its usual size something has kept SQLite from beginning again: readers that never pause, or stay.
_LARGE = 4
LARGE_BYTES = _LARGE * USUAL_BYTES
_FRAME_BYTES = 24  # around each page
_LEAST_RESERVE = 64 * 1024
_BUSY_TIMEOUT_MS = 50  # for readers of this server, which are done in less
_LONGEST_PAUSE = 32  # between two attempts, in calls of `tend`


class Wal:
    """Keeps the `-wal` file of the one writing connection small. All but `tend` and `want_gone` on the writer's thread.

    Nobody can shrink it while a reader, also of another program, holds what is
    in it; it is tried again until that one has gone.
    """

    def __init__(self, transactions: Transactions, path: Path, log: OperatorLog | None) -> None:
        """`path` is that of `journal.db`."""
        self._transactions = transactions
        self._db = transactions.db
        self._path = path.with_name(f"{path.name}-wal")
        self._log = log
        self._page_bytes: int = self._db.pragma("page_size")
        self._max_bytes: int | None = None
        self._size_limit = USUAL_BYTES
        self._lock = threading.Lock()
        self._holds_removed = False
        self._under_way = False
        self._waits = self._pause = 0
        self._said = False

    def size(self) -> int:
        """Bytes of the file; 0 when it cannot be seen. Of any thread."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def bound(self, max_bytes: int | None) -> None:
        """Bounds `journal.db` and `-wal` together; None: only by the disk. Up to a quarter is held back for `-wal`.

        A bound below the present size forbids growth.
        """
        reserve = 0 if max_bytes is None else max(_LEAST_RESERVE, min(max_bytes // 4, 2 * USUAL_BYTES))
        pages = CHECKPOINT_PAGES if max_bytes is None else min(CHECKPOINT_PAGES, reserve // 4 // self._frame)
        self._max_bytes, self._size_limit = max_bytes, pages * self._frame
        self._transactions.require = None if max_bytes is None else self.require
        limit_size(self._db, None if max_bytes is None else max(1, max_bytes - reserve))
        self._db.wal_autocheckpoint(pages)
        self._db.pragma("journal_size_limit", self._size_limit)

    def require(self, needed: int) -> None:
        """Raises JOURNAL_FULL when the two files and `needed` bytes of pages would take more than the bound."""
        if self._fits(needed):
            return
        if self.size() <= _LEAST_RESERVE or not self.reset() or not self._fits(needed):
            raise full()

    def reset(self) -> bool:
        """Copies all of `-wal` into `journal.db` and cuts it down to a page or two. False: a reader is in the way.

        Raises AgentError when the disk fails. What was removed is then in neither file.
        """
        db = self._db
        timeout = db.pragma("busy_timeout")
        try:
            db.set_busy_timeout(_BUSY_TIMEOUT_MS)
            db.pragma("journal_size_limit", 0)
            self._transactions.single(lambda db: db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART))
            # Never empty while the journal is in use: an empty one is a lost one, see usage.py.
            self._transactions.run(usage.touch)
        except AgentError as error:
            if error.reason is ErrorReason.JOURNAL_BUSY:
                return False
            raise
        finally:
            db.set_busy_timeout(timeout)
            db.pragma("journal_size_limit", self._size_limit)
        return True

    def want_gone(self) -> None:
        """Says that `-wal` holds what was removed from the journal. Of any thread."""
        with self._lock:
            self._holds_removed = True
            self._pause = self._waits = 0

    def tend(self, hand_over: Callable[[Callable[[apsw.Connection], None]], None]) -> bool:
        """Has the file made small if it must be, by what is handed over to the writer's thread.

        True: call again a second later. Without success pauses become longer. Of one thread, any.
        """
        with self._lock:
            if not self._holds_removed and self.size() <= _LARGE * self._size_limit:
                self._pause = self._waits = 0
                self._say_done()
                return False
            self._waits -= 1
            if self._under_way or self._waits > 0:
                return True
            self._pause = min(_LONGEST_PAUSE, max(1, 2 * self._pause))
            self._waits, self._under_way = self._pause, True
        hand_over(self._attempt)
        return True

    def _attempt(self, _: apsw.Connection) -> None:
        with self._lock:
            was_removed, self._holds_removed = self._holds_removed, False
        done = False
        with contextlib.suppress(AgentError):  # of a disk that fails, appends tell
            done = self.reset()
        with self._lock:
            self._under_way = False
            self._holds_removed = self._holds_removed or (was_removed and not done)
            if not done and self._pause > 4 and not self._said and self._log:
                self._said = True
                message = "Another program reads journal.db without pause; close it, and the file becomes small again."
                self._log.warning("the -wal file cannot be made small", wal_bytes=self.size(), remedy=message)

    def _say_done(self) -> None:
        if self._said and self._log:
            self._log.info("the -wal file is small again", wal_bytes=self.size())
        self._said = False

    def _fits(self, needed: int) -> bool:
        if self._max_bytes is None:
            return True
        pages = int(self._db.pragma("page_count"))
        return pages * self._page_bytes + self.size() + needed <= self._max_bytes

    @property
    def _frame(self) -> int:
        return self._page_bytes + _FRAME_BYTES
