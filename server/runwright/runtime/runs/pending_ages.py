"""Pending ages: how many approvals somebody could decide on, and for how long they have been waiting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from msgspec import Struct

from runwright.core.units import Micros

GRAIN_US = 10_000_000  # approvals of the same ten seconds are counted together
MINUTE_US = 60_000_000
# The age that an approval has at most, by the name of the group it is counted in; whatever is older is `longer`.
AGES: Mapping[str, Micros] = {
    "5m": 5 * MINUTE_US,
    "1h": 60 * MINUTE_US,
    "8h": 480 * MINUTE_US,
    "1d": 1440 * MINUTE_US,
}
LONGER = "longer"


class PendingApprovals(Struct, frozen=True):
    """Pending approvals at a moment: how many by age, every age named, and the age of the oldest in microseconds."""

    by_age: Mapping[str, int]
    oldest_us: Micros


class PendingAges:
    """Counts approvals by the time they were asked for. What it costs goes with the span of time, not the number."""

    def __init__(self) -> None:
        self._by_time: Counter[int] = Counter()

    def add(self, requested_at: Micros) -> None:
        """One more is pending."""
        self._by_time[requested_at // GRAIN_US] += 1

    def remove(self, requested_at: Micros) -> None:
        """One of those that were added is pending no more."""
        grain = requested_at // GRAIN_US
        self._by_time[grain] -= 1
        if not self._by_time[grain]:
            del self._by_time[grain]

    def at(self, now: Micros) -> PendingApprovals:
        """How they stand at that time; callable on any thread."""
        by_age = dict.fromkeys((*AGES, LONGER), 0)
        oldest = 0
        for grain, number in list(self._by_time.items()):  # in one step: the loop's thread goes on meanwhile
            age = max(0, now - grain * GRAIN_US)
            oldest = max(oldest, age)
            by_age[next((name for name, most in AGES.items() if age <= most), LONGER)] += number
        return PendingApprovals(by_age, oldest)
