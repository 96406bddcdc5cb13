"""What becomes of a run whose driver has failed: it ends, it is read anew, or it is held."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from runwright.core.apply import fold
from runwright.core.condition import HoldCause
from runwright.core.errors import AgentError, ErrorReason, Failure
from runwright.core.ids import RunKey
from runwright.core.machine import abandon
from runwright.ports.journal import LoadedRun
from runwright.runtime.ports import Ports
from runwright.runtime.runs.driver import RunDriver
from runwright.runtime.runs.failures import Failures
from runwright.runtime.runs.held import INTERNAL
from runwright.runtime.runs.run_on_record import Change, RunOnRecord
from runwright.runtime.runs.stored_runs import StoredRuns, cause_of, causes
from runwright.runtime.runs.tail import Tails

# The journal goes on; only this driver's view of it was wrong.
_READ_ANEW = (ErrorReason.JOURNAL_CONFLICT, ErrorReason.JOURNAL_FULL, ErrorReason.JOURNAL_BUSY)


class Aftermath(Struct, frozen=True):
    """`ended` is the run, if it was brought to its end."""

    ended: LoadedRun | None = None
    is_read_anew: bool = False


class HoldsRuns(Protocol):
    """Holds runs; the supervisor."""

    def hold(
        self, run: RunKey, cause: HoldCause, error: BaseException, *, incident: str = "", trace_id: str = ""
    ) -> None:
        """Holds a run; whoever waits for it looks again."""

    def refuse(self, reason: ErrorReason) -> None:
        """Says that the journal takes nothing any more."""


class FailedDrivers:
    """Decides it, and counts failures so that none is met again and again without a pause."""

    def __init__(self, ports: Ports, stored: StoredRuns, tails: Tails, runs: HoldsRuns) -> None:
        self.failures = Failures(ports.clock)
        self._ports = ports
        self._stored = stored
        self._tails = tails
        self._runs = runs

    async def aftermath(self, driver: RunDriver, failure: ExceptionGroup[Exception]) -> Aftermath:
        """A driver broke. Its memory is not trusted any more: what counts is in the journal."""
        run, trace = driver.state.key, driver.state.trace_id
        self._tails.of(run).forget()
        incident = driver.incident or self._ports.ids.incident_id()
        reasons = [error.reason if isinstance(error, AgentError) else None for error in failure.exceptions]
        ours = any(reason in (None, ErrorReason.INTERNAL) for reason in reasons)
        if ours:
            self._ports.log.error(
                "fault of the server in a run", failure, run_id=run.run_id, trace_id=trace, incident_id=incident
            )
        try:
            if await self._stored.find(run) is None:
                return Aftermath()  # the run never began: its caller was told, and nothing is on disk
            if ours:
                return Aftermath(ended=await self._ended(run, incident))
            if self.may_try_again(run, failure, trace):
                return Aftermath(is_read_anew=True)
            self.hold(run, failure, incident, trace)
        except Exception as second:  # noqa: BLE001 - the run is held, with both faults in the log
            if driver.state.seq == 0:
                return Aftermath()  # its caller was told that nobody knows; a hold would meet whoever starts it again
            if self.may_try_again(run, second, trace):
                return Aftermath(is_read_anew=True)  # a full disk: the run waits for room where everybody sees it
            self.hold(run, second, incident, trace)
        return Aftermath()

    def may_try_again(self, run: RunKey, error: Exception, trace_id: str = "") -> bool:
        """True, and counted, for a failure that reading the run anew may mend, and that was not met too often."""
        reasons = [each.reason if isinstance(each, AgentError) else None for each in causes(error)]
        if not all(reason in _READ_ANEW for reason in reasons) or not self.failures.may_fail_again(run):
            return False
        self._ports.log.error("reading a run anew", error, run_id=run.run_id, trace_id=trace_id)
        return True

    def hold(self, run: RunKey, error: Exception, incident: str = "", trace_id: str = "") -> None:
        """Nothing else can be done with the run."""
        cause = cause_of(error, run)
        reasons = [each.reason for each in causes(error) if isinstance(each, AgentError)]
        if cause is HoldCause.FAILING and ErrorReason.JOURNAL_CORRUPT in reasons:
            self._runs.refuse(ErrorReason.JOURNAL_CORRUPT)  # of no run: the journal takes nothing any more
        self._runs.hold(run, cause, error, incident=incident, trace_id=trace_id)

    async def _ended(self, run: RunKey, incident: str) -> LoadedRun:
        """Ends a run that met a fault of ours, without asking the machine what it had planned."""
        failure = Failure(ErrorReason.INTERNAL, INTERNAL, (("incident_id", incident),))
        loaded = await self._stored.load(run)
        package = await self._stored.package(run, state := loaded.state)
        on_record = RunOnRecord(self._ports, loaded, self._tails.of(run))
        if not state.is_terminal:
            records = abandon(package, state, self._ports.clock.now(), failure)
            (await on_record.append(Change(records, fold(state, records)), holds_on=lambda: False)).or_raise()
        return on_record.stored
