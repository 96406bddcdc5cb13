"""The signals that a server answers to: SIGTERM and SIGINT end it, SIGHUP has keys and certificates read again."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any


class Signals:
    """As a context on the loop that serves: sets the events; what handled the signals before does so again after it.

    `stop` is set by the first signal that ends a server, `hurry` by the second.
    """

    def __init__(self) -> None:
        self.stop, self.hurry = asyncio.Event(), asyncio.Event()
        self.reload: Callable[[], None] = lambda: None
        self._loop = asyncio.get_running_loop()
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        try:
            for number in _stopping_signals():
                self._handle(number, self._ends)
            self._handle(signal.SIGHUP, self._hangs_up)
        except BaseException:
            self._restore()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _handle(self, number: signal.Signals, handler: Callable[[], None]) -> None:
        before = signal.getsignal(number)
        self._loop.add_signal_handler(number, handler)
        self._before[number] = before

    def _ends(self) -> None:
        (self.hurry if self.stop.is_set() else self.stop).set()

    def _hangs_up(self) -> None:
        self.reload()

    def _restore(self) -> None:
        for number, before in self._before.items():
            with suppress(RuntimeError):  # the loop is closing and has let go of them itself
                self._loop.remove_signal_handler(number)
            if before is not None:  # None: whatever it was, Python did not set it
                signal.signal(number, before)
        self._before.clear()


def _stopping_signals() -> tuple[signal.Signals, ...]:
    """What ends a server: not SIGINT where it is ignored, as it is for what a shell starts in the background.

    Ctrl-C at that terminal is then meant for somebody else.
    """
    is_ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    return (signal.SIGTERM,) if is_ignored else (signal.SIGTERM, signal.SIGINT)
