"""The supervisor: what callers and a start of the server ask of runs, whether they are live, parked or held."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from functools import partial
from typing import TypeVar

from runwright.core import inputs as i
from runwright.core.condition import DRIVEN, Condition, HoldCause, RunHold, run_held
from runwright.core.errors import AgentError, ErrorReason, Failure
from runwright.core.ids import Namespace, RunKey
from runwright.core.machine import pending, status
from runwright.core.outcomes import RunPhase, RunStatus
from runwright.core.package import RuntimePackage
from runwright.core.quarantine import Suspect
from runwright.core.records import Record
from runwright.core.state import RunState
from runwright.core.units import Micros
from runwright.ports.journal import LoadedRun
from runwright.runtime.ports import Ports
from runwright.runtime.runs.drain_log import gives_up, waits
from runwright.runtime.runs.driver import RunDriver
from runwright.runtime.runs.failed_drivers import FailedDrivers
from runwright.runtime.runs.held import HeldRuns
from runwright.runtime.runs.live_runs import LiveRuns
from runwright.runtime.runs.live_text import LiveTexts
from runwright.runtime.runs.pending_ages import PendingApprovals
from runwright.runtime.runs.recovery import Recovery
from runwright.runtime.runs.refusals import draining
from runwright.runtime.runs.run_on_record import RunOnRecord
from runwright.runtime.runs.run_statistics import count
from runwright.runtime.runs.stored_runs import StoredRuns, asks_model, cause_of, is_of, taken
from runwright.runtime.runs.tail import Tails
from runwright.runtime.waiting import comes_before

_REFUSALS = (ErrorReason.JOURNAL_FULL, ErrorReason.JOURNAL_BUSY, ErrorReason.JOURNAL_CORRUPT)
T = TypeVar("T")
CANCEL_US = 5_000_000
READ_AT_ONCE = 256  # runs, while recovering


class Supervisor:
    """Knows of every open run: one that is driven has a driver, one that only waits is parked, the others are held."""

    def __init__(self, ports: Ports, tails: Tails, texts: LiveTexts) -> None:
        self._ports = ports
        self._tails = tails
        self.refused: ErrorReason | None = None  # why the journal did not take what stood for itself
        self.draining = False
        self.stored = StoredRuns(ports.journal)
        self.held = HeldRuns(ports)
        self._failed = FailedDrivers(ports, self.stored, tails, self)
        self._recovery = Recovery(ports, self)
        self._live = LiveRuns(
            ports, tails, texts, stored=self.stored, held=self.held, failed=self._failed, recovery=self._recovery
        )
        self._parking = self._live.parking

    @property
    def open_runs(self) -> int:
        """How many runs have started and not ended."""
        # A driver leaves a moment after the end of its run is durable.
        live = sum(not driver.state.is_terminal for driver in self._live)
        return live + len(self._parking.runs) + len(self.held) + len(self._recovery.later - self._live.keys)

    @property
    def blocked_by(self) -> ErrorReason | None:
        """Why the journal takes no writes at the moment; None when it does."""
        waits = (driver.on_record.blocked_by for driver in self._live if driver.on_record.blocked_by)
        return self.refused or self._recovery.refused or next(waits, None)

    def statistics(self) -> tuple[dict[str, int], int]:
        """Open runs by status, and how many calls are unknown; callable on any thread."""
        live = [driver.state for driver in self._live]
        return count(live, self._parking.runs.run_statuses, len(self.held), len(self._recovery.later))

    def pending_approvals(self, now: Micros) -> PendingApprovals:
        """What somebody could decide on in open runs that are not held, by age; callable on any thread."""
        return self._parking.waits.approvals.at(now)

    def condition(self, run: RunKey) -> Condition:
        """What keeps the run from going on, beside its own state."""
        hold, driver = self.held.of(run), self._live.get(run)
        adapter = driver.missing_provider if driver else self._parking.missing.get(run, "")
        unused = self._parking.waits.unused(run)
        return Condition(hold, adapter, unused) if hold or adapter or unused else DRIVEN

    def statuses(self, namespace: Namespace) -> dict[str, RunStatus]:
        """The runs of a namespace that do not stand as the journal alone would say, by id."""
        asking = [driver.state.key for driver in self._live if driver.missing_provider]
        waiting = [run.run_id for run in (*self._parking.missing, *asking) if run.namespace == namespace]
        return {**dict.fromkeys(waiting, RunStatus.WAITING), **self.held.statuses(namespace)}

    async def start(self, run: RunKey, package: RuntimePackage, input_: i.StartRequested) -> RunState:
        """Starts a run and returns its state once it is durable.

        Raises JOURNAL_CONFLICT when the run exists, DRAINING when the server is
        stopping, and the journal's own errors.
        """
        self.refuse_when_draining()
        if run in self._live:
            raise taken(run)
        on_record = RunOnRecord(self._ports, LoadedRun(RunState(key=run), 0), self._tails.of(run))
        driver = self._live.add(package, on_record)
        await self.noted(driver.begin(input_, partial(self._live.launch, driver)))
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
            driver = self._live.get(run) or await self._revived(run)
            if isinstance(driver, RunState):
                return [], driver
            if not driver.closed and (made_true := await driver.submit(input_)) is not None:
                return made_true, driver.state
            if driver.state.is_terminal:
                return [], driver.state
            await self._live.gone(run)  # it parks, or has failed: what comes now finds what is left of the run

    async def state(self, run: RunKey) -> tuple[RunState, int] | None:
        """A run as it stands, with the position of its last event; None when there is no such run.

        Of a run that cannot be read, which is held from then on: what its intact events say.
        """
        while driver := self._live.get(run):
            if driver.state.seq:
                return driver.state, driver.on_record.position
            if not driver.closed:
                await driver.on_record.begun.notified()
            if driver.state.seq == 0 and run in self._live:
                await self._live.gone(run)
        try:
            return await self._as_stored(run)
        except AgentError as error:
            if not is_of(error, run):
                raise
            self.hold(run, HoldCause.UNREADABLE, error)
            return await self.held.intact(run)

    async def _as_stored(self, run: RunKey) -> tuple[RunState, int] | None:
        hold = self.held.of(run)
        if hold is not None and hold.cause is HoldCause.UNREADABLE:
            return await self.held.intact(run)
        found = await self.stored.look_up(run)
        return (found.state, found.last_position) if found else None

    def forget(self, run: RunKey) -> None:
        """Says that the run was removed: only the journal can tell what is left of it."""
        self.stored.ends.drop(run)

    async def recover(self) -> int:
        """Takes up every open run of the journal. One that cannot be is held; the others go on."""
        return await self._recovery.begin()

    async def take_up(self, runs: Sequence[RunKey]) -> None:
        """Drives every run that has something to do, parks the others, and holds those that cannot be read."""
        batches = [runs[first : first + READ_AT_ONCE] for first in range(0, len(runs), READ_AT_ONCE)]
        reading = [asyncio.create_task(self.stored.load_many(batch)) for batch in batches[:1]]
        try:
            for number, batch in enumerate(batches, start=1):
                read = await reading.pop()
                # The next ones are read while these are taken up.
                reading += [asyncio.create_task(self.stored.load_many(more)) for more in batches[number : number + 1]]
                for run, loaded in zip(batch, read, strict=True):
                    await self._take_up(run, loaded)
        finally:
            for task in reading:
                task.cancel()

    async def _take_up(self, run: RunKey, loaded: LoadedRun | AgentError) -> None:
        try:
            if isinstance(loaded, AgentError):
                raise loaded
            state = loaded.state
            if state.is_terminal or self._is_taken_up(run):
                return  # listed as open by what is damaged only, or taken up already
            missing = ""
            if asks_model(state):
                missing = await self.stored.missing_provider(run, state, self._ports.providers)
                if self._is_taken_up(run):
                    return  # somebody was faster, while it was read
            if missing:
                self._parking.add_without(state, missing)
            else:
                wanted = pending(state).values()
                waits = [effect for effect in wanted if effect.parks]
                if len(waits) < len(wanted) or state.phase is RunPhase.CANCELLING:
                    await self._live.revive(run)
                    return
                package = self.stored.known_package(state)
                if package is None:
                    package = await self.stored.package(run, state)
                    if self._is_taken_up(run):
                        return
                self._parking.add_stored(state, waits, package)
            self._recovery.settled(run)
        except Exception as error:  # noqa: BLE001 - one poisoned run must not keep the others down
            if run not in self.held and not self.draining:
                self.hold(run, cause_of(error, run), error)

    def _is_taken_up(self, run: RunKey) -> bool:
        """True when what a start has read of a run may be old: it has a driver, is parked, or has ended meanwhile."""
        return run in self._live or run in self._parking.runs or self.stored.ends.get(run) is not None

    def quarantine(self, suspect: Suspect) -> None:
        """Holds a run that seems to end the server, without reading it."""
        self.held.quarantine(suspect)

    def is_under_way(self, run: RunKey) -> bool:
        """True while a driver has something to do for the run other than to wait."""
        driver = self._live.get(run)
        return driver is not None and status(driver.state) is not RunStatus.WAITING and not driver.missing_provider

    async def let_go(self, run: RunKey, *, is_over: bool = False) -> None:
        """Holds a run no longer; nothing speaks against it any more. Whoever waits for it looks again.

        `is_over`: it has ended or is removed, and that stands whatever the journal takes now. Of what is not open
        the next start counts nothing.
        """
        try:
            await self._recovery.release(run)
        except AgentError as error:
            if not is_over:
                raise
            self._ports.log.warning(
                "the count of a run that is over stays", run_id=run.run_id, reason=error.reason.name
            )
        self.held.drop(run)
        self._failed.failures.forget(run)
        self._tails.of(run).wake()

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
        self._parking.drop(run)
        self.held.hold(run, cause, error, incident=incident, trace_id=trace_id, since=since)
        self._tails.of(run).wake()

    async def drain(self, grace_us: int) -> bool:
        """Stops every driver. Waits up to the grace for open calls that must not be repeated.

        Returns False when some of them were still open: they will need repair.
        """
        self.draining = True
        await self._live.drain()
        await self._recovery.stop()
        clock = self._ports.clock
        if beginning := [first for driver in self._live if (first := driver.on_record.first) is not None]:
            await comes_before(asyncio.wait(beginning), clock, clock.now() + grace_us)
        if not (tasks := self._live.tasks):
            return True
        waits(self._ports.log, self._live, grace_us)
        try:
            return await comes_before(asyncio.wait(tasks), clock, clock.now() + grace_us)
        finally:
            gives_up(self._ports.log, self._live)
            for task in tasks:
                task.cancel()
            # Bounded: an adapter that swallows its cancel must not keep the server from stopping.
            await comes_before(asyncio.wait(tasks), clock, clock.now() + CANCEL_US)

    async def close(self) -> None:
        """Says that the server ends cleanly."""
        self._parking.waits.close()
        await self._recovery.stop()
        await self._recovery.end()

    def refuse_when_draining(self) -> None:
        """Raises DRAINING once the server is stopping."""
        if self.draining:
            raise draining()

    async def _revived(self, run: RunKey) -> RunDriver | RunState:
        """A driver of the run; one that turns out not to be readable is held from then on."""
        try:
            return await self._live.revive(run)
        except AgentError as error:
            if not is_of(error, run):
                raise
            self.hold(run, HoldCause.UNREADABLE, error)
            raise run_held(run, RunHold(HoldCause.UNREADABLE, Failure.of(error), 0)) from error
