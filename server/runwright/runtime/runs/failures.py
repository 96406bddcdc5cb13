"""How often drivers fail in a row: the first failure is met at once, later ones after a while, too many not at all."""

from __future__ import annotations

from runwright.core.ids import RunKey
from runwright.core.retry import backoff_us
from runwright.ports.clock import Clock

MOST_FAILURES = 5  # of one run, one soon after the other
FAILURES_PASS_US = 60_000_000  # a driver that has lived so long fails anew


class Failures:
    """Counts by run; what a run does between two failures does not matter, only the time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failed: dict[RunKey, tuple[int, int]] = {}

    def may_fail_again(self, run: RunKey) -> bool:
        """Counts a failure; False when there were too many."""
        now = self._clock.now()
        failed, last = self._failed.get(run, (0, now))
        failed = 1 if now - last > FAILURES_PASS_US else failed + 1
        self._failed[run] = (failed, now)
        return failed <= MOST_FAILURES

    async def pause(self, run: RunKey) -> None:
        """Waits as long as the failures so far ask for: not after the first, then 0.2 s and twice that each time."""
        failed, _ = self._failed.get(run, (1, 0))
        if failed > 1:
            await self._clock.sleep_until(self._clock.now() + backoff_us(failed - 1))

    def forget(self, run: RunKey) -> None:
        """Counts from the beginning."""
        self._failed.pop(run, None)
