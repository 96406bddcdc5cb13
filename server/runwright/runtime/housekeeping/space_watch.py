"""Warns before the disk is full: once when there is too little, once when there is enough again."""

from __future__ import annotations

from runwright.core.errors import AgentError
from runwright.core.space import LeastSpace
from runwright.ports.clock import Clock
from runwright.ports.log import OperatorLog
from runwright.ports.storage import Storage

PERIOD_US = 60_000_000
REMEDY = "Free some, raise journal_max_bytes, or set retention_days: a full disk stops every run until there is room."


class SpaceWatch:
    """Looks at a store from time to time. What it finds changes nothing but the log."""

    def __init__(self, storage: Storage, least: LeastSpace, clock: Clock, log: OperatorLog) -> None:
        self._storage = storage
        self._least = least
        self._clock = clock
        self._log = log
        self._is_short = False

    async def run(self) -> None:
        """Looks for ever; cancel it."""
        while True:
            await self.look()
            await self._clock.sleep_until(self._clock.now() + PERIOD_US)

    async def look(self) -> None:
        """Looks once."""
        try:
            space = await self._storage.space()
        except (AgentError, OSError) as error:
            self._log.error("free space cannot be measured", error)
            return
        short = list(self._least.shortages(space))
        if short and not self._is_short:
            self._log.warning(
                "space is running out",
                found="; ".join(short),
                journal_bytes=space.used,
                wal_bytes=space.wal,
                max_bytes=space.max_bytes,
                disk_free_bytes=space.disk_free,
                remedy=REMEDY,
            )
        if self._is_short and not short:
            self._log.info("there is space again", disk_free_bytes=space.disk_free, journal_bytes=space.used)
        self._is_short = bool(short)
