"""An event loop by a clock that is turned by hand, which says when nobody has anything to do but wait."""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Callable
from typing import Any

_Answer = tuple[Callable[..., object], tuple[Any, ...], Any]  # what a thread wants called, with what, in which context
MOST_TURNS = 20_000  # of the loop, until nobody has anything to do


class _IdleSelector(selectors.DefaultSelector):
    """The loop asks it for news without a time limit, or with one, only when nothing else is left to be run."""

    def __init__(self) -> None:
        super().__init__()
        self.is_busy: Callable[[], bool] = lambda: False
        self.take_answers: Callable[[float | None], None] = lambda _: None
        self.waiting: asyncio.Future[None] | None = None
        self.turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What has happened to files; whoever waits for idleness is woken in place of a wait."""
        found = super().select(0)
        if timeout == 0:
            self.turns += 1
            if self.turns > MOST_TURNS and self.waiting is not None and not self.waiting.done():
                self.waiting.set_exception(AssertionError("somebody has something to do without end"))
            return found
        if self.waiting is None or self.is_busy():
            self.take_answers(timeout)
            return found
        waiting, self.waiting = self.waiting, None
        if not waiting.done():
            waiting.set_result(None)
        return found


class IdleLoop(asyncio.SelectorEventLoop):
    """Time stands still here too: `asyncio.timeout` and the like are over when `pass_time` says so.

    What other threads answer is taken only when nothing else is left to be run, and then in the order in which they
    were asked: how fast a thread was must not decide what happens first. `is_busy` tells of more work on threads that
    is waited for.
    """

    def __init__(self) -> None:
        self._idle = _IdleSelector()
        self._seconds = 1000.0
        self._asked: list[asyncio.Future[Any]] = []
        self._answers: list[_Answer] = []
        self._answered = threading.Condition()
        self._is_busy: Callable[[], bool] = lambda: False
        super().__init__(self._idle)
        self._own = threading.get_ident()
        self._idle.is_busy = lambda: bool(self._asked) or self._is_busy()
        self._idle.take_answers = self._take_answers

    def time(self) -> float:
        """Seconds, as they were passed."""
        return self._seconds

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:
        """What goes on on another thread is waited for, too."""
        future = super().run_in_executor(executor, func, *args)
        self._asked.append(future)
        future.add_done_callback(self._asked.remove)
        return future

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        """What another thread wants done waits for its turn."""
        if threading.get_ident() == self._own or self.is_closed():
            return super().call_soon_threadsafe(callback, *args, context=context)
        with self._answered:
            self._answers.append((callback, args, context))
            self._answered.notify()
        return asyncio.Handle(callback, args, self, context)

    def _take_answers(self, timeout: float | None) -> None:
        """Waits for every thread that was asked; for one that nobody has asked, for the next it has to say."""
        with self._answered:
            self._answered.wait_for(self._are_complete, timeout)
            answers = sorted(self._answers, key=self._place)
            self._answers = []
        for callback, args, context in answers:
            self.call_soon(callback, *args, context=context)

    def _are_complete(self) -> bool:
        places = {self._place(answer) for answer in self._answers}
        return bool(places) and places.issuperset(range(len(self._asked)))

    def _place(self, answer: _Answer) -> int:
        """The number of the question among those that are open; behind all of them for whatever answers none."""
        _, args, _ = answer
        return next((number for number, asked in enumerate(self._asked) if args and args[0] is asked), len(self._asked))

    def pass_time(self, seconds: float) -> None:
        """Goes on by so many seconds."""
        self._seconds += seconds

    def watch(self, is_busy: Callable[[], bool]) -> None:
        """Somebody else than this loop may be at work."""
        self._is_busy = is_busy

    async def idle(self) -> None:
        """Returns once nobody has anything to do but wait."""
        self._idle.turns, self._idle.waiting = 0, self.create_future()
        await self._idle.waiting
