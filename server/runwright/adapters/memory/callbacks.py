"""Registrations in memory: gone with the process."""

from __future__ import annotations

from runwright.core.callbacks import Callback
from runwright.core.ids import Namespace


class MemoryCallbacks:
    """CallbackStore for tests and for library users."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Namespace, str], Callback] = {}

    async def put(self, callback: Callback) -> None:
        """See the port."""
        self._kept[(callback.namespace, callback.callback_id)] = callback

    async def remove(self, namespace: Namespace, callback_id: str) -> None:
        """See the port."""
        self._kept.pop((namespace, callback_id), None)

    async def load(self) -> list[Callback]:
        """See the port."""
        return [self._kept[key] for key in sorted(self._kept)]
