"""A journal as one life of the server knows it: it dies with that life, and may refuse, or never answer."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from enum import Enum
from typing import Any

from runwright.core.ids import RunKey
from runwright.ports.journal import Appended, Appending, Journal

from tests.runtime.journals import JournalWrapper, appending, journal_busy, journal_full


class Fault(Enum):
    """What becomes of an append."""

    FULL = "it is refused, since the disk is full"
    BUSY = "it is refused, since somebody else holds the file"
    DURABLE_AND_REFUSED = "it is durable, and said not to be"
    LOST = "the server dies before it"
    UNHEARD = "the server dies once it is durable, and nobody has heard"


class FaultyJournal(JournalWrapper):
    """Passes everything on until it is dead. `faults` are those of the next appends, by how many come before each."""

    def __init__(self, inner: Journal) -> None:
        super().__init__(inner)
        self.busy = 0
        self.is_dead = False
        self.has_failed = False
        self.faults: dict[int, Fault] = {}
        self._never = asyncio.Event()  # held here, or whoever waits for it would be collected
        self._appends = 0

    def plan(self, after: int, fault: Fault) -> None:
        """Lets something go wrong after so many more appends."""
        self.faults[self._appends + after + 1] = fault

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        return self._counted(found) if inspect.iscoroutinefunction(found) else found

    async def load(self, run: RunKey) -> Any:
        """See the port."""
        return await self._counted(self.inner.load)(run)

    async def load_many(self, runs: Any) -> Any:
        """See the port."""
        return await self._counted(self.inner.load_many)(runs)

    def append(self, run: RunKey, records: Any, **rest: Any) -> Appending:
        """See the port."""
        self._appends += 1
        fault = self.faults.pop(self._appends, None)
        if not self.is_dead and fault is None:
            append = self.inner.append(run, records, **rest)
            self.busy += 1
            append.add_done_callback(self._heard)
            return append
        return appending(self._failing(fault, run, records, **rest))

    def _heard(self, _: object) -> None:
        self.busy -= 1

    async def _failing(self, fault: Fault | None, run: RunKey, records: Any, **rest: Any) -> Appended:
        self.has_failed = True
        if fault is Fault.FULL:
            raise journal_full()
        if fault is Fault.BUSY:
            raise journal_busy()
        if fault in (Fault.DURABLE_AND_REFUSED, Fault.UNHEARD):
            self.busy += 1
            try:
                await self.inner.append(run, records, **rest)
            finally:
                self.busy -= 1
        if fault is Fault.DURABLE_AND_REFUSED:
            raise journal_busy()
        self.is_dead = True
        await self._never.wait()
        raise AssertionError("a dead server hears nothing")

    def _counted(self, method: Callable[..., Any]) -> Callable[..., Any]:
        async def counted(*given: Any, **named: Any) -> Any:
            self.busy += 1
            try:
                return await method(*given, **named)
            finally:
                self.busy -= 1

        return counted
