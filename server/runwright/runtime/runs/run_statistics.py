"""Run statistics: open runs by status, for whoever watches the server as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from runwright.core.ids import RunKey
from runwright.core.machine import status
from runwright.core.outcomes import CallPhase, RunStatus
from runwright.core.state import RunState

OPEN = (RunStatus.RUNNING, RunStatus.WAITING, RunStatus.CANCELLING, RunStatus.REPAIR_NEEDED)
HELD = RunStatus.HELD.name.lower()

RunStanding = tuple[RunStatus, int]  # a run's status and how many of its calls are unknown


def status_of(state: RunState) -> RunStanding:
    """How a started run stands."""
    found = status(state)
    if found is RunStatus.WAITING:  # then none is unknown, and a start looks at thousands of runs
        return found, 0
    return found, sum(call.phase is CallPhase.UNKNOWN for call in state.calls)


class ParkedRuns:
    """Runs without a driver, of which nothing is wanted: each costs an entry here."""

    def __init__(self) -> None:
        self._runs: dict[RunKey, RunStanding] = {}
        self._shared: dict[RunStanding, RunStanding] = {}

    def add(self, run: RunKey, state: RunState) -> None:
        """Parks a run."""
        run_status = status_of(state)
        self._runs[run] = self._shared.setdefault(run_status, run_status)

    def discard(self, run: RunKey) -> None:
        """It is parked no longer, if it was."""
        self._runs.pop(run, None)

    def __contains__(self, run: object) -> bool:
        return run in self._runs

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def run_statuses(self) -> list[RunStanding]:
        """How they stand; callable on any thread."""
        return list(self._runs.values())


def count(live: Iterable[RunState], parked: Iterable[RunStanding], held: int, later: int) -> tuple[dict[str, int], int]:
    """Open runs by status, every status named, and how many calls are unknown.

    `later` wait to be taken up, `held` are not driven: nothing is known of their calls.
    """
    run_statuses = [*(status_of(state) for state in live if state.seq and not state.is_terminal), *parked]
    found = Counter(run_status for run_status, _ in run_statuses)
    runs = {each.name.lower(): found[each] for each in OPEN}
    runs["waiting"] += later
    return runs | {HELD: held}, sum(unknown for _, unknown in run_statuses)
