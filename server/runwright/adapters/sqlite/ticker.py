"""Ticker: the thread for what has a second's time, so that no commit waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable

INTERVAL_SECONDS = 1.0
Chore = Callable[[bool], bool]


class Ticker:
    """Does its chores within a second of being woken, and at the close; sleeps while there is nothing to do.

    A chore is told whether it is done for the last time, returns True when it
    wants to be done again a second later, and raises nothing.
    """

    def __init__(self, *chores: Chore, interval_seconds: float = INTERVAL_SECONDS) -> None:
        self._chores = list(chores)
        self._interval = interval_seconds
        self._woken, self._closing = threading.Event(), threading.Event()
        # A daemon: a journal that nobody closed must not keep its process from ending.
        self._thread = threading.Thread(target=self._serve, name="runwright-journal-ticker", daemon=True)
        self._thread.start()

    def add(self, chore: Chore) -> None:
        """One more chore."""
        self._chores.append(chore)

    def wake(self) -> None:
        """Says that there is something to do. Of any thread, and cheap."""
        self._woken.set()

    def close(self) -> None:
        """Does the chores a last time and ends the thread."""
        self._closing.set()
        self._woken.set()
        self._thread.join()

    def _serve(self) -> None:
        while not self._closing.is_set():
            self._woken.wait()
            self._closing.wait(self._interval)
            self._woken.clear()
            if self._do_all(last=False):
                self._woken.set()
        self._do_all(last=True)

    def _do_all(self, *, last: bool) -> bool:
        wishes = [chore(last) for chore in tuple(self._chores)]  # each is done, whatever the others want
        return any(wishes)
