"""Readiness: whether writes are taken, also while no run is open that would notice."""

from __future__ import annotations

import asyncio

from runwright.core.errors import AgentError, ErrorReason
from runwright.core.space import Space
from runwright.ports.storage import Storage
from runwright.runtime.runtime import AgentRuntime

# What the smallest start takes, with the pages of its indexes.
_LEAST_ROOM_BYTES = 16 * 1024
# After a refusal there must be room for a start of the largest input, or health would change with every start.
_AMPLE_ROOM_BYTES = 256 * 1024
# For how many looks a refusal counts where room says nothing: a held file, or a store without a disk.
_REMEMBERED_LOOKS = 4
_ROOM_SECONDS = 2.0  # a disk that hangs must not keep health from saying what else is known
_REFUSALS = frozenset({ErrorReason.JOURNAL_FULL, ErrorReason.JOURNAL_BUSY})


class Readiness:
    """Puts together what the runs know, what callers were refused, and what room there is."""

    def __init__(self, runtime: AgentRuntime) -> None:
        journal = runtime.ports.journal
        self._runtime = runtime
        self._storage = journal if isinstance(journal, Storage) else None
        self._refused = 0  # looks for which the last refusal still counts

    def refused(self, error: AgentError) -> None:
        """A call was refused with this error, which may be one of the journal's."""
        if error.reason in _REFUSALS:
            self._refused = _REMEMBERED_LOOKS

    async def is_ready(self) -> bool:
        """Looks once; to be asked from time to time."""
        if self._runtime.write_blockage() is not None:
            return False
        room = await self._room()
        if self._refused:
            if room is None or room >= _AMPLE_ROOM_BYTES:
                self._refused -= 1
            return not self._refused
        return room is None or room >= _LEAST_ROOM_BYTES

    async def _room(self) -> int | None:
        """Bytes that can be written; None when that cannot be said."""
        if self._storage is None:
            return None
        try:
            async with asyncio.timeout(_ROOM_SECONDS):
                return room(await self._storage.space())
        except (AgentError, OSError):  # a TimeoutError is one
            return None


def room(space: Space) -> int:
    """How many bytes can be written: what the disk has free, and what is left of the journal's bound."""
    left = space.disk_free
    return left if space.max_bytes is None else min(left, space.max_bytes - space.used)
