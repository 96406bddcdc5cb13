"""Whether the journal takes writes, also while no run is open: health must say so before anybody is refused again."""

from __future__ import annotations

from runwright.core.errors import AgentError, ErrorReason
from runwright.core.space import Space
from runwright.ports.storage import Storage
from runwright.runtime.ports import Ports
from runwright.runtime.runs.supervisor import Supervisor

PERIOD_US = 1_000_000
SHORT_BYTES = 1024 * 1024  # with so little room left the journal is asked, not only its disk


class WriteWatch:
    """Tries a write from time to time while the last one was refused, or while there is next to no room."""

    def __init__(self, ports: Ports, supervisor: Supervisor) -> None:
        self._ports = ports
        self._supervisor = supervisor

    async def run(self) -> None:
        """Looks for ever; cancel it."""
        while True:
            await self.look()
            await self._ports.clock.sleep_until(self._ports.clock.now() + PERIOD_US)

    async def look(self) -> None:
        """Looks once. What takes nothing any more until it is opened anew is not asked again."""
        if self._supervisor.refused is ErrorReason.JOURNAL_CORRUPT:
            return
        if self._supervisor.refused is None and not await self._is_short():
            return
        try:
            await self._supervisor.noted(self._ports.journal.probe())
        except AgentError as error:
            if error.reason not in (ErrorReason.JOURNAL_FULL, ErrorReason.JOURNAL_BUSY):
                self._ports.log.error("a write to the journal failed", error)

    async def _is_short(self) -> bool:
        journal = self._ports.journal
        if not isinstance(journal, Storage):
            return False
        try:
            return _room(await journal.space()) < SHORT_BYTES
        except (AgentError, OSError):
            return False


def _room(space: Space) -> int:
    return space.disk_free if space.max_bytes is None else min(space.disk_free, space.max_bytes - space.used)
