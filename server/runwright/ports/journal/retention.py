"""Retention: what is removed, and what stays of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from runwright.core.ids import RunKey
from runwright.core.units import Micros


class Removed(Struct, frozen=True):
    """What one step of a removal did.

    `runs` are those whose removal began, `horizon` is the position of the last
    event of the last of them; `more` is False when nothing was left to do.
    """

    runs: Sequence[RunKey]
    events: int
    more: bool
    horizon: int = 0


class Remover(Protocol):
    """Removes runs as a whole; of each an outline stays for ever, so that its id and its answer are never another's."""

    async def remove_ended(self, *, before: Micros, now: Micros, limit: int) -> Removed:
        """One step in removing runs that ended before a time: at most `limit` events, in one commit.

        Runs go in the order of their last events, each as a whole for whoever
        reads: from the commit that begins its removal only the outline is left.
        Contents go with the last event that refers to them. A run that has not
        ended is never removed, nor is the one with the journal's newest event;
        one whose end cannot be read stays as well. Call again while there is
        more; a step that was never finished is taken up by the next call.
        """

    async def remove(self, run: RunKey, *, now: Micros) -> int:
        """Removes one run, ended or not, whatever of it can be read: its position in the journal's horizon.

        As `remove_ended` leaves it: an outline, which has ended as cancelled if the run
        had not ended. An event that the store needs to find its own end again is
        hidden and goes with a later removal. Raises RUN_NOT_FOUND, for a removed run too.
        """
