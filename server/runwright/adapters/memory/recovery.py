"""MemoryRecoveryLog: for tests, where a start is a runtime and the process goes on."""

from __future__ import annotations

from collections.abc import Collection

from msgspec.structs import replace

from runwright.adapters.recovery_rules import begun, passed
from runwright.core.ids import RunKey
from runwright.core.quarantine import Stage, Suspect
from runwright.ports.journal import Journal


class MemoryRecoveryLog:
    """A RecoveryLog over the open runs of any journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.known: dict[RunKey, Suspect] = {}

    async def begin(self, now: int) -> list[Suspect]:
        """See the port."""
        found = begun(self.known, await self._journal.open_runs(), now)
        self.known = {each.run: each for each in found}
        return found

    async def take_up(self, runs: Collection[RunKey], stage: Stage) -> None:
        """See the port."""
        self.known = {run: each if run in runs else passed(each) for run, each in self.known.items()}
        for run in runs:
            if run in self.known:
                self.known[run] = replace(self.known[run], stage=stage)

    async def settled(self, runs: Collection[RunKey]) -> None:
        """See the port."""
        for run in runs:
            self.known.pop(run, None)

    async def end(self) -> None:
        """See the port."""
        self.known = {run: each for run, each in self.known.items() if each.quarantined_at}
