"""AnchorKeeper: has the head anchor follow the journal, at no cost to commits."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from pathlib import Path

from runwright.adapters.sqlite.failures import NO_SPACE
from runwright.adapters.sqlite.opening import anchor
from runwright.ports.log import OperatorLog


class AnchorKeeper:
    """Writes the anchor after every commit, and has it on disk a second later.

    `note` is called by the thread that commits, `catch_up` mostly by another one.
    """

    def __init__(self, directory: Path, begin: anchor.Anchor, log: OperatorLog | None) -> None:
        """Writes `begin` at once, or, on a disk that is full, once it is not. Raises OSError."""
        self._directory = directory
        self._incarnation = begin.incarnation
        self._latest = self._synced = (begin.position, begin.hash)
        self._log = log
        self._failed = False
        self._lock, self._one_writes = threading.Lock(), threading.Lock()
        self._descriptor: int | None = None
        try:
            self._descriptor = self._replace(begin)
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            self._failed = True
            self._synced = _left(directory)  # what the next start would find
            if log:
                log.error("journal.head cannot be written; it lags until it can", error)

    @property
    def held(self) -> frozenset[int]:
        """Positions the anchor may stand at: their events must stay where they are. True after a `catch_up`."""
        with self._lock:
            return frozenset((self._synced[0], self._latest[0]))

    def note(self, position: int, own_hash: bytes) -> None:
        """Says how far the journal has come; whatever becomes of this process, the file says it from now on.

        After a loss of power it may say what it said when `catch_up` had last been called.
        """
        with self._lock:
            self._latest = (position, own_hash)
            if self._descriptor is not None and not _overwrite(self._descriptor, self._line()):
                os.close(self._descriptor)
                self._descriptor = None  # `catch_up` makes a new file

    def catch_up(self, last: bool = False) -> bool:
        """Has the anchor on disk as it was last noted. True when the disk did not take it: try again."""
        with self._one_writes:
            try:
                self._catch_up()
            except OSError as error:
                if self._log and not self._failed:
                    self._log.error("journal.head cannot be written; it lags until it can", error)
                self._failed = True
                return True
            self._failed = False
            return False

    def close(self) -> None:
        """Has the anchor on disk and lets go of the file."""
        self.catch_up()
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def _catch_up(self) -> None:
        with self._lock:
            latest, descriptor = self._latest, self._descriptor
        if descriptor is not None and self._is_in_place(descriptor):
            if latest != self._synced:
                os.fsync(descriptor)
        else:
            made = self._replace(anchor.Anchor(self._incarnation, *latest))
            with self._lock:
                if self._descriptor is not None:
                    os.close(self._descriptor)
                self._descriptor = made
                _overwrite(made, self._line())
        self._synced = latest

    def _is_in_place(self, descriptor: int) -> bool:
        """False when somebody has removed, replaced or cut the file."""
        try:
            found = (self._directory / anchor.FILE).stat()
        except FileNotFoundError:
            return False
        own = os.fstat(descriptor)
        return (found.st_dev, found.st_ino, found.st_size) == (own.st_dev, own.st_ino, anchor.LINE_BYTES)

    def _replace(self, what: anchor.Anchor) -> int:
        anchor.write(self._directory, what)
        return os.open(self._directory / anchor.FILE, os.O_RDWR)

    def _line(self) -> bytes:
        return anchor.line_of(anchor.Anchor(self._incarnation, *self._latest))


def _left(directory: Path) -> tuple[int, bytes]:
    with contextlib.suppress(anchor.TornAnchor, OSError):
        left = anchor.read(directory)
        if left is not None:
            return left.position, left.hash
    return 0, b""


def _overwrite(descriptor: int, line: bytes) -> bool:
    """Puts a line in place of the one that is there. False when the system did not take it.

    `os.pwrite` would hand the interpreter to other threads meanwhile and, beside a busy event loop, wait a quarter of a
    millisecond at the mean to get it back, at every commit. This takes some microseconds: nothing waits for the disk.
    """
    return int(_pwrite(descriptor, line, len(line), 0)) == len(line)


_pwrite = ctypes.PyDLL(None).pwrite
_pwrite.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int64)
_pwrite.restype = ctypes.c_ssize_t
