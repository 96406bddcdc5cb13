"""Runs that the server does not drive: which, why, and how lists show them."""

from __future__ import annotations

from collections.abc import Mapping

from runwright.core.audit import AuditEntry, AuditKind
from runwright.core.condition import HoldCause, RunHold
from runwright.core.errors import AgentError, ErrorReason, Failure
from runwright.core.ids import Namespace, RunKey
from runwright.core.outcomes import RunStatus
from runwright.core.quarantine import Suspect
from runwright.core.state import RunState
from runwright.runtime.ports import Ports

INTERNAL = "The server failed to go on with the run; its log holds the incident."


class HeldRuns:
    """Each is held until it is released, cancelled or removed, or until the next start, which tries again.

    Only a quarantine outlives a start.
    """

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._holds: dict[RunKey, RunHold] = {}
        self._intact: dict[RunKey, tuple[RunState, int]] = {}

    def __len__(self) -> int:
        return len(self._holds)

    def __contains__(self, run: object) -> bool:
        return run in self._holds

    def of(self, run: RunKey) -> RunHold | None:
        """Why the run is held; None when it is not."""
        return self._holds.get(run)

    def statuses(self, namespace: Namespace) -> Mapping[str, RunStatus]:
        """The held runs of a namespace, by id."""
        return {run.run_id: RunStatus.HELD for run in self._holds if run.namespace == namespace}

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
        """Holds the run. What is not an error of ours is told as an incident; the log has it whole."""
        incident = incident or self._ports.ids.incident_id()
        self._holds[run] = RunHold(cause, _failure(error, incident), since or self._ports.clock.now())
        self._ports.log.error(
            "run is held", error, run_id=run.run_id, trace_id=trace_id, incident_id=incident, cause=cause.name
        )
        kind, reason = AuditKind.RUN_HELD, self._holds[run].failure.reason.name
        self._ports.audit.note(
            AuditEntry(kind=kind, namespace=run.namespace, reason=reason, subjects=(run.run_id, cause.name))
        )

    def quarantine(self, suspect: Suspect) -> None:
        """Holds a run that seems to end the server, without reading it."""
        run, cause = suspect.run, HoldCause.QUARANTINED
        message = f"The server ended {suspect.tries} times while it took run {run.run_id} up, and not with the others."
        error = AgentError(ErrorReason.RUN_HELD, message, metadata={"run_id": run.run_id, "cause": cause.name})
        self.hold(run, cause, error, since=suspect.quarantined_at)

    def drop(self, run: RunKey) -> None:
        """It is held no longer, if it was."""
        if self._holds.pop(run, None) is not None:
            self._intact.pop(run, None)

    async def intact(self, run: RunKey) -> tuple[RunState, int] | None:
        """What the intact events of a run say that cannot be read as a whole, and the position of the last of them."""
        known = self._intact.get(run)
        if known is None:
            known = await self._ports.journal.intact(run)
            if known is not None and run in self._holds:
                self._intact[run] = known
        return known


def _failure(error: BaseException, incident: str) -> Failure:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, AgentError) and error.reason is not ErrorReason.INTERNAL:
        return Failure.of(error)
    return Failure(ErrorReason.INTERNAL, INTERNAL, (("incident_id", incident),))
