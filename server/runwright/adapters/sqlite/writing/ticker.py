"""Ticker: the thread for what has a second's time, so that no commit waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable

INTERVAL_SECONDS = 1.0
PeriodicTask = Callable[[bool], bool]


class Ticker:
    """Does its tasks within a second of being woken, and at the close; sleeps while there is nothing to do.

    A task is told whether it is done for the last time, returns True when it
    wants to be done again a second later, and raises nothing.
    """

    def __init__(self, *tasks: PeriodicTask, interval_seconds: float = INTERVAL_SECONDS) -> None:
        self._tasks = list(tasks)
        self._interval = interval_seconds
        self._woken, self._closing = threading.Event(), threading.Event()
        # A daemon: a journal that nobody closed must not keep its process from ending.
        self._thread = threading.Thread(target=self._serve, name="runwright-journal-ticker", daemon=True)
        self._thread.start()

    def add(self, task: PeriodicTask) -> None:
        """One more task."""
        self._tasks.append(task)

    def wake(self) -> None:
        """Says that there is something to do. Of any thread, and cheap."""
        self._woken.set()

    def close(self) -> None:
        """Does the tasks a last time and ends the thread."""
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
        wishes = [task(last) for task in tuple(self._tasks)]  # each is done, whatever the others want
        return any(wishes)
