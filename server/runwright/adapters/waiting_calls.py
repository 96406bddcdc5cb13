"""WaitingCalls: who waits for a place at an executor, in the order in which places are given."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable

from runwright.core.ids import Namespace, RunKey
from runwright.ports.tools import Place, PlaceRequest


class WaitingCall:
    """One call that waits. `came` counts those that came before it, whatever they wait for."""

    __slots__ = ("came", "place", "wanted")

    def __init__(self, wanted: PlaceRequest, came: int) -> None:
        self.wanted = wanted
        self.came = came
        self.place: asyncio.Future[Place] = asyncio.get_running_loop().create_future()


class _Queue:
    """Those that wait for one tool of one executor: runs take turns, and each run's calls keep their order."""

    def __init__(self) -> None:
        self._runs: OrderedDict[RunKey, deque[WaitingCall]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._runs)

    @property
    def first(self) -> WaitingCall:
        return next(iter(self._runs.values()))[0]

    def add(self, call: WaitingCall) -> None:
        self._runs.setdefault(call.wanted.run, deque()).append(call)

    def served(self) -> None:
        """Takes out the first, and lets every other run go before its next call."""
        run, calls = next(iter(self._runs.items()))
        calls.popleft()
        if calls:
            self._runs.move_to_end(run)
        else:
            del self._runs[run]

    def remove(self, call: WaitingCall) -> None:
        calls = self._runs.get(call.wanted.run)
        if calls is None or call not in calls:
            return
        calls.remove(call)
        if not calls:
            del self._runs[call.wanted.run]


class WaitingCalls:
    """Calls that wait for a place, by executor and tool. First come, first served; runs take turns.

    Of tools that share an executor the one goes first whose next call came first.
    """

    def __init__(self) -> None:
        self._executors: dict[str, dict[tuple[Namespace, str], _Queue]] = {}
        self._came = 0
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def executors(self) -> list[str]:
        """The names of the executors for which a call waits."""
        return list(self._executors)

    def has(self, executor: str) -> bool:
        """True when a call waits for the executor."""
        return executor in self._executors

    def waits(self, wanted: PlaceRequest) -> bool:
        """True when a call of that tool waits already: nobody overtakes it."""
        return (wanted.run.namespace, wanted.tool) in self._executors.get(wanted.executor, ())

    def join(self, wanted: PlaceRequest) -> WaitingCall:
        """Takes the call in, as the last; `served` is to be awaited at once."""
        self._came += 1
        self._waiting += 1
        call = WaitingCall(wanted, self._came)
        queues = self._executors.setdefault(wanted.executor, {})
        queues.setdefault((wanted.run.namespace, wanted.tool), _Queue()).add(call)
        return call

    async def served(self, call: WaitingCall) -> Place:
        """The place that `serve` gives to the call. Cancelled, it holds none."""
        try:
            return await call.place
        except asyncio.CancelledError:
            if call.place.done() and not call.place.cancelled():
                call.place.result().release()
            raise
        finally:
            self._waiting -= 1
            self._leave(call)

    def serve(self, executor: str, take: Callable[[PlaceRequest], Place | None]) -> None:
        """Gives places to the calls that wait for the executor, for as long as `take` finds one for any of them."""
        queues = self._executors.get(executor, {})
        while True:
            for key, queue in sorted(queues.items(), key=lambda item: item[1].first.came):
                first = queue.first
                place = None if first.place.done() else take(first.wanted)  # done: it waits no more
                if place is None and not first.place.done():
                    continue
                queue.served()
                if not queue:
                    del queues[key]
                if place is not None:
                    first.place.set_result(place)
                break
            else:
                break
        if not queues:
            self._executors.pop(executor, None)

    def _leave(self, call: WaitingCall) -> None:
        queues = self._executors.get(call.wanted.executor, {})
        key = (call.wanted.run.namespace, call.wanted.tool)
        if queue := queues.get(key):
            queue.remove(call)
            if not queue:
                del queues[key]
                if not queues:
                    del self._executors[call.wanted.executor]
