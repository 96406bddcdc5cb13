"""Retention: removes ended runs once they are old enough, a little at a time."""

from __future__ import annotations

from collections import Counter

from runwright.core.audit import AuditEntry, AuditKind
from runwright.core.errors import AgentError
from runwright.runtime.runtime import AgentRuntime

STEP_EVENTS = 256  # in one commit, which others may wait for
PAUSE_US = 20_000  # between two, so that the writer is theirs most of the time
LONGEST_PERIOD_US = 60_000_000
SHORTEST_PERIOD_US = 1_000_000


class Retention:
    """Removes what ended longer than `keep_us` ago. Dying at any moment leaves nothing half: the next one goes on."""

    def __init__(self, runtime: AgentRuntime, keep_us: int) -> None:
        self._runtime = runtime
        self._ports = runtime.ports
        self._keep_us = keep_us
        self._period_us = min(LONGEST_PERIOD_US, max(SHORTEST_PERIOD_US, keep_us // 10))

    async def run(self) -> None:
        """Removes for ever; cancel it."""
        while True:
            try:
                await self.remove()
            except AgentError as error:
                self._ports.log.error("old runs cannot be removed; tried again later", error)
            await self._ports.clock.sleep_until(self._ports.clock.now() + self._period_us)

    async def remove(self) -> int:
        """Removes everything that is old by now. Returns how many runs."""
        clock, removed = self._ports.clock, Counter[str]()
        try:
            while True:
                now = clock.now()
                step = await self._ports.journal.remove_ended(before=now - self._keep_us, now=now, limit=STEP_EVENTS)
                self._runtime.forget(step.runs, step.horizon)
                removed.update(run.namespace for run in step.runs)
                if not step.more:
                    return removed.total()
                await clock.sleep_until(clock.now() + PAUSE_US)
        finally:
            for namespace, count in removed.items():
                self._ports.audit.note(
                    AuditEntry(kind=AuditKind.RUNS_REMOVED, namespace=namespace, reason="retention_days", count=count)
                )
            if removed:
                self._ports.log.info("old runs were removed", runs=removed.total())
