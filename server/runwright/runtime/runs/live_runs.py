"""LiveRuns: the drivers, and what follows when one is needed, leaves or fails."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from runwright.core import effects as e
from runwright.core import inputs as i
from runwright.core.condition import run_held
from runwright.core.ids import RunKey
from runwright.core.package import RuntimePackage
from runwright.core.state import RunState
from runwright.runtime.ports import Ports
from runwright.runtime.runs.driver import RunDriver
from runwright.runtime.runs.failed_drivers import Aftermath, FailedDrivers
from runwright.runtime.runs.held import HeldRuns
from runwright.runtime.runs.live_text import LiveTexts
from runwright.runtime.runs.parking import Parking
from runwright.runtime.runs.recovery import Recovery
from runwright.runtime.runs.refusals import draining
from runwright.runtime.runs.revivals import Revivals
from runwright.runtime.runs.run_on_record import RunOnRecord
from runwright.runtime.runs.stored_runs import StoredRuns
from runwright.runtime.runs.tail import Tails
from runwright.runtime.runs.waits import Wake


class LiveRuns:
    """One driver a run at most. A run that only waits has none: what ends its wait has one made."""

    def __init__(
        self,
        ports: Ports,
        tails: Tails,
        texts: LiveTexts,
        *,
        stored: StoredRuns,
        held: HeldRuns,
        failed: FailedDrivers,
        recovery: Recovery,
    ) -> None:
        self.parking = Parking(ports, self._wake)
        self._ports = ports
        self._tails = tails
        self._texts = texts
        self._stored = stored
        self._held = held
        self._failed = failed
        self._recovery = recovery
        self._revivals = Revivals(ports.log, self._woken)
        self._drivers: dict[RunKey, RunDriver] = {}
        self._tasks: dict[RunKey, asyncio.Task[None]] = {}
        self._loading: dict[RunKey, asyncio.Task[tuple[RuntimePackage, RunOnRecord]]] = {}
        self._draining = False

    def __contains__(self, run: object) -> bool:
        return run in self._drivers

    def __iter__(self) -> Iterator[RunDriver]:
        return iter(list(self._drivers.values()))

    @property
    def keys(self) -> set[RunKey]:
        """The runs that have a driver."""
        return set(self._drivers)

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """The loops of all drivers."""
        return set(self._tasks.values())

    def get(self, run: RunKey) -> RunDriver | None:
        """The driver of the run, if it has one."""
        return self._drivers.get(run)

    async def gone(self, run: RunKey) -> None:
        """Waits until the run's present driver has left."""
        if (task := self._tasks.get(run)) is not None:
            await asyncio.wait({task})

    def add(self, package: RuntimePackage, on_record: RunOnRecord) -> RunDriver:
        """Makes the driver of a run; `launch` has it go."""
        run = on_record.state.key
        driver = self._drivers[run] = RunDriver(self._ports, package, on_record, self.parking.waits, self._texts)
        self.parking.leave(run)
        self._recovery.later.discard(run)  # or it would be counted twice, and still once it has ended
        return driver

    def launch(self, driver: RunDriver) -> None:
        """Has the driver go, and sees to what is left of the run after it."""
        run = driver.state.key
        watching = self._watch(run, driver, self._stored.ends.generation)
        self._tasks[run] = asyncio.create_task(watching, name=f"run {run.run_id}")

    async def revive(self, run: RunKey, wake: Wake | None = None) -> RunDriver | RunState:
        """Brings a parked run back to life; two who ask at once get one driver. Of a run that has ended its state.

        Raises RUN_HELD, DRAINING and what the journal says. What `wake` lets the run send is read before
        anything is written down.
        """
        hold = self._held.of(run)
        if hold is not None:
            raise run_held(run, hold)
        while run not in self._drivers:
            loading = self._loading.get(run)
            if loading is None:
                loading = self._loading[run] = asyncio.create_task(self._load(run, wake))
            try:
                package, on_record = await asyncio.shield(loading)
            except BaseException:
                self._loaded(run, loading)
                raise
            # Else what was read may be old: a driver has been there since.
            if self._loaded(run, loading) and run not in self._drivers:
                return self._taken_up(package, on_record)
        return self._drivers[run]

    def _loaded(self, run: RunKey, loading: asyncio.Task[tuple[RuntimePackage, RunOnRecord]]) -> bool:
        """Forgets what was read of a run; False when somebody else has done so, and gone on from it."""
        if self._loading.get(run) is not loading:
            return False
        del self._loading[run]
        return True

    def _taken_up(self, package: RuntimePackage, on_record: RunOnRecord) -> RunDriver | RunState:
        if on_record.state.is_terminal:
            self.parking.drop(on_record.state.key)
            return on_record.state
        if self._draining:
            raise draining()
        driver = self.add(package, on_record)
        driver.submit(i.Recovered(at=self._ports.clock.now()))
        self.launch(driver)
        return driver

    async def drain(self) -> None:
        """Begins to stop: no run is revived any more, and drivers settle what must be settled."""
        self._draining = True
        for driver in self:
            driver.drain()  # before anybody else has a turn: what is left after it takes many
        await self.parking.waits.drain()
        await self._revivals.stop()

    async def _load(self, run: RunKey, wake: Wake | None) -> tuple[RuntimePackage, RunOnRecord]:
        tail = self._tails.of(run)
        loaded = await self._stored.load(run)
        package = await self._stored.package(run, loaded.state)
        on_record = RunOnRecord(self._ports, loaded, tail, settled=self._recovery.settled)
        waited = wake.effect if wake and wake.place else None
        sends = waited.call_id if isinstance(waited, e.AwaitExecutor | e.AwaitReconcile) else None
        await on_record.conversation.check(loaded.state, sends)
        return package, on_record

    def _wake(self, wake: Wake) -> None:
        """Takes what has ended a wait to the run's driver, or has one made."""
        driver = self._drivers.get(wake.run)
        if driver is not None and not driver.closed:
            driver.wake(wake)
        elif self._draining:
            wake.give_back()
        else:
            self._revivals.put(wake)

    async def _woken(self, wake: Wake) -> None:
        """Revives a run with what has ended its wait. The place goes back if the run does not get it."""
        is_handed_over = False
        try:
            while not is_handed_over:
                driver = self._drivers.get(wake.run) or await self.revive(wake.run, wake)
                if isinstance(driver, RunState):
                    return
                if driver.closed:
                    await self.gone(wake.run)
                else:
                    driver.wake(wake)
                    is_handed_over = True
        except Exception as error:  # noqa: BLE001 - nobody waits for this: the run says what became of it
            if self._may_try_again(wake.run, error):
                self._recovery.beside(self._try_again(wake.run))
        finally:
            if not is_handed_over:
                wake.give_back()

    async def _watch(self, run: RunKey, driver: RunDriver, begun_in: int) -> None:
        aftermath = Aftermath()
        try:
            await driver.run()
            if driver.state.is_terminal:
                self._stored.ends.put(run, driver.on_record.stored, begun_in)
                self._failed.failures.forget(run)
        except ExceptionGroup as group:
            # The run stays registered meanwhile: whoever wants something of it waits for this task.
            aftermath = await self._failed.aftermath(driver, group)
        finally:
            if self._drivers.get(run) is driver:
                del self._drivers[run]
                self._tasks.pop(run, None)
                is_open = driver.state.seq and not driver.state.is_terminal and aftermath.ended is None
                if is_open and run not in self._held:
                    self.parking.add(driver.state)
            self._tails.of(run).wake()  # what readers saw of the driver may have been old
            self._recovery.left()
        if aftermath.is_read_anew and not self._draining:
            self._recovery.beside(self._try_again(run))

    async def _try_again(self, run: RunKey) -> None:
        """Reads a run anew, at once after its first failure and later each time."""
        while True:
            await self._failed.failures.pause(run)
            try:
                if run not in self._drivers and run not in self._held:
                    await self.revive(run)
                return
            except Exception as error:  # noqa: BLE001 - nobody waits for this task: the run says what became of it
                if not self._may_try_again(run, error):
                    return

    def _may_try_again(self, run: RunKey, error: Exception) -> bool:
        """True when the run is to be read again after a while. Else it is held, or left to the next start."""
        if self._draining or run in self._held:
            return False
        if self._failed.may_try_again(run, error):
            return True
        self._failed.hold(run, error)
        return False
