"""Epochs: which server process wrote the event at a position, so that a cursor can be held against the journal's past.

Each time a journal is opened for writing an epoch begins: a random mark for
all positions that this process will give. A copy of the journal that is put
back and grows again grows in another epoch, so the same position has another
mark there. A mark needs no event: it is as good for a place whose event a
filter hides, belongs to somebody else, or has been removed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from msgspec import Struct

from runwright.core.units import Position

MARK_BYTES = 8
NO_MARK = bytes(MARK_BYTES)


class Epoch(Struct, frozen=True):
    """All positions above `after`, up to where the next epoch begins; `mark` is MARK_BYTES random bytes."""

    after: Position
    mark: bytes


class Epochs:
    """The epochs of a journal, in order. What lies before the first of them has NO_MARK: no server noted it yet."""

    def __init__(self, epochs: Sequence[Epoch]) -> None:
        """`epochs` rise strictly by `after`."""
        self._epochs = list(epochs)
        self._begins = [epoch.after for epoch in epochs]
        self._newest = self._epochs[-1] if epochs else Epoch(0, NO_MARK)

    @property
    def unmarked(self) -> Position:
        """The highest position without a mark; 0 in a journal that had them from its beginning."""
        return self._begins[0] if self._begins else 0

    def mark(self, position: Position) -> bytes:
        """The mark of the epoch in which the position was given."""
        if position > self._newest.after:  # as almost all that are asked for
            return self._newest.mark
        index = bisect_left(self._begins, position)
        return self._epochs[index - 1].mark if index else NO_MARK
