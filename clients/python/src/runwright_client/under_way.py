"""Which calls are being performed in this process, those among them that nobody waits for any more."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, Future
from threading import Lock
from typing import Any


class UnderWay:
    """Calls by their idempotency keys. A function in a thread cannot be stopped: its call is here until it is over."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._calls: Counter[str] = Counter()

    def __contains__(self, key: object) -> bool:
        with self._lock:
            return key in self._calls

    def add(self, key: str, work: asyncio.Task[Any]) -> None:
        """A call that is here until its task is done, however that ends."""
        self._add(key, 1)
        work.add_done_callback(lambda _: self._add(key, -1))

    def threads(self, key: str, threads: Executor | None) -> Executor | None:
        """The threads for the call: it is here, too, while one of them runs for it."""
        return None if threads is None else _Noted(threads, lambda change: self._add(key, change))

    def _add(self, key: str, change: int) -> None:
        with self._lock:
            self._calls[key] += change
            if not self._calls[key]:
                del self._calls[key]


class _Noted(Executor):
    """Threads of which is noted how many run."""

    def __init__(self, threads: Executor, note: Callable[[int], None]) -> None:
        self._threads = threads
        self._note = note

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See Executor."""
        self._note(1)
        try:
            running = self._threads.submit(fn, *args, **kwargs)
        except BaseException:
            self._note(-1)
            raise
        running.add_done_callback(lambda _: self._note(-1))
        return running
