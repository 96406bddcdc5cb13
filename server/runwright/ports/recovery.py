"""What outlives a start that did not end cleanly: which runs it had in hand."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from runwright.core.ids import RunKey
from runwright.core.quarantine import Stage, Suspect
from runwright.core.units import Micros


class RecoveryLog(Protocol):
    """Counts starts that ended with a run in hand. Everything is durable on return. Failures are the journal's errors.

    The rules are those of `core/quarantine.py`.
    """

    async def begin(self, now: Micros) -> list[Suspect]:
        """Begins a start: every open run, oldest first, after the last start's end was counted.

        Without an `end` since the last `begin` the last start did not end cleanly. Runs that nothing speaks against
        are in hand from now on, the others WAITING.
        """

    async def take_up(self, runs: Collection[RunKey], stage: Stage) -> None:
        """Says how far this start is with the runs; others that were on trial have passed."""

    async def settled(self, runs: Collection[RunKey]) -> None:
        """Says that nothing speaks against the runs any more, quarantined ones included."""

    async def end(self) -> None:
        """Says that the start ends cleanly: nobody is a suspect any more but those in quarantine."""
