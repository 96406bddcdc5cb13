"""The supervisor: one driver per live run, and what becomes of a run whose driver fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from functools import partial
from typing import TypeVar

from runwright.core import inputs as i
from runwright.core.apply import fold
from runwright.core.condition import DRIVEN, Condition, Hold, HoldCause, run_held
from runwright.core.errors import AgentError, ErrorReason, Failure
from runwright.core.ids import Namespace, RunKey
from runwright.core.machine import abandon, pending, status
from runwright.core.outcomes import RunStatus
from runwright.core.package import RuntimePackage
from runwright.core.quarantine import Suspect
from runwright.core.records import Record
from runwright.core.state import RunState
from runwright.ports.journal import LoadedRun
from runwright.runtime.lru_cache import LruCache
from runwright.runtime.ports import Ports
from runwright.runtime.runs.drain_log import gives_up, waits
from runwright.runtime.runs.driver import RunDriver
from runwright.runtime.runs.failures import Failures
from runwright.runtime.runs.held import INTERNAL, HeldRuns
from runwright.runtime.runs.live_text import LiveTexts
from runwright.runtime.runs.recovery import Recovery
from runwright.runtime.runs.refusals import draining
from runwright.runtime.runs.run_statistics import ParkedRuns, count
from runwright.runtime.runs.stored_runs import StoredRuns, cause_of, causes, is_of, taken
from runwright.runtime.runs.tail import Tails
from runwright.runtime.waiting import comes_before

# The journal goes on; only this driver's view of it was wrong.
_READ_ANEW = (ErrorReason.JOURNAL_CONFLICT, ErrorReason.JOURNAL_FULL, ErrorReason.JOURNAL_BUSY)
_REFUSALS = (ErrorReason.JOURNAL_FULL, ErrorReason.JOURNAL_BUSY, ErrorReason.JOURNAL_CORRUPT)
T = TypeVar("T")
CANCEL_US = 5_000_000
CACHED_ENDS = 1024
READ_AT_ONCE = 256  # runs, while recovering


class Supervisor:
    """Owns the drivers of all live runs. A parked run has none: it is an entry in a set."""

    def __init__(self, ports: Ports, tails: Tails, texts: LiveTexts) -> None:
        self._ports = ports
        self._tails = tails
        self._texts = texts
        self._drivers: dict[RunKey, RunDriver] = {}
        self._tasks: dict[RunKey, asyncio.Task[None]] = {}
        self._reviving: dict[RunKey, asyncio.Task[RunDriver]] = {}
        self.stored = StoredRuns(ports.journal)
        self._ended: LruCache[RunKey, tuple[RunState, int]] = LruCache(
            CACHED_ENDS
        )  # nothing follows an end, so it stays true
        self._failures = Failures(ports.clock)
        self._missing: dict[RunKey, str] = {}  # parked runs that have to ask a provider that is not configured
        self.refused: ErrorReason | None = None  # why the journal did not take what stood for itself
        self._recovery = Recovery(ports, self)
        self.parked = ParkedRuns()
        self.held = HeldRuns(ports)
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
        waits = (driver.blocked_by for driver in list(self._drivers.values()) if driver.blocked_by)
        return self.refused or self._recovery.refused or next(waits, None)

    def statistics(self) -> tuple[dict[str, int], int]:
        """Open runs by status, and how many calls are unknown; callable on any thread."""
        live = [driver.state for driver in list(self._drivers.values())]
        return count(live, self.parked.run_statuses, len(self.held), len(self._recovery.later))

    def driver(self, run: RunKey) -> RunDriver | None:
        """The driver of a live run."""
        return self._drivers.get(run)

    def condition(self, run: RunKey) -> Condition:
        """What keeps the run from going on, beside its own state."""
        hold, driver = self.held.of(run), self._drivers.get(run)
        adapter = driver.missing_provider if driver else self._missing.get(run, "")
        return Condition(hold, adapter) if hold or adapter else DRIVEN

    def statuses(self, namespace: Namespace) -> dict[str, RunStatus]:
        """The runs of a namespace that do not stand as the journal alone would say, by id."""
        asking = [run for run, driver in self._drivers.items() if driver.missing_provider]
        waiting = [run.run_id for run in (*self._missing, *asking) if run.namespace == namespace]
        return {**dict.fromkeys(waiting, RunStatus.WAITING), **self.held.statuses(namespace)}

    async def start(self, run: RunKey, package: RuntimePackage, input_: i.StartRequested) -> RunState:
        """Starts a run and returns its state once it is durable.

        Raises JOURNAL_CONFLICT when the run exists, DRAINING when the server is
        stopping, and the journal's own errors.
        """
        self.refuse_when_draining()
        if run in self._drivers:
            raise taken(run)
        tail = self._tails.of(run)
        driver = RunDriver(self._ports, package, RunState(key=run), tail, texts=self._texts)
        tail.covers_from(0)
        self._register(run, driver)
        await self.noted(driver.begin(input_, partial(self._launch, run, driver)))
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

    async def submit(self, run: RunKey, input_: i.Input) -> tuple[list[Record], RunState]:
        """Hands an input to a run, parked or live, and returns what it made true. Raises RUN_NOT_FOUND, RUN_HELD."""
        self.refuse_when_draining()
        while True:
            driver = self._drivers.get(run) or await self._revived(run)
            if not driver.closed:
                return await driver.submit(input_), driver.state
            if driver.state.is_terminal:
                return [], driver.state
            await asyncio.wait({self._tasks[run]})  # it is parking: what comes now revives it

    async def state(self, run: RunKey) -> tuple[RunState, int] | None:
        """A run as it stands, with the position of its last event; None when there is no such run.

        Of a run that cannot be read, which is held from then on: what its intact events say.
        """
        while driver := self._drivers.get(run):
            if driver.state.seq:
                return driver.state, driver.last_position
            if not driver.closed:
                await driver.begun.notified()
            if driver.state.seq == 0 and run in self._drivers:
                await asyncio.wait({self._tasks[run]})
        if ended := self._ended.get(run):
            return ended
        read_generation = self._ended.generation  # the run may be removed while the journal is asked
        try:
            return await self._as_stored(run, read_generation)
        except AgentError as error:
            if not is_of(error, run):
                raise
            self.hold(run, HoldCause.UNREADABLE, error)
            return await self.held.intact(run)

    async def _as_stored(self, run: RunKey, read_generation: int) -> tuple[RunState, int] | None:
        hold = self.held.of(run)
        if hold is not None and hold.cause is HoldCause.UNREADABLE:
            return await self.held.intact(run)
        loaded = await self.stored.find(run)
        found = (loaded.state, loaded.last_position) if loaded else None
        if found and found[0].is_terminal:
            self._ended.put(run, found, read_generation)
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
            for run, loaded in zip(together, await self.stored.load_many(together), strict=True):
                await self._take_up(run, loaded)

    async def _take_up(self, run: RunKey, loaded: LoadedRun | AgentError) -> None:
        try:
            if isinstance(loaded, AgentError):
                raise loaded
            if (state := loaded.state).is_terminal:
                return  # listed as open by what is damaged only
            missing = await self.stored.missing_provider(run, state, self._ports.providers)
            if missing:
                self._missing[run] = missing
            if pending(state) and not missing:
                await self._revive(run)
            else:
                self.parked.add(run, state)  # costs an entry in a set until somebody asks for it
                self._recovery.settled(run)
        except Exception as error:  # noqa: BLE001 - one poisoned run must not keep the others down
            if run not in self.held:
                self.hold(run, cause_of(error, run), error)

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
        self._failures.forget(run)
        self._tails.of(run).wake()

    def ended(self, driver: RunDriver, begun_in: int | None = None) -> None:
        """Takes note of the end of a run whose driver began in that generation."""
        self._ended.put(driver.state.key, (driver.state, driver.last_position), begun_in)

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
        self.held.hold(run, cause, error, incident=incident, trace_id=trace_id, since=since)
        self._tails.of(run).wake()

    async def drain(self, grace_us: int) -> bool:
        """Stops every driver. Waits up to the grace for open calls that must not be repeated.

        Returns False when some of them were still open: they will need repair.
        """
        self.draining = True
        await self._recovery.stop()
        for driver in self._drivers.values():
            driver.drain()
        clock = self._ports.clock
        if beginning := [driver.first for driver in self._drivers.values() if driver.first is not None]:
            await comes_before(asyncio.wait(beginning), clock, clock.now() + grace_us)
        if not (tasks := set(self._tasks.values())):
            return True
        waits(self._ports.log, self._drivers.values(), grace_us)
        try:
            return await comes_before(asyncio.wait(tasks), clock, clock.now() + grace_us)
        finally:
            gives_up(self._ports.log, self._drivers.values())
            for task in tasks:
                task.cancel()
            # Bounded: an adapter that swallows its cancel must not keep the server from stopping.
            await comes_before(asyncio.wait(tasks), clock, clock.now() + CANCEL_US)

    async def close(self) -> None:
        """Says that the server ends cleanly."""
        await self._recovery.stop()
        await self._recovery.end()

    def refuse_when_draining(self) -> None:
        """Raises DRAINING once the server is stopping."""
        if self.draining:
            raise draining()

    def _register(self, run: RunKey, driver: RunDriver) -> None:
        self._drivers[run] = driver
        self.parked.discard(run)
        self._missing.pop(run, None)

    def _launch(self, run: RunKey, driver: RunDriver) -> None:
        watching = self._watch(run, driver, self._ended.generation)
        self._tasks[run] = asyncio.create_task(watching, name=f"run {run.run_id}")

    async def _revive(self, run: RunKey) -> RunDriver:
        """Brings a parked run back to life; two who ask at once get one driver. Raises RUN_HELD."""
        hold = self.held.of(run)
        if hold is not None:
            raise run_held(run, hold)
        reviving = self._reviving.get(run)
        if reviving is None:
            reviving = self._reviving[run] = asyncio.create_task(self._load(run))
            reviving.add_done_callback(lambda _: self._reviving.pop(run, None))
        driver = await asyncio.shield(reviving)
        if run in self._drivers:
            return self._drivers[run]
        if not driver.state.is_terminal and not driver.closed:
            driver.submit(i.Recovered(at=self._ports.clock.now()))
            self._register(run, driver)
            self._launch(run, driver)
        else:
            driver.closed = True
            self.parked.discard(run)
        return driver

    async def _revived(self, run: RunKey) -> RunDriver:
        """As `_revive`; a run that turns out not to be readable is held from then on."""
        try:
            return await self._revive(run)
        except AgentError as error:
            if not is_of(error, run):
                raise
            self.hold(run, HoldCause.UNREADABLE, error)
            raise run_held(run, Hold(HoldCause.UNREADABLE, Failure.of(error), 0)) from error

    async def _load(self, run: RunKey) -> RunDriver:
        tail = self._tails.of(run)
        loaded = await self.stored.load(run)
        package = await self.stored.package(run, state := loaded.state)
        driver = RunDriver(self._ports, package, state, tail, texts=self._texts, settled=self._recovery.settled)
        await driver.conversation.check(state)
        driver.last_position = loaded.last_position
        tail.covers_from(driver.last_position)
        return driver

    async def _watch(self, run: RunKey, driver: RunDriver, begun_in: int) -> None:
        read_anew = False
        try:
            await driver.run()
            if driver.state.is_terminal:
                self.ended(driver, begun_in)
                self._failures.forget(run)
        except ExceptionGroup as group:
            # The run stays registered meanwhile: whoever wants something of it waits for this task.
            read_anew = await self._after_failure(run, driver, group)
        finally:
            if self._drivers.get(run) is driver:
                del self._drivers[run]
                self._tasks.pop(run, None)
                if driver.state.seq and not driver.state.is_terminal and run not in self.held:
                    self.parked.add(run, driver.state)
            self._tails.of(run).wake()  # what readers saw of the driver may have been old
            self._recovery.left()
        if read_anew and not self.draining:
            self._recovery.beside(self._try_again(run))

    async def _after_failure(self, run: RunKey, driver: RunDriver, failure: ExceptionGroup[Exception]) -> bool:
        """A driver broke. Its memory is not trusted any more: what counts is in the journal.

        Returns True when the run only has to be read anew.
        """
        self._tails.of(run).forget()
        incident = driver.incident or self._ports.ids.incident_id()
        reasons = [error.reason if isinstance(error, AgentError) else None for error in failure.exceptions]
        ours = any(reason in (None, ErrorReason.INTERNAL) for reason in reasons)
        trace = driver.state.trace_id
        if ours:
            self._ports.log.error(
                "fault of the server in a run", failure, run_id=run.run_id, trace_id=trace, incident_id=incident
            )
        try:
            if await self.stored.find(run) is None:
                return False  # the run never began: its caller was told, and nothing is on disk
            if ours:
                await self._end(run, driver, incident)
                return False
            if all(reason in _READ_ANEW for reason in reasons) and self._failures.may_fail_again(run):
                self._ports.log.error("reading a run anew", failure, run_id=run.run_id, trace_id=trace)
                return True
            self._hold_failed(run, failure, incident, trace)
        except Exception as second:  # noqa: BLE001 - the run is held, with both faults in the log
            self._hold_failed(run, second, incident, trace)
        return False

    async def _end(self, run: RunKey, broken: RunDriver, incident: str) -> None:
        """Ends a run that met a fault of ours, without asking the machine what it had planned."""
        failure = Failure(ErrorReason.INTERNAL, INTERNAL, (("incident_id", incident),))
        loaded = await self.stored.load(run)
        package = await self.stored.package(run, state := loaded.state)
        fresh = RunDriver(self._ports, package, state, self._tails.of(run), texts=self._texts)
        fresh.last_position = loaded.last_position
        if not state.is_terminal:
            records = abandon(package, state, self._ports.clock.now(), failure)
            await fresh.close(records, fold(state, records))
        broken.state, broken.last_position = fresh.state, fresh.last_position

    async def _try_again(self, run: RunKey) -> None:
        """Reads a run anew, at once after its first failure and later each time."""
        await self._failures.pause(run)
        try:
            if run not in self._drivers and run not in self.held:
                await self._revive(run)
        except Exception as error:  # noqa: BLE001 - nobody waits for this task: the run says what became of it
            self._hold_failed(run, error, "", "")

    def _hold_failed(self, run: RunKey, error: Exception, incident: str, trace_id: str) -> None:
        cause = cause_of(error, run)
        reasons = [each.reason for each in causes(error) if isinstance(each, AgentError)]
        if cause is HoldCause.FAILING and ErrorReason.JOURNAL_CORRUPT in reasons:
            self.refused = ErrorReason.JOURNAL_CORRUPT  # of no run: the journal takes nothing any more
        self.hold(run, cause, error, incident=incident, trace_id=trace_id)
