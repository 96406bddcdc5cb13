"""Inbox: what has reached a run and was not taken yet."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

from msgspec import Struct

from runwright.core.effects import Effect
from runwright.core.errors import AgentError
from runwright.core.inputs import Input
from runwright.core.records import Record
from runwright.runtime.runs.refusals import draining

T = TypeVar("T")


class Delivery(Struct, frozen=True):
    """An input, whom to tell what it made true, and the effect it settles, if any.

    None is the answer to what the driver has not come to before it left: nothing was decided on it.
    """

    input: Input
    answer: asyncio.Future[list[Record] | None]
    settles: Effect | None = None

    def refuse(self, error: AgentError) -> None:
        """Says why nothing comes of it, unless something was said already."""
        if not self.answer.done():
            self.answer.set_exception(error)
            self.answer.exception()  # marks it as seen: nobody may be waiting


class Inbox(Generic[T]):
    """Takes things in for one reader, who takes all of them at once.

    Every live run has one, mostly empty, so it is smaller than `asyncio.Queue`,
    which sets aside room for 256 things. Not bounded: its writers are.
    """

    def __init__(self) -> None:
        self._arrived: list[T] = []
        self._waiting: asyncio.Future[None] | None = None

    def __bool__(self) -> bool:
        return bool(self._arrived)

    def put(self, thing: T) -> None:
        """Adds something, and wakes the reader."""
        self._arrived.append(thing)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def arrived(self) -> list[T]:
        """All that has come, in its order; waits for the first."""
        while not self._arrived:
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        return self.taken()

    def taken(self) -> list[T]:
        """All that has come, without waiting; it is taken out."""
        arrived, self._arrived = self._arrived, []
        return arrived


def turn_away(inbox: Inbox[Delivery | None], *, is_terminal: bool, is_draining: bool) -> None:
    """Answers whoever came too late: an ended run is not changed, nor is any by a server that stops.

    Else the driver failed, or parks: what becomes of the run is another driver's to say.
    """
    for late in inbox.taken():
        if late is None or late.answer.done():
            continue
        if is_terminal:
            late.answer.set_result([])
        elif is_draining:
            late.refuse(draining())
        else:
            late.answer.set_result(None)
