"""Recovery: takes up the open runs of the journal, so that one that ends the server is found and keeps nobody down."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from functools import partial
from typing import Protocol

from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import RunKey
from runwright.core.quarantine import Stage, Suspect, tells, tells_us, trial_us, trials
from runwright.ports.recovery import RecoveryLog
from runwright.runtime.ports import Ports
from runwright.runtime.waiting import DeadlineWait, Notifier

RETRY_US = 500_000  # how often the count is tried again while the journal takes nothing
SETTLED_DELAY_US = 1_000_000  # settled runs are written down together
STABLE_US = 30_000_000  # a start that has lived so long with all runs in hand was not ended by any of them
_MAY_PASS = (ErrorReason.JOURNAL_FULL, ErrorReason.JOURNAL_BUSY)


class RunsInHand(Protocol):
    """What recovery does to runs; the supervisor."""

    async def take_up(self, runs: Sequence[RunKey]) -> None:
        """Drives each run, parks it or holds it. Never raises for a run."""

    def quarantine(self, suspect: Suspect) -> None:
        """Holds a run without reading it."""

    def is_under_way(self, run: RunKey) -> bool:
        """True while a driver has something to do for the run other than to wait."""


class Recovery:
    """One start's way through the open runs. Without a recovery log nothing is counted and all are taken up at once."""

    def __init__(self, ports: Ports, runs: RunsInHand) -> None:
        self._ports = ports
        self._log = ports.recovery
        self._runs = runs
        self._moved = Notifier()
        self._settled: set[RunKey] = set()  # and not written down yet
        self._counted: set[RunKey] = set()  # what the log still counts in this start
        self._tasks: set[asyncio.Task[None]] = set()
        self.later: set[RunKey] = set()  # open runs that were not taken up yet
        self.refused: ErrorReason | None = None  # why the journal did not take the count
        self._has_counted = False

    async def begin(self) -> int:
        """Takes up every open run, suspects in the background. Returns how many are open.

        While the journal takes nothing, nothing is taken up, and the server serves what can be read.
        """
        if self._log is None:
            runs = await self._ports.journal.open_runs()
            await self._runs.take_up(runs)
            return len(runs)
        found = await self._count()
        if found is None:
            self.later = set(await self._ports.journal.open_runs())
            self.beside(self._begin_later())
            return len(self.later)
        await self._take_up(found)
        return len(found)

    def settled(self, run: RunKey) -> None:
        """Says that an effect that was in hand has an outcome on record: the run did not end the server with it."""
        self._moved.notify()
        if run not in self._counted:
            return
        self._counted.discard(run)
        if not self._settled:
            self.beside(self._write_settled())
        self._settled.add(run)

    def left(self) -> None:
        """Says that a driver has ended."""
        self._moved.notify()

    async def release(self, run: RunKey) -> None:
        """Forgets, durably, whatever speaks against a run."""
        self._counted.discard(run)
        if self._log is not None:
            await self._log.settled([run])

    async def stop(self) -> None:
        """Takes up nothing more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def end(self) -> None:
        """Says that the server ends cleanly. A start that came to no run knows nothing of them, and says nothing."""
        if self._log is not None and self._has_counted:
            try:
                await self._log.end()
            except AgentError as error:
                self._ports.log.error("a clean end could not be written down", error)

    @property
    def _counting(self) -> RecoveryLog:
        assert self._log is not None, "without a log there are no suspects"
        return self._log

    async def _count(self) -> list[Suspect] | None:
        try:
            found = await self._counting.begin(self._ports.clock.now())
        except AgentError as error:
            if self.refused is None:
                self._ports.log.error("journal takes nothing: open runs wait", error, **error.metadata)
            self.refused = error.reason
            return None
        self.refused = None
        self._has_counted = True
        return found

    async def _begin_later(self) -> None:
        while True:
            await self._pause(RETRY_US)
            found = await self._count()
            if found is not None:
                await self._take_up(found)
                return

    async def _take_up(self, found: Sequence[Suspect]) -> None:
        for each in found:
            if each.quarantined_at:
                self._runs.quarantine(each)
        suspects = [each for each in found if each.tries and not each.quarantined_at]
        fresh = [each.run for each in found if not each.tries and not each.quarantined_at]
        self._counted.update(fresh)
        self.later = {each.run for each in suspects}
        await self._runs.take_up(fresh)
        self.beside(self._try(suspects))

    async def _try(self, suspects: Sequence[Suspect]) -> None:
        """One group after the other; then, once the start has lived for a while, nobody is a suspect any more."""
        groups = trials(suspects)
        limit, telling = trial_us(len(groups)), tells_us(suspects)
        if groups:
            self._ports.log.warning("runs are taken up one after the other", suspects=len(suspects), trials=len(groups))
        for passed, group in enumerate(groups):
            runs = [each.run for each in group]
            stage = Stage.ALONE if tells(group, suspects, passed) else Stage.ON_TRIAL
            await self._written(partial(self._counting.take_up, runs, stage))
            self._counted.update(runs)
            self.later.difference_update(runs)
            await self._runs.take_up(runs)
            begun = self._ports.clock.now()
            has_passed = await self._pass(runs, begun + min(telling, limit))
            if not has_passed and telling < limit:
                await self._written(partial(self._counting.take_up, runs, Stage.ON_TRIAL))
                await self._pass(runs, begun + limit)
        if len(groups) > 1:  # whoever is the only suspect is acquitted by time alone
            await self._written(partial(self._counting.take_up, (), Stage.IN_HAND))
        await self._pause(STABLE_US)
        still, self._counted = self._counted, set()
        if still:
            await self._written(partial(self._counting.settled, still))

    async def _pass(self, runs: Collection[RunKey], due: int) -> bool:
        """Waits until nothing of what the runs had in hand is still under way, but not for ever. True when it came."""
        with DeadlineWait(self._ports.clock) as wait:
            while True:
                moved = self._moved.next()
                if not any(run in self._counted and self._runs.is_under_way(run) for run in runs):
                    return True
                if not await wait.lasts(due, moved):
                    return False

    async def _write_settled(self) -> None:
        await self._pause(SETTLED_DELAY_US)
        settled, self._settled = self._settled, set()
        await self._written(partial(self._counting.settled, settled))

    async def _written(self, write: Callable[[], Awaitable[None]]) -> None:
        """Waits for a journal that takes nothing at the moment: what is not written down is not begun."""
        while True:
            try:
                return await write()
            except AgentError as error:
                if error.reason not in _MAY_PASS:
                    raise
                await self._pause(RETRY_US)

    async def _pause(self, us: int) -> None:
        await self._ports.clock.sleep_until(self._ports.clock.now() + us)

    def beside(self, work: Coroutine[None, None, None]) -> None:
        """Does something until it is done or recovery stops."""
        task = asyncio.ensure_future(self._logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # a task that is cancelled before its turn never comes to it

    async def _logged(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - whatever it was, the runs in hand go on
            self._ports.log.error("recovery failed", error)
