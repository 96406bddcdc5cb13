"""DirectoryLock: one server at a time in a data directory."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

from runwright.adapters.sqlite.failures import NO_SPACE, busy

LOCK = "LOCK"


class DirectoryLock:
    """An flock on `LOCK`, which tells who holds it.

    The kernel gives it up when the process ends, however it ends. The file
    stays as long as the directory does; see `fresh.py` for when both go.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, directory: Path) -> DirectoryLock:
        """Takes the lock at once, or raises JOURNAL_BUSY naming the holder."""
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            pid, _, host = os.read(descriptor, 512).decode(errors="replace").strip().partition(" ")
            os.close(descriptor)
            if not isinstance(error, BlockingIOError):
                raise
            # Between taking the lock and writing to it a holder is nameless.
            holder = f"process {pid} on {host}" if pid else "another process"
            remedy = "Stop that server, or give this one a directory of its own with --data."
            raise busy(f"The data directory {directory} is in use by {holder}.", remedy) from None
        if not _is_there(directory / LOCK, descriptor):  # its holder removed it between our opening and our locking
            os.close(descriptor)
            return cls.take(directory)
        os.ftruncate(descriptor, 0)
        try:
            os.write(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode())
        except OSError as error:
            if error.errno not in NO_SPACE:  # on a full disk the holder stays nameless
                os.close(descriptor)
                raise
        return cls(descriptor)

    def release(self) -> None:
        """Lets the next one in. Releasing twice is harmless."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def holder(directory: Path) -> str:
    """The number of the process that says it holds the lock; empty when none does."""
    return (directory / LOCK).read_text(errors="replace").partition(" ")[0].strip()


def _is_there(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
