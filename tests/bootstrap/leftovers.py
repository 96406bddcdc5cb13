"""What a server could leave open, as the operating system and the interpreter see it."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runwright.adapters.sqlite.opening.lock import DirectoryLock

_GRPC = "_poll_wrapper"  # one thread of gRPC's for all servers and channels of a process, for ever
MOST_SECONDS = 10.0  # for what must happen
HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def free_port() -> int:
    """A port of 127.0.0.1 at which nobody listens."""
    with socket.socket() as trying:
        trying.bind(("127.0.0.1", 0))
        port: int = trying.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """True when nobody listens there."""
    with socket.socket() as trying:
        trying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trying.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def is_unlocked(data: Path) -> bool:
    """True when another server could use the directory."""
    if not data.exists():
        return True
    DirectoryLock.take(data).release()  # raises JOURNAL_BUSY
    return True


def children() -> Iterator[str]:
    """The processes that this one has started and that have not ended."""
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that ended meanwhile
            yield from (task / "children").read_text().split()


@dataclass(frozen=True)
class Open:
    """Signal handlers, threads and processes; equal before and after a server."""

    handlers: tuple[object, ...]
    threads: frozenset[threading.Thread]
    processes: frozenset[str]

    @classmethod
    def now(cls) -> Open:
        """What is there at this moment."""
        handlers = tuple(signal.getsignal(number) for number in HANDLED)
        threads = frozenset(thread for thread in threading.enumerate() if _GRPC not in thread.name)
        return cls(handlers, threads, frozenset(children()))


class Executor:
    """Something that listens where an executor should be, and never says a word."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setblocking(False)
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"

    def close(self) -> int:
        """Waits until every connection has been closed from the other side. Returns how many there were."""
        count = 0
        with self._listening, suppress(BlockingIOError):
            while True:
                connection, _ = self._listening.accept()
                with connection, suppress(ConnectionResetError):
                    connection.settimeout(MOST_SECONDS)
                    while connection.recv(65_536):
                        pass
                count += 1
        return count
