"""The census: how runs stand and how far readers have got, for whoever watches the server as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Collection, Iterable
from typing import TYPE_CHECKING

from runwright.core.ids import RunKey
from runwright.core.machine import status
from runwright.core.outcomes import CallPhase, RunStatus
from runwright.core.state import RunState

if TYPE_CHECKING:
    from runwright.runtime.subscriptions import StreamItem

OPEN = (RunStatus.RUNNING, RunStatus.WAITING, RunStatus.CANCELLING, RunStatus.REPAIR_NEEDED)
HELD = RunStatus.HELD.name.lower()

Standing = tuple[RunStatus, int]  # a run's status and how many of its calls are unknown


def standing(state: RunState) -> Standing:
    """How a started run stands."""
    return status(state), sum(call.phase is CallPhase.UNKNOWN for call in state.calls)


class ParkedRuns:
    """Runs without a driver, of which nothing is wanted: each costs an entry here."""

    def __init__(self) -> None:
        self._runs: dict[RunKey, Standing] = {}
        self._shared: dict[Standing, Standing] = {}

    def add(self, run: RunKey, state: RunState) -> None:
        """Parks a run."""
        stands = standing(state)
        self._runs[run] = self._shared.setdefault(stands, stands)

    def discard(self, run: RunKey) -> None:
        """It is parked no longer, if it was."""
        self._runs.pop(run, None)

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def standings(self) -> list[Standing]:
        """How they stand; callable on any thread."""
        return list(self._runs.values())


def count(live: Iterable[RunState], parked: Iterable[Standing], held: int, later: int) -> tuple[dict[str, int], int]:
    """Open runs by status, every status named, and how many calls are unknown.

    `later` wait to be taken up, `held` are not driven: nothing is known of their calls.
    """
    standings = [*(standing(state) for state in live if state.seq and not state.is_terminal), *parked]
    found = Counter(stands for stands, _ in standings)
    runs = {each.name.lower(): found[each] for each in OPEN}
    runs["waiting"] += later
    return runs | {HELD: held}, sum(unknown for _, unknown in standings)


class Reader:
    """One open stream: what it took last, and whether more is being handed to it."""

    __slots__ = ("is_behind", "position")

    def __init__(self, position: int) -> None:
        self.position = position
        self.is_behind = False


class Readers:
    """The open streams."""

    def __init__(self) -> None:
        self._open: set[Reader] = set()

    def __len__(self) -> int:
        return len(self._open)

    async def follow(
        self, stream: AsyncGenerator[list[StreamItem], None], position: int, full: int
    ) -> AsyncGenerator[list[StreamItem], None]:
        """The stream, watched. A batch of `full` items means that there may be more."""
        reader = Reader(position)
        self._open.add(reader)
        try:
            async for batch in stream:
                reader.is_behind = True
                yield batch  # comes back when the batch has been sent
                last = next((item.position for item in reversed(batch) if item.event is not None), 0)
                reader.position = max(reader.position, last)
                reader.is_behind = len(batch) >= full
        finally:
            self._open.discard(reader)
            await stream.aclose()

    def lag(self, head: int) -> int:
        """Positions between the head and the reader that is furthest behind; callable on any thread."""
        return furthest(self._open.copy(), head)


def furthest(readers: Collection[Reader], head: int) -> int:
    """The greatest distance of a reader that has not been sent all there is."""
    return max((head - reader.position for reader in readers if reader.is_behind), default=0)
