"""Parking: the runs that have no driver because they only wait, or because nothing is wanted of the world for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from runwright.core import effects as e
from runwright.core.ids import RunKey
from runwright.core.package import RuntimePackage
from runwright.core.state import RunState
from runwright.runtime.ports import Ports
from runwright.runtime.runs.run_statistics import ParkedRuns
from runwright.runtime.runs.waits import Waits, Wake


class Parking:
    """Each costs its entries here: no task, no driver and nothing of what it has said.

    `missing` are runs that have to ask a provider that is not configured: they
    wait for another start of the server, and here for nothing.
    """

    def __init__(self, ports: Ports, wake: Callable[[Wake], None]) -> None:
        self.waits = Waits(ports, wake)
        self.runs = ParkedRuns()
        self.missing: dict[RunKey, str] = {}

    def add(self, state: RunState) -> None:
        """Parks a run that a driver leaves with its waits."""
        self.runs.add(state.key, state)

    def add_stored(self, state: RunState, wanted: Iterable[e.ParkingEffect], package: RuntimePackage) -> None:
        """Parks a run straight from its snapshot row: nothing is under way, so nothing has to be settled before."""
        self.runs.add(state.key, state)
        for effect in wanted:
            self.waits.enter(state, effect, package)

    def add_without(self, state: RunState, adapter: str) -> None:
        """Parks a run that has to ask a provider that is not configured."""
        self.runs.add(state.key, state)
        self.missing[state.key] = adapter

    def leave(self, run: RunKey) -> None:
        """A driver takes the run over, with its waits."""
        self.runs.discard(run)
        self.missing.pop(run, None)

    def drop(self, run: RunKey) -> None:
        """Nobody waits for anything on behalf of the run any more."""
        self.leave(run)
        self.waits.drop(run)
