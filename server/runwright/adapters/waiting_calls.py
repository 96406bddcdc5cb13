"""WaitingCalls: who waits for a place at an executor, in the order in which places are given."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeAlias

from runwright.core.ids import Namespace, RunKey
from runwright.ports.tools import Granted, Place, PlaceRequest

# What the same hosts perform: namespace, tool, digest of its schema, and who must not perform it.
_Kind: TypeAlias = tuple[Namespace, str, str, str]


def _kind_of(wanted: PlaceRequest) -> _Kind:
    return (wanted.run.namespace, wanted.tool, wanted.schema_digest, wanted.not_by)


class WaitingCall:
    """One call that waits. `came` counts those that came before it, whatever they wait for."""

    __slots__ = ("_calls", "came", "granted", "wanted")

    def __init__(self, calls: WaitingCalls, wanted: PlaceRequest, granted: Granted, came: int) -> None:
        self._calls = calls
        self.wanted = wanted
        self.granted = granted
        self.came = came

    def leave(self) -> None:
        """Waits no more; harmless once it has its place."""
        self._calls.remove(self)


class _Queue:
    """Those that wait for one tool of one executor, with one schema: runs take turns, and a run's calls keep theirs."""

    def __init__(self) -> None:
        # Lists, since thousands of runs may wait with one call each: a deque sets aside room for 64.
        self._runs: OrderedDict[RunKey, list[WaitingCall]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._runs)

    @property
    def first(self) -> WaitingCall:
        return next(iter(self._runs.values()))[0]

    def add(self, call: WaitingCall) -> None:
        self._runs.setdefault(call.wanted.run, []).append(call)

    def served(self) -> None:
        """Takes out the first, and lets every other run go before its next call."""
        run, calls = next(iter(self._runs.items()))
        calls.pop(0)
        if calls:
            self._runs.move_to_end(run)
        else:
            del self._runs[run]

    def remove(self, call: WaitingCall) -> bool:
        """True when the call was still there."""
        calls = self._runs.get(call.wanted.run)
        if calls is None or call not in calls:
            return False
        calls.remove(call)
        if not calls:
            del self._runs[call.wanted.run]
        return True


class WaitingCalls:
    """Calls that wait for a place, by executor, tool and the tool's schema. First come, first served; runs take turns.

    Of tools that share an executor the one goes first whose next call came first.
    A call costs its entry here and nothing that runs.
    """

    def __init__(self) -> None:
        self._executors: dict[str, dict[_Kind, _Queue]] = {}
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
        return _kind_of(wanted) in self._executors.get(wanted.executor, ())

    def join(self, wanted: PlaceRequest, granted: Granted) -> WaitingCall:
        """Takes the call in, as the last. `granted` gets its place, once, unless it leaves before."""
        self._came += 1
        self._waiting += 1
        call = WaitingCall(self, wanted, granted, self._came)
        queues = self._executors.setdefault(wanted.executor, {})
        queues.setdefault(_kind_of(wanted), _Queue()).add(call)
        return call

    def serve(self, executor: str, take: Callable[[PlaceRequest], Place | None]) -> None:
        """Gives places to the calls that wait for the executor, for as long as `take` finds one for any of them.

        Whoever gets one may give it back at once, which serves the next from within.
        """
        while queues := self._executors.get(executor):
            for queue in sorted(queues.values(), key=lambda queue: queue.first.came):
                first = queue.first
                if (place := take(first.wanted)) is not None:
                    self.remove(first, served=True)
                    first.granted(place)
                    break
            else:
                return

    def remove(self, call: WaitingCall, *, served: bool = False) -> None:
        """Takes the call out, if it is there; once it is served every other run goes before the next of its own."""
        queues = self._executors.get(call.wanted.executor, {})
        key = _kind_of(call.wanted)
        queue = queues.get(key)
        if queue is None:
            return
        if served:
            queue.served()
        elif not queue.remove(call):
            return
        self._waiting -= 1
        if not queue:
            del queues[key]
            if not queues:
                del self._executors[call.wanted.executor]
