"""The supervisor: one driver per live run, recovery at boot, drain at the end."""

from __future__ import annotations

import asyncio

from runwright.core import inputs as i
from runwright.core.errors import AgentError, ErrorReason, Failure
from runwright.core.ids import RunKey
from runwright.core.machine import pending
from runwright.core.package import RuntimePackage
from runwright.core.records import Record
from runwright.core.state import RunState, fold
from runwright.runtime.census import ParkedRuns, count
from runwright.runtime.conversation import Conversation
from runwright.runtime.driver import RunDriver, draining
from runwright.runtime.kept import Kept
from runwright.runtime.live_text import LiveTexts
from runwright.runtime.tail import Tails
from runwright.runtime.waiting import comes_before
from runwright.runtime.world import World

# The journal goes on; only this driver's view of it was wrong.
_READ_ANEW = (ErrorReason.JOURNAL_CONFLICT, ErrorReason.JOURNAL_FULL, ErrorReason.JOURNAL_BUSY)


CANCEL_US = 5_000_000
KEPT_ENDS = 1024
READ_AT_ONCE = 64  # runs, while recovering


class Supervisor:
    """Owns the drivers of all live runs. A parked run has none: it is an entry in a set."""

    def __init__(self, world: World, tails: Tails, texts: LiveTexts) -> None:
        self._world = world
        self._tails = tails
        self._texts = texts
        self._drivers: dict[RunKey, RunDriver] = {}
        self._tasks: dict[RunKey, asyncio.Task[None]] = {}
        self._reviving: dict[RunKey, asyncio.Task[RunDriver]] = {}
        self._packages: dict[str, RuntimePackage] = {}
        self._ended: Kept[RunKey, tuple[RunState, int]] = Kept(KEPT_ENDS)  # nothing follows an end, so it stays true
        self.parked = ParkedRuns()
        self.stuck: dict[RunKey, str] = {}  # runs whose failure could not be written, with the incident
        self.draining = False

    @property
    def open_runs(self) -> int:
        """How many runs have started and not ended."""
        # A driver leaves a moment after the end of its run is durable.
        live = sum(not driver.state.is_terminal for driver in list(self._drivers.values()))
        return live + len(self.parked) + len(self.stuck)

    @property
    def blocked_by(self) -> ErrorReason | None:
        """Why the journal takes no writes at the moment; None when it does."""
        return next((driver.blocked_by for driver in list(self._drivers.values()) if driver.blocked_by), None)

    def census(self) -> tuple[dict[str, int], int]:
        """Open runs by status, and how many calls are unknown; callable on any thread."""
        live = [driver.state for driver in list(self._drivers.values())]
        return count(live, self.parked.standings, len(self.stuck))

    def driver(self, run: RunKey) -> RunDriver | None:
        """The driver of a live run."""
        return self._drivers.get(run)

    async def start(self, run: RunKey, package: RuntimePackage, given: i.StartRequested) -> RunState:
        """Starts a run and returns its state once it is durable.

        Raises JOURNAL_CONFLICT when the run exists, DRAINING when the server is
        stopping, and the journal's own errors.
        """
        self.refuse_when_draining()
        driver = self._drivers.get(run)
        if driver is not None:
            raise _taken(run)
        tail = self._tails.of(run)
        conversation = Conversation(self._world.journal, self._world.memory, run)
        driver = RunDriver(self._world, package, RunState(key=run), conversation, tail, texts=self._texts)
        tail.covers_from(0)
        answer = self._launch(run, driver, given)
        await answer
        return driver.state

    async def submit(self, run: RunKey, given: i.Input) -> tuple[list[Record], RunState]:
        """Hands an input to a run, parked or live, and returns what it made true. Raises RUN_NOT_FOUND."""
        self.refuse_when_draining()
        while True:
            driver = self._drivers.get(run) or await self._revive(run)
            if not driver.closed:
                return await driver.submit(given), driver.state
            if driver.state.is_terminal:
                return [], driver.state
            await asyncio.wait({self._tasks[run]})  # it is parking: what comes now revives it

    async def state(self, run: RunKey) -> tuple[RunState, int] | None:
        """A run as it stands, with the position of its last event; None when there is no such run."""
        while driver := self._drivers.get(run):
            if driver.state.seq:
                return driver.state, driver.last_position
            if not driver.closed:
                await asyncio.wait({driver.begun.next()})
            if driver.state.seq == 0 and run in self._drivers:
                await asyncio.wait({self._tasks[run]})
        if ended := self._ended.get(run):
            return ended
        # Two questions make one answer only if the run did not move between them.
        position = await self._world.journal.last_position(run)
        while position:
            state = await self._folded(run)
            before, position = position, await self._world.journal.last_position(run)
            if position == before:
                if state.is_terminal:
                    self._ended.put(run, (state, position))
                return state, position
        return None

    def forget(self, run: RunKey) -> None:
        """Says that the run was removed: only the journal can tell what is left of it."""
        self._ended.drop(run)

    async def recover(self) -> int:
        """Takes up every open run of the journal. One that cannot be is listed as stuck; the others go on."""
        runs = await self._world.journal.open_runs()
        for first in range(0, len(runs), READ_AT_ONCE):
            together = runs[first : first + READ_AT_ONCE]
            states = await asyncio.gather(*map(self._folded, together), return_exceptions=True)
            for run, state in zip(together, states, strict=True):
                await self._take_up(run, state)
        return len(runs)

    async def _take_up(self, run: RunKey, state: RunState | BaseException) -> None:
        try:
            if isinstance(state, BaseException):
                raise state
            if pending(state):
                await self._revive(run)
            else:
                self.parked.add(run, state)  # costs an entry in a set until somebody asks for it
        except Exception as error:  # noqa: BLE001 - one poisoned run must not keep the others down
            self._note_stuck(run, error)

    async def drain(self, grace_us: int) -> bool:
        """Stops every driver. Waits up to the grace for open calls that must not be repeated.

        Returns False when some of them were still open: they will need repair.
        """
        self.draining = True
        for driver in self._drivers.values():
            driver.drain()
        tasks = set(self._tasks.values())
        clock = self._world.clock
        if not tasks:
            return True
        try:
            return await comes_before(_all(tasks), clock, clock.now() + grace_us)
        finally:
            for task in tasks:
                task.cancel()
            # Bounded: an adapter that swallows its cancel must not keep the server from stopping.
            await comes_before(_all(tasks), clock, clock.now() + CANCEL_US)

    def refuse_when_draining(self) -> None:
        """Raises DRAINING once the server is stopping."""
        if self.draining:
            raise draining()

    def _launch(self, run: RunKey, driver: RunDriver, given: i.Input) -> asyncio.Future[list[Record]]:
        answer = driver.submit(given)
        self._drivers[run] = driver
        self.parked.discard(run)
        self.stuck.pop(run, None)
        self._tasks[run] = asyncio.create_task(self._watch(run, driver), name=f"run {run.run_id}")
        return answer

    async def _revive(self, run: RunKey) -> RunDriver:
        """Brings a parked run back to life; two who ask at once get one driver."""
        reviving = self._reviving.get(run)
        if reviving is None:
            reviving = self._reviving[run] = asyncio.create_task(self._load(run))
            reviving.add_done_callback(lambda _: self._reviving.pop(run, None))
        driver = await asyncio.shield(reviving)
        if run in self._drivers:
            return self._drivers[run]
        if not driver.state.is_terminal and not driver.closed:
            self._launch(run, driver, i.Recovered(at=self._world.clock.now()))
        else:
            driver.closed = True
            self.parked.discard(run)
        return driver

    async def _load(self, run: RunKey) -> RunDriver:
        tail = self._tails.of(run)
        state = await self._folded(run)
        package = await self._pinned(run, state)
        conversation = Conversation(self._world.journal, self._world.memory, run, is_stored=True)
        driver = RunDriver(self._world, package, state, conversation, tail, texts=self._texts)
        driver.last_position = await self._world.journal.last_position(run)
        tail.covers_from(driver.last_position)
        return driver

    async def _folded(self, run: RunKey) -> RunState:
        snapshot, records = await self._world.journal.tail(run)
        if snapshot is None and not records:
            raise not_found(run)
        return fold(snapshot or RunState(key=run), records)

    async def _pinned(self, run: RunKey, state: RunState) -> RuntimePackage:
        """The package the run was started with, from the journal: never the file given at this start."""
        known = self._packages.get(state.package_fingerprint)
        if known is None:
            assert state.package is not None, "a started run has a package"
            stored = await self._world.journal.content(run, [state.package.digest])
            known = RuntimePackage.model_validate_json(stored[state.package.digest])
            self._packages[state.package_fingerprint] = known
        return known

    async def _watch(self, run: RunKey, driver: RunDriver) -> None:
        read_anew = False
        try:
            await driver.run()
            if driver.state.is_terminal:
                self._ended.put(run, (driver.state, driver.last_position))
        except ExceptionGroup as group:
            # The run stays registered meanwhile: whoever wants something of it waits for this task.
            read_anew = await self._after_failure(run, driver, group)
        finally:
            if self._drivers.get(run) is driver:
                del self._drivers[run]
                self._tasks.pop(run, None)
                if driver.state.seq and not driver.state.is_terminal and run not in self.stuck:
                    self.parked.add(run, driver.state)
            self._tails.of(run).wake()  # what readers saw of the driver may have been old
        if read_anew and not self.draining:
            await self._revive(run)

    async def _after_failure(self, run: RunKey, driver: RunDriver, failure: ExceptionGroup[Exception]) -> bool:
        """A driver broke. Its memory is not trusted any more: what counts is in the journal.

        Returns True when the run only has to be read anew.
        """
        self._tails.of(run).forget()
        incident = driver.incident or self._world.ids.incident_id()
        reasons = [error.reason if isinstance(error, AgentError) else None for error in failure.exceptions]
        ours = any(reason in (None, ErrorReason.INTERNAL) for reason in reasons)
        if ours:
            self._world.log.error(
                "fault of the server in a run",
                failure,
                run_id=run.run_id,
                trace_id=driver.state.trace_id,
                incident_id=incident,
            )
        try:
            if await self._world.journal.last_position(run) == 0:
                return False  # the run never began: its caller was told, and nothing is on disk
            if ours:
                await self._end(run, driver, incident)
                return False
            if all(reason in _READ_ANEW for reason in reasons):
                self._world.log.error("reading a run anew", failure, run_id=run.run_id, trace_id=driver.state.trace_id)
                return True
            self._note_stuck(run, failure, incident, driver.state)
        except Exception as second:  # noqa: BLE001 - listed as stuck, with both faults in the log
            self._note_stuck(run, second, incident, driver.state)
        return False

    async def _end(self, run: RunKey, broken: RunDriver, incident: str) -> None:
        """Ends a run that met a fault of ours, without asking the machine what it had planned."""
        told = "The server failed to go on with the run; its log holds the incident."
        failure = Failure(ErrorReason.INTERNAL, told, (("incident_id", incident),))
        fresh = await self._load(run)
        if not fresh.state.is_terminal:
            await fresh.abandon(failure)
        broken.state, broken.last_position = fresh.state, fresh.last_position

    def _note_stuck(
        self, run: RunKey, error: BaseException, incident: str | None = None, state: RunState | None = None
    ) -> None:
        incident = incident or self._world.ids.incident_id()
        self.parked.discard(run)
        self.stuck[run] = incident
        trace = state.trace_id if state else ""  # of a run that could not be read nothing is known
        self._world.log.error("run is stuck", error, run_id=run.run_id, trace_id=trace, incident_id=incident)


async def _all(tasks: set[asyncio.Task[None]]) -> None:
    await asyncio.wait(tasks)


def not_found(run: RunKey) -> AgentError:
    """There is no such run, or it is another namespace's: the answer is the same."""
    return AgentError(ErrorReason.RUN_NOT_FOUND, f"There is no run {run.run_id}.", metadata={"run_id": run.run_id})


def removed(run: RunKey) -> AgentError:
    """The run has been, and only its outline is left."""
    told = f"The events of run {run.run_id} were removed: they were older than the retention."
    return AgentError(ErrorReason.RUN_REMOVED, told, metadata={"run_id": run.run_id})


def _taken(run: RunKey) -> AgentError:
    return AgentError(
        ErrorReason.JOURNAL_CONFLICT, "The run was started by another call.", metadata={"run_id": run.run_id}
    )
