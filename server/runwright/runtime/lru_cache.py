"""A few answers kept for others who ask the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """At most `limit` values; the one that was not asked for longest goes first.

    `generation` counts how often values were dropped because they were no
    longer true. Who asks for a value and waits for it notes the generation
    before: what was dropped meanwhile must not come back.
    """

    def __init__(self, limit: int) -> None:
        self.generation = 0
        self._limit = limit
        self._values: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value, if it is still there."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: K, value: V, read_generation: int | None = None) -> None:
        """Keeps a value, unless it was asked for in an earlier generation; None: it was not waited for."""
        if read_generation not in (None, self.generation):
            return
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._limit:
            self._values.popitem(last=False)

    def drop(self, key: K) -> None:
        """Lets go of a value, if it is there."""
        self.generation += 1
        self._values.pop(key, None)

    def clear(self) -> None:
        """Lets go of everything."""
        self.generation += 1
        self._values.clear()
