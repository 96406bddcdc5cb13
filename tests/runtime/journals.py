"""Journals that misbehave on purpose, around one that does not."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import RunKey
from runwright.ports.journal import Appended, Appending, Journal, LoadedRun, StoredEvent


class JournalWrapper:
    """Passes everything on to the journal it wraps."""

    def __init__(self, inner: Journal) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def load(self, run: RunKey) -> LoadedRun | None:
        """See the port."""
        return await self.inner.load(run)

    async def load_many(self, runs: Sequence[RunKey]) -> list[LoadedRun | AgentError | None]:
        """As `load` answers, so that who changes that changes both."""
        found: list[LoadedRun | AgentError | None] = []
        for run in runs:
            try:
                found.append(await self.load(run))
            except AgentError as error:
                found.append(error)
        return found

    def append(self, run: RunKey, records: Any, **rest: Any) -> Appending:
        """See the port."""
        return appending(self.written(run, records, **rest))

    async def written(self, run: RunKey, records: Any, **rest: Any) -> Appended:
        """What becomes of an append. It goes on without its caller, like that of a journal with a thread of its own."""
        return await self.inner.append(run, records, **rest)


def appending(writing: Coroutine[Any, Any, Appended]) -> Appending:
    """An append that comes to its end as `writing` does."""
    answer, task = Appending(), asyncio.create_task(writing)

    def tell(_: object) -> None:
        if task.cancelled():
            asyncio.Future.cancel(answer)  # the loop is being closed
        elif error := task.exception():
            answer.set_exception(error)
        else:
            answer.set_result(task.result())

    task.add_done_callback(tell)
    return answer


class PowerCut(JournalWrapper):
    """Takes so many appends, then never answers again, as when the power is gone.

    The last append is durable either way; whether its caller still heard of it
    makes two different crashes. `is_off` is set once somebody waits in vain.
    """

    def __init__(self, inner: Journal, appends: int, *, last_is_answered: bool) -> None:
        super().__init__(inner)
        self.is_off = asyncio.Event()
        self._left = appends
        self._last_is_answered = last_is_answered

    async def written(self, run: RunKey, records: Any, **rest: Any) -> Appended:
        """See the class."""
        if self._left == 0:
            await self._nothing()
        self._left -= 1
        stored = await self.inner.append(run, records, **rest)
        if self._left == 0 and not self._last_is_answered:
            await self._nothing()
        return stored

    async def _nothing(self) -> None:
        self.is_off.set()
        await asyncio.Event().wait()


class GatedJournal(JournalWrapper):
    """Holds every append back while the gate is shut. A caller that is cancelled meanwhile changes nothing."""

    def __init__(self, inner: Journal) -> None:
        super().__init__(inner)
        self.gate = asyncio.Event()
        self.gate.set()
        self.held = 0

    async def written(self, run: RunKey, records: Any, **rest: Any) -> Appended:
        """See the class."""
        self.held += 1
        await self.gate.wait()
        self.held -= 1
        return await self.inner.append(run, records, **rest)


class FailingJournal(JournalWrapper):
    """Raises `error` instead of appending, while there is one."""

    def __init__(self, inner: Journal, error: Exception | None = None) -> None:
        super().__init__(inner)
        self.error = error
        self.refused = 0

    async def written(self, run: RunKey, records: Any, **rest: Any) -> Appended:
        """See the class."""
        if self.error is not None:
            self.refused += 1
            raise self.error
        return await self.inner.append(run, records, **rest)


class UnreadableJournal(JournalWrapper):
    """Meets a defect of its own when it is asked for events."""

    def __init__(self, inner: Journal, secret: str = "") -> None:
        super().__init__(inner)
        self._secret = secret

    async def read(self, run: RunKey, **rest: Any) -> list[StoredEvent]:
        """See the class."""
        raise ZeroDivisionError(self._secret)


class LosesAnswer(JournalWrapper):
    """Performs its `number`th append and says that it did not."""

    def __init__(self, inner: Journal, number: int, error: Exception) -> None:
        super().__init__(inner)
        self._number = number
        self._error = error

    async def written(self, run: RunKey, records: Any, **rest: Any) -> Appended:
        """See the class."""
        stored = await self.inner.append(run, records, **rest)
        self._number -= 1
        if self._number == 0:
            raise self._error
        return stored


def journal_full() -> AgentError:
    """What a journal says when its disk is full."""
    return AgentError(ErrorReason.JOURNAL_FULL, "The disk is full.", metadata={"retry_after": "30s"})


def journal_broken() -> AgentError:
    """What a journal says that takes nothing any more."""
    return AgentError(ErrorReason.JOURNAL_CORRUPT, "The disk is bad.", metadata={"run_id": "", "first_bad": ""})


def journal_busy() -> AgentError:
    """What a journal says when somebody else holds its file."""
    return AgentError(ErrorReason.JOURNAL_BUSY, "The file is held.", metadata={"retry_after": "2s"})
