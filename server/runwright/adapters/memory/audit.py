"""MemoryAudit: nothing survives the process."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from msgspec.structs import replace

from runwright.adapters.audit_rules import Coalescer
from runwright.core.audit import AuditEntry
from runwright.ports.audit import AuditPage
from runwright.ports.clock import Clock

MOST_ENTRIES = 10_000


class MemoryAudit:
    """An audit for tests and for runtimes inside another program."""

    def __init__(self, clock: Clock) -> None:
        self._coalescer = Coalescer(clock)
        self._entries: deque[AuditEntry] = deque(maxlen=MOST_ENTRIES)
        self._last = 0

    def note(self, what: AuditEntry) -> None:
        """See the port."""
        self._coalescer.note(what)

    async def page(self, namespaces: Sequence[str], *, before: int | None, limit: int) -> AuditPage:
        """See the port."""
        for entry in self._coalescer.take():
            self._last += 1
            self._entries.append(replace(entry, number=self._last))
        below = self._last + 1 if before is None else before
        found = [e for e in reversed(self._entries) if e.number < below and e.namespace in namespaces]
        shown = found[:limit]
        return AuditPage(shown, shown[-1].number if shown else 1, len(found) > limit)
