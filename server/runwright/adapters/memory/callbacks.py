"""Registrations in memory: gone with the process."""

from __future__ import annotations

from runwright.core.callbacks import Callback
from runwright.core.ids import Namespace


class MemoryCallbacks:
    """CallbackStore for tests and for library users."""

    def __init__(self) -> None:
        self._retained: dict[tuple[Namespace, str], Callback] = {}

    async def put(self, callback: Callback) -> None:
        """See the port."""
        self._retained[(callback.namespace, callback.callback_id)] = callback

    async def remove(self, namespace: Namespace, callback_id: str) -> None:
        """See the port."""
        self._retained.pop((namespace, callback_id), None)

    async def load(self) -> list[Callback]:
        """See the port."""
        return [self._retained[key] for key in sorted(self._retained)]
