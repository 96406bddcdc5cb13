"""What SIGHUP has a server read again, while it serves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

from runwright.core.audit import AuditEntry, AuditKind
from runwright.core.errors import AgentError
from runwright.runtime import AgentRuntime

_Read = TypeVar("_Read")


class Reread(Generic[_Read]):
    """Reads on a thread. What cannot be used is on the log and in the audit; the last good one stays in force.

    `what` names it in the log, `option` in the audit. `take` puts what was read into force, and returns what the log
    is to say of it.
    """

    def __init__(
        self,
        runtime: AgentRuntime,
        *,
        what: str,
        option: str,
        read: Callable[[], _Read],
        take: Callable[[_Read], Awaitable[Mapping[str, object]]],
    ) -> None:
        self._runtime, self._what, self._option = runtime, what, option
        self._read, self._take = read, take
        self._number = 0  # of the last reading: an older one that ends later counts for nothing
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self) -> None:
        """Begins to read; call it on the loop that serves."""
        self._number += 1
        task = asyncio.create_task(self._again(self._number), name=f"{self._what} read again")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Ends what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _again(self, number: int) -> None:
        ports = self._runtime.ports
        try:
            found = await asyncio.to_thread(self._read)
            if number == self._number:
                ports.log.info(f"{self._what} read again", **await self._take(found))
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the server serves on
            if number == self._number:
                said = error.message if isinstance(error, AgentError) else type(error).__name__
                ports.log.error(f"{self._what} cannot be used; the last good ones stay in force", reason=said)
                ports.audit.note(AuditEntry(kind=AuditKind.RELOAD_FAILED, reason=self._option))
