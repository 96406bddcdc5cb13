"""Work on a thread of its own: Ctrl-C finds the main one waiting, and not in the middle of a call of gRPC's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
WAKE_SECONDS = 0.2  # a signal that another thread has got is seen when this one wakes


class Beside(Generic[T]):
    """Begins at once. The thread is a daemon: who leaves does not wait for it."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._ended = threading.Event()
        self._made: list[T] = []
        self._failed: BaseException | None = None
        threading.Thread(target=self._run, name="runwright-turn", daemon=True).start()

    def result(self) -> T:
        """What came of it, or raises what it failed with. Raises KeyboardInterrupt on Ctrl-C; it may be asked again."""
        while not self._ended.wait(WAKE_SECONDS):
            pass
        if self._failed is not None:
            raise self._failed
        return self._made[0]

    def _run(self) -> None:
        try:
            self._made.append(self._work())
        except BaseException as error:  # noqa: BLE001 - the waiting thread raises it
            self._failed = error
        self._ended.set()
