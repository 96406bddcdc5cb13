"""A run's frames, read by a thread, for a program that waits for a person at the same time."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from queue import Empty, SimpleQueue
from typing import TypeAlias

from runwright._gen.runwright.v1 import event_pb2, run_pb2
from runwright.cli.errors import Problem
from runwright.cli.tree import RunTree
from runwright.cli.tree_update import update_tree
from runwright.cli.view import View

# A frame; something to say about the connection; the run as it ended; or why there is no more.
Item: TypeAlias = event_pb2.EventFrame | str | run_pb2.RunSnapshot | Problem


class RunFeed:
    """What comes of a run, in order. `fileno` can be read from, in the sense of `select`, when something new is there.

    `follow` is called in a thread of its own with a view that takes frames and notices in; it returns the run as it
    ended, or raises Problem.
    """

    def __init__(self, follow: Callable[[View], run_pb2.RunSnapshot]) -> None:
        self._follow = follow
        self._new: SimpleQueue[Item] = SimpleQueue()
        self._returned: deque[Item] = deque()
        self._readable, self._writable = os.pipe()
        os.set_blocking(self._readable, False)
        os.set_blocking(self._writable, False)
        # It ends with the run, or with the process: nothing of it has to be finished.
        threading.Thread(target=self._read, name="run-feed", daemon=True).start()

    def fileno(self) -> int:
        """For `select`."""
        return self._readable

    def next(self) -> Item:
        """The next item, whenever it comes."""
        return self._returned.popleft() if self._returned else self._new.get()

    def next_now(self) -> Item | None:
        """The next item that is there already."""
        if self._returned:
            return self._returned.popleft()
        try:
            return self._new.get_nowait()
        except Empty:
            return None

    def new(self) -> list[Item]:
        """What has come and was not looked at; `give_back` what is not to be dealt with yet."""
        with suppress(BlockingIOError):
            while os.read(self._readable, 4096):
                pass
        found: list[Item] = []
        while not self._new.empty():
            found.append(self._new.get())
        return found

    def give_back(self, items: list[Item]) -> None:
        """Items that `new` gave, for `next`, after those that were given back before."""
        self._returned.extend(items)

    def put(self, item: Item) -> None:
        """For the thread that reads."""
        self._new.put(item)
        with suppress(BlockingIOError):  # it is full of what was not read, and so readable
            os.write(self._writable, b".")

    def _read(self) -> None:
        try:
            self.put(self._follow(_Intake(self)))
        except Problem as problem:
            self.put(problem)


class _Intake:
    """A view that shows nothing and hands everything over."""

    def __init__(self, feed: RunFeed) -> None:
        self.tree = RunTree()
        self._feed = feed

    def take(self, frame: event_pb2.EventFrame) -> None:
        update_tree(self.tree, frame)
        self._feed.put(frame)

    def notice(self, text: str) -> None:
        self._feed.put(text)

    def showing(self) -> AbstractContextManager[object]:
        return nullcontext()
