"""Reader: the thread that owns the reading connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

import apsw

from runwright.adapters.sqlite.failures import corrupt, is_damage, of_run, translate
from runwright.core.errors import AgentError
from runwright.core.ids import RunId

P = ParamSpec("P")
T = TypeVar("T")


class ReadingThread:
    """Answers questions one after the other, beside the writer and without waiting for it."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        # One thread: apsw notices the concurrent use of a connection only sometimes.
        self._thread = ThreadPoolExecutor(1, "runwright-journal-reader")

    async def ask(self, question: Callable[Concatenate[apsw.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The answer as of the last commit."""
        answer = partial(self._answer, partial(question, self._db, *args, **kwargs))
        return await asyncio.get_running_loop().run_in_executor(self._thread, answer)

    async def ask_of(
        self,
        run: RunId | None,
        question: Callable[Concatenate[apsw.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """The same about one run, if there is one: what cannot be read in the file is damage to that run."""
        try:
            return await self.ask(question, *args, **kwargs)
        except AgentError as error:
            raise (of_run(run, error) if run else error) from error.__cause__

    async def close(self) -> None:
        """Answers what was asked, then closes the connection and ends the thread."""
        await self.ask(apsw.Connection.close)
        self._thread.shutdown()

    def _answer(self, question: Callable[[], T]) -> T:
        try:
            return question()
        except (apsw.Error, UnicodeDecodeError) as error:
            if isinstance(error, apsw.Error) and not is_damage(error):
                raise translate(error, self._db.system_errno) from error
            raise corrupt("The journal's file is damaged.") from error
