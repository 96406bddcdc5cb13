"""The supervisor: one driver per live run, and the runs that have none because they only wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Sequence
from functools import partial
from typing import TypeVar

from runwright.core import effects as e
from runwright.core import inputs as i
from runwright.core.condition import DRIVEN, Condition, Hold, HoldCause, run_held
from runwright.core.errors import AgentError, ErrorReason, Failure
from runwright.core.ids import Namespace, RunKey
from runwright.core.machine import pending, status
from runwright.core.outcomes import RunStatus
from runwright.core.package import RuntimePackage
from runwright.core.quarantine import Suspect
from runwright.core.records import Record
from runwright.core.state import RunState
from runwright.runtime.census import ParkedRuns, count
from runwright.runtime.drain_log import gives_up, waits
from runwright.runtime.driver import RunDriver
from runwright.runtime.failed_drivers import Aftermath, FailedDrivers
from runwright.runtime.held import HeldRuns
from runwright.runtime.kept import Kept
from runwright.runtime.live_text import LiveTexts
from runwright.runtime.recovery import Recovery
from runwright.runtime.refusals import draining
from runwright.runtime.revivals import Revivals
from runwright.runtime.run_on_record import RunOnRecord
from runwright.runtime.stored_runs import StoredRuns, cause_of, is_of, taken
from runwright.runtime.tail import Tails
from runwright.runtime.waiting import comes_before
from runwright.runtime.waits import Waits, Wake
from runwright.runtime.world import World

_REFUSALS = (ErrorReason.JOURNAL_FULL, ErrorReason.JOURNAL_BUSY, ErrorReason.JOURNAL_CORRUPT)

T = TypeVar("T")
CANCEL_US = 5_000_000
KEPT_ENDS = 1024
READ_AT_ONCE = 64  # runs, while recovering


class Supervisor:
    """Owns the drivers of all live runs. A run that only waits has none: it is an entry in two indexes."""

    def __init__(self, world: World, tails: Tails, texts: LiveTexts) -> None:
        self._world = world
        self._tails = tails
        self._texts = texts
        self._drivers: dict[RunKey, RunDriver] = {}
        self._tasks: dict[RunKey, asyncio.Task[None]] = {}
        self._loading: dict[RunKey, asyncio.Task[tuple[RuntimePackage, RunOnRecord]]] = {}
        self._waits = Waits(world, self._wake)
        self._revivals = Revivals(world.log, self._woken)
        self.stored = StoredRuns(world.journal)
        self._failed = FailedDrivers(world, self.stored, tails, self)
        self._ended: Kept[RunKey, tuple[RunState, int]] = Kept(KEPT_ENDS)  # nothing follows an end, so it stays true
        self._missing: dict[RunKey, str] = {}  # parked runs that have to ask a provider that is not configured
        self.refused: ErrorReason | None = None  # why the journal did not take what stood for itself
        self._recovery = Recovery(world, self)
        self.parked = ParkedRuns()
        self.held = HeldRuns(world)
        self.draining = False

    @property
    def open_runs(self) -> int:
        """How many runs have started and not ended."""
        # A driver leaves a moment after the end of its run is durable.
        live = sum(not driver.state.is_terminal for driver in list(self._drivers.values()))
        return live + len(self.parked) + len(self.held) + len(self._recovery.later - self._drivers.keys())

    @property
    def blocked_by(self) -> ErrorReason | None:
        """Why the journal takes no writes at the moment; None when it does."""
        waits = (driver.on_record.blocked_by for driver in list(self._drivers.values()) if driver.on_record.blocked_by)
        return self.refused or self._recovery.refused or next(waits, None)

    def census(self) -> tuple[dict[str, int], int]:
        """Open runs by status, and how many calls are unknown; callable on any thread."""
        live = [driver.state for driver in list(self._drivers.values())]
        return count(live, self.parked.standings, len(self.held), len(self._recovery.later))

    def condition(self, run: RunKey) -> Condition:
        """What keeps the run from going on, beside its own state."""
        hold, driver = self.held.of(run), self._drivers.get(run)
        adapter = driver.missing_provider if driver else self._missing.get(run, "")
        return Condition(hold, adapter) if hold or adapter else DRIVEN

    def statuses(self, namespace: Namespace) -> dict[str, RunStatus]:
        """The runs of a namespace that do not stand as the journal alone would say, by id."""
        asking = [run for run, driver in self._drivers.items() if driver.missing_provider]
        waiting = dict[str, RunStatus]()
        for run in (*self._missing, *asking):
            if run.namespace == namespace:
                waiting[run.run_id] = RunStatus.WAITING
        return {**waiting, **self.held.statuses(namespace)}

    async def start(self, run: RunKey, package: RuntimePackage, given: i.StartRequested) -> RunState:
        """Starts a run and returns its state once it is durable.

        Raises JOURNAL_CONFLICT when the run exists, DRAINING when the server is
        stopping, and the journal's own errors.
        """
        self.refuse_when_draining()
        if run in self._drivers:
            raise taken(run)
        on_record = RunOnRecord(self._world, RunState(key=run), 0, self._tails.of(run))
        driver = self._register(run, package, on_record)
        await self.noted(driver.begin(given, partial(self._launch, run, driver)))
        return driver.state

    async def noted(self, appending: Awaitable[T]) -> T:
        """What is appended for somebody who waits: whether the journal takes it is what health says."""
        try:
            appended = await appending
        except AgentError as error:
            if error.reason in _REFUSALS:
                self.refused = error.reason
            raise
        self.refused = None
        return appended

    async def submit(self, run: RunKey, given: i.Input) -> tuple[list[Record], RunState]:
        """Hands an input to a run, parked or live, and returns what it made true. Raises RUN_NOT_FOUND, RUN_HELD."""
        self.refuse_when_draining()
        while True:
            driver = self._drivers.get(run) or await self._revived(run)
            if isinstance(driver, RunState):
                return [], driver
            if not driver.closed:
                return await driver.submit(given), driver.state
            if driver.state.is_terminal:
                return [], driver.state
            await asyncio.wait({self._tasks[run]})  # it is parking: what comes now revives it

    async def state(self, run: RunKey) -> tuple[RunState, int] | None:
        """A run as it stands, with the position of its last event; None when there is no such run.

        Of a run that cannot be read, which is held from then on: what its intact events say.
        """
        while driver := self._drivers.get(run):
            if driver.state.seq:
                return driver.state, driver.on_record.position
            if not driver.closed:
                await driver.on_record.begun.rung()
            if driver.state.seq == 0 and run in self._drivers:
                await asyncio.wait({self._tasks[run]})
        if ended := self._ended.get(run):
            return ended
        asked_in = self._ended.generation  # the run may be removed while the journal is asked
        try:
            return await self._as_stored(run, asked_in)
        except AgentError as error:
            if not is_of(error, run):
                raise
            self.hold(run, HoldCause.UNREADABLE, error)
            return await self.held.intact(run)

    async def _as_stored(self, run: RunKey, asked_in: int) -> tuple[RunState, int] | None:
        hold = self.held.of(run)
        if hold is not None and hold.cause is HoldCause.UNREADABLE:
            return await self.held.intact(run)
        found = await self.stored.placed(run)
        if found is not None and found[0].is_terminal:
            self._ended.put(run, found, asked_in)
        return found

    def forget(self, run: RunKey) -> None:
        """Says that the run was removed: only the journal can tell what is left of it."""
        self._ended.drop(run)

    async def recover(self) -> int:
        """Takes up every open run of the journal. One that cannot be is held; the others go on."""
        return await self._recovery.begin()

    async def take_up(self, runs: Sequence[RunKey]) -> None:
        """Drives every run that has something to do, parks the others, and holds those that cannot be read."""
        for first in range(0, len(runs), READ_AT_ONCE):
            together = [run for run in runs[first : first + READ_AT_ONCE] if run not in self._drivers]
            states = await asyncio.gather(*map(self.stored.state, together), return_exceptions=True)
            for run, state in zip(together, states, strict=True):
                await self._take_up(run, state)

    async def _take_up(self, run: RunKey, state: RunState | BaseException) -> None:
        try:
            if isinstance(state, BaseException):
                raise state
            if state.is_terminal:
                return  # listed as open by what is damaged only
            missing = await self.stored.missing_provider(run, state, self._world.providers)
            if missing:
                self._missing[run] = missing
            wanted = {} if missing else pending(state)
            if not wanted or status(state) is RunStatus.WAITING:
                await self._park(run, state, wanted.values())
            else:
                await self._revive(run)
        except Exception as error:  # noqa: BLE001 - one poisoned run must not keep the others down
            if run not in self.held and not self.draining:
                self.hold(run, cause_of(error, run), error)

    async def _park(self, run: RunKey, state: RunState, wanted: Collection[e.Effect]) -> None:
        """Leaves a run to its waits, straight from its snapshot row: nothing has to be settled, so nobody drives it."""
        package = await self.stored.package(run, state) if wanted else None
        self.parked.add(run, state)
        self._recovery.settled(run)
        for effect in wanted:
            if package is not None and effect.parks:
                self._waits.enter(state, effect, package)

    def quarantine(self, suspect: Suspect) -> None:
        """Holds a run that seems to end the server, without reading it."""
        self.held.quarantine(suspect)

    def is_under_way(self, run: RunKey) -> bool:
        """True while a driver has something to do for the run other than to wait."""
        driver = self._drivers.get(run)
        return driver is not None and status(driver.state) is not RunStatus.WAITING and not driver.missing_provider

    async def let_go(self, run: RunKey) -> None:
        """Holds a run no longer; nothing speaks against it any more. Whoever waits for it looks again."""
        await self._recovery.release(run)
        self.held.drop(run)
        self._failed.failures.forget(run)
        self._tails.of(run).wake()

    def ended(self, state: RunState, position: int, begun_in: int | None = None) -> None:
        """Takes note of the end of a run whose driver began in that generation."""
        self._ended.put(state.key, (state, position), begun_in)

    def refuse(self, reason: ErrorReason) -> None:
        """Says that the journal takes nothing any more."""
        self.refused = reason

    def hold(
        self,
        run: RunKey,
        cause: HoldCause,
        error: BaseException,
        *,
        incident: str = "",
        trace_id: str = "",
        since: int = 0,
    ) -> None:
        """Holds a run; whoever waits for it looks again."""
        self.parked.discard(run)
        self._missing.pop(run, None)
        self._waits.drop(run)
        self.held.hold(run, cause, error, incident=incident, trace_id=trace_id, since=since)
        self._tails.of(run).wake()

    async def drain(self, grace_us: int) -> bool:
        """Stops every driver. Waits up to the grace for open calls that must not be repeated.

        Returns False when some of them were still open: they will need repair.
        """
        self.draining = True
        self._waits.drain()
        await self._revivals.stop()
        await self._recovery.stop()
        for driver in self._drivers.values():
            driver.drain()
        clock, drivers = self._world.clock, self._drivers.values()
        if beginning := [first for driver in drivers if (first := driver.on_record.first) is not None]:
            await comes_before(asyncio.wait(beginning), clock, clock.now() + grace_us)
        if not (tasks := set(self._tasks.values())):
            return True
        waits(self._world.log, self._drivers.values(), grace_us)
        try:
            return await comes_before(asyncio.wait(tasks), clock, clock.now() + grace_us)
        finally:
            gives_up(self._world.log, self._drivers.values())
            for task in tasks:
                task.cancel()
            # Bounded: an adapter that swallows its cancel must not keep the server from stopping.
            await comes_before(asyncio.wait(tasks), clock, clock.now() + CANCEL_US)

    async def close(self) -> None:
        """Says that the server ends cleanly."""
        self._waits.close()
        await self._recovery.stop()
        await self._recovery.end()

    def refuse_when_draining(self) -> None:
        """Raises DRAINING once the server is stopping."""
        if self.draining:
            raise draining()

    def _register(self, run: RunKey, package: RuntimePackage, on_record: RunOnRecord) -> RunDriver:
        driver = self._drivers[run] = RunDriver(self._world, package, on_record, self._waits, self._texts)
        self.parked.discard(run)
        self._missing.pop(run, None)
        return driver

    def _launch(self, run: RunKey, driver: RunDriver) -> None:
        watching = self._watch(run, driver, self._ended.generation)
        self._tasks[run] = asyncio.create_task(watching, name=f"run {run.run_id}")

    def _wake(self, wake: Wake) -> None:
        """Takes what has ended a wait to the run's driver, or has one made."""
        driver = self._drivers.get(wake.run)
        if driver is not None and not driver.closed:
            driver.wake(wake)
        elif self.draining:
            wake.give_back()
        else:
            self._revivals.put(wake)

    async def _woken(self, wake: Wake) -> None:
        """Revives a run with what has ended its wait. The place goes back if the run does not get it."""
        is_handed_over = False
        try:
            while not is_handed_over:
                driver = self._drivers.get(wake.run) or await self._revive(wake.run, wake)
                if isinstance(driver, RunState):
                    return
                if driver.closed:
                    await asyncio.wait({self._tasks[wake.run]})
                else:
                    driver.wake(wake)
                    is_handed_over = True
        except Exception as error:  # noqa: BLE001 - nobody waits for this: the run says what became of it
            if self.draining or wake.run in self.held:
                return
            if self._failed.may_try_again(wake.run, error):
                self._recovery.beside(self._try_again(wake.run))
            else:
                self._failed.hold(wake.run, error)
        finally:
            if not is_handed_over:
                wake.give_back()

    async def _revive(self, run: RunKey, wake: Wake | None = None) -> RunDriver | RunState:
        """Brings a parked run back to life; two who ask at once get one driver. Of one that has ended its state.

        Raises RUN_HELD, DRAINING. What `wake` lets the run send is looked at before anything is written down.
        """
        hold = self.held.of(run)
        if hold is not None:
            raise run_held(run, hold)
        loading = self._loading.get(run)
        if loading is None:
            loading = self._loading[run] = asyncio.create_task(self._load(run, wake))
            loading.add_done_callback(lambda _: self._loading.pop(run, None))
        package, on_record = await asyncio.shield(loading)
        if run in self._drivers:
            return self._drivers[run]
        if on_record.state.is_terminal:
            self.parked.discard(run)
            return on_record.state
        self.refuse_when_draining()
        driver = self._register(run, package, on_record)
        driver.submit(i.Recovered(at=self._world.clock.now()))
        self._launch(run, driver)
        return driver

    async def _revived(self, run: RunKey) -> RunDriver | RunState:
        """As `_revive`; a run that turns out not to be readable is held from then on."""
        try:
            return await self._revive(run)
        except AgentError as error:
            if not is_of(error, run):
                raise
            self.hold(run, HoldCause.UNREADABLE, error)
            raise run_held(run, Hold(HoldCause.UNREADABLE, Failure.of(error), 0)) from error

    async def _load(self, run: RunKey, wake: Wake | None) -> tuple[RuntimePackage, RunOnRecord]:
        tail = self._tails.of(run)
        state, position = await self.stored.loaded(run)
        package = await self.stored.package(run, state)
        on_record = RunOnRecord(self._world, state, position, tail, settled=self._recovery.settled)
        sends = wake.effect.call_id if wake and wake.place and isinstance(wake.effect, e.AwaitExecutor) else None
        await on_record.conversation.check(state, sends)
        return package, on_record

    async def _watch(self, run: RunKey, driver: RunDriver, begun_in: int) -> None:
        aftermath = Aftermath()
        try:
            await driver.run()
            if driver.state.is_terminal:
                self.ended(driver.state, driver.on_record.position, begun_in)
                self._failed.failures.forget(run)
        except ExceptionGroup as group:
            # The run stays registered meanwhile: whoever wants something of it waits for this task.
            aftermath = await self._failed.aftermath(driver, group)
        finally:
            if self._drivers.get(run) is driver:
                del self._drivers[run]
                self._tasks.pop(run, None)
                is_open = driver.state.seq and not driver.state.is_terminal and aftermath.ended is None
                if is_open and run not in self.held:
                    self.parked.add(run, driver.state)
            self._tails.of(run).wake()  # what readers saw of the driver may have been old
            self._recovery.left()
        if aftermath.is_read_anew and not self.draining:
            self._recovery.beside(self._try_again(run))

    async def _try_again(self, run: RunKey) -> None:
        """Reads a run anew, at once after its first failure and later each time."""
        while True:
            await self._failed.failures.pause(run)
            try:
                if run not in self._drivers and run not in self.held:
                    await self._revive(run)
                return
            except Exception as error:  # noqa: BLE001 - nobody waits for this task: the run says what became of it
                if self.draining or run in self.held:
                    return
                if not self._failed.may_try_again(run, error):
                    self._failed.hold(run, error)
                    return
