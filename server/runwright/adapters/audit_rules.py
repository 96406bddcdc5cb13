"""What every audit does alike: the first is told at once, the same again is counted until the minute is over."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

from msgspec.structs import replace

from runwright.core.audit import SECURITY, AuditEntry, AuditKind
from runwright.ports.clock import Clock

MINUTE_US = 60_000_000
# Different entries in one minute, of one kind: of one principal (a stranger is told apart by the address), and of one
# namespace. More are dropped and counted by namespace, so that nobody's flood costs another namespace its entries.
MOST_OF_PRINCIPAL = 16
MOST_OF_NAMESPACE = 32
# And of all: the security kinds, and the others, each for themselves. With what follows, a flood has a bound on disk.
MOST_A_MINUTE = 2048
MOST_ENTRIES = 1_000_000
_Group = tuple[bool] | tuple[AuditKind, str] | tuple[AuditKind, str, str]
LONGEST_FIELD = 256
MOST_SUBJECTS = 4


class Coalescer:
    """Gathers what is noted, of any thread, for somebody who takes it from time to time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._minute = 0
        self._ready: list[AuditEntry] = []
        self._again: dict[AuditEntry, int] = {}  # what this minute has seen, and how often beyond what was told
        self._admitted: Counter[_Group] = Counter()  # different entries of this minute, by who shares a bound
        self._dropped: Counter[str] = Counter()  # by namespace

    def note(self, what: AuditEntry) -> None:
        """Notes one thing, or so many alike; the time is put in here, and long fields are cut."""
        at = self._clock.now()
        alike = replace(
            what,
            at=0,
            count=0,
            principal=what.principal[:LONGEST_FIELD],
            namespace=what.namespace[:LONGEST_FIELD],
            method=what.method[:LONGEST_FIELD],
            reason=what.reason[:LONGEST_FIELD],
            subjects=tuple(subject[:LONGEST_FIELD] for subject in what.subjects[:MOST_SUBJECTS]),
        )
        with self._lock:
            self._turn(at)
            if alike in self._again:
                self._again[alike] += what.count
            elif self._admits(alike):
                self._again[alike] = 0
                self._ready.append(replace(alike, at=at, count=what.count))
            else:
                self._dropped[alike.namespace] += what.count

    def _admits(self, entry: AuditEntry) -> bool:
        """Counts a new entry where there is room for it."""
        who = entry.principal or next(iter(entry.subjects), "")
        bounds: Sequence[tuple[_Group, int]] = (
            ((entry.kind, entry.namespace, who), MOST_OF_PRINCIPAL),
            ((entry.kind, entry.namespace), MOST_OF_NAMESPACE),
            ((entry.kind in SECURITY,), MOST_A_MINUTE),
        )
        if any(self._admitted[group] >= most for group, most in bounds):
            return False
        self._admitted.update(group for group, _ in bounds)
        return True

    def lost(self, entries: Sequence[AuditEntry]) -> None:
        """Says that entries that were taken could not be kept."""
        with self._lock:
            for entry in entries:
                self._dropped[entry.namespace] += entry.count

    def take(self, *, everything: bool = False) -> list[AuditEntry]:
        """What is to be written now; `everything`: also what this minute has only counted so far."""
        now = self._clock.now()
        with self._lock:
            self._turn(now, everything=everything)
            taken, self._ready = self._ready, []
            dropped, self._dropped = self._dropped, Counter()
            for namespace, count in dropped.items():
                taken.append(AuditEntry(at=now, kind=AuditKind.ENTRIES_DROPPED, namespace=namespace, count=count))
            return taken

    @property
    def has_more(self) -> bool:
        """True while something waits to be written."""
        with self._lock:
            return bool(self._ready or self._dropped) or any(self._again.values())

    def _turn(self, now: int, *, everything: bool = False) -> None:
        """Tells of the repetitions once their minute is over."""
        if now // MINUTE_US == self._minute and not everything:
            return
        began = self._minute * MINUTE_US
        self._ready += [replace(alike, at=began, count=more) for alike, more in self._again.items() if more]
        self._minute, self._again, self._admitted = now // MINUTE_US, {}, Counter()
