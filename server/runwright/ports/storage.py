"""How much room there is where a journal is kept."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from runwright.core.space import Space


@runtime_checkable
class Storage(Protocol):
    """Something that takes room on a disk."""

    async def space(self) -> Space:
        """The present figures; asked off the loop."""
