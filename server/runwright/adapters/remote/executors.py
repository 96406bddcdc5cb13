"""Tool executors as unary callback services: `runwright.callback.v1.ToolExecutorService`, dialled."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping

from runwright.adapters.remote.doors import Doors, refused
from runwright.adapters.remote.lines import ConfiguredLine, Line, RegisteredLine
from runwright.core.callbacks import Callback, ConfiguredExecutor, Health, HealthKind
from runwright.core.ids import Namespace
from runwright.ports.clock import Clock
from runwright.ports.tools import ToolInvocation, ToolOutcome, ToolOutcomeKind

# Bounds the time in which an intent is open although nothing was sent.
CONNECT_SECONDS = 1.0
MOST_MISHAPS = 4096
_UNANSWERED = (ToolOutcomeKind.LOST, ToolOutcomeKind.TIMED_OUT, ToolOutcomeKind.UNREADABLE, ToolOutcomeKind.NOT_SENT)


class DialledExecutors:
    """ToolExecutors at the operator's addresses, `{name: "[principal@]host:port"}`, and at those registered by hosts.

    Without `doors` nothing can be registered. Also a CallbackDialler.
    """

    def __init__(self, addresses: Mapping[str, str], clock: Clock, doors: Doors | None = None) -> None:
        self._addresses = {name: ConfiguredExecutor.parse(address) for name, address in addresses.items()}
        self._clock = clock
        self._doors = doors
        self._configured: dict[str, ConfiguredLine] = {}
        self._registered: dict[tuple[Namespace, str], RegisteredLine] = {}  # by the id of the registration
        self._serving: dict[tuple[Namespace, str], set[RegisteredLine]] = {}  # by the name of the executor
        self._leaving: set[RegisteredLine] = set()  # dropped, perhaps with calls under way
        self._changed = asyncio.Event()
        self._calls = 0
        self._mishaps: OrderedDict[str, str] = OrderedDict()  # where the last attempt of a call failed, by its key

    def knows(self, namespace: Namespace, executor: str) -> bool:
        """True when an address is configured or registered, or can be registered."""
        takes_registrations = self._doors is not None and not self._doors.allowed.is_empty
        return takes_registrations or executor in self._addresses

    async def reachable(self, namespace: Namespace, executor: str, tool: str) -> None:
        """Returns once a line is ready; never, while there is none."""
        await self._ready(namespace, executor, tool)

    async def execute(self, executor: str, call: ToolInvocation) -> ToolOutcome:
        """Performs one attempt, at the ready executor that was not asked for the longest time.

        None ready in time: certainly not sent. Any error once the call has begun leaves the outcome unknown.
        """
        if not self._lines(call.namespace, executor, call.tool):
            return ToolOutcome(ToolOutcomeKind.NOT_SENT)
        try:
            # Not wait_for: on Python 3.11 it swallows a cancel that comes as the channel becomes ready.
            async with asyncio.timeout(min(CONNECT_SECONDS, max(0.0, self._left(call)))):
                line = await self._ready(call.namespace, executor, call.tool, self._mishaps.get(call.idempotency_key))
        except TimeoutError:
            return ToolOutcome(ToolOutcomeKind.NOT_SENT)
        left = self._left(call)
        if left <= 0 or not call.may_begin():
            return ToolOutcome(ToolOutcomeKind.NOT_SENT)
        self._calls += 1
        line.used = self._calls
        outcome = await line.perform(call, left)
        self._remember(call.idempotency_key, line.name if outcome.kind in _UNANSWERED else None)
        return outcome

    def connect(self) -> None:
        """Begins to dial every configured executor, so that `counts` tells of those that were never needed, too."""
        for executor in self._addresses:
            self._configured_line(executor).channel.get_state(try_to_connect=True)

    def counts(self) -> Mapping[str, int]:
        """How many executors are configured and registered, and how many of each can be called. Any thread."""
        registered = [line.health.kind for line in list(self._registered.values())]
        return {
            "configured": len(self._addresses),
            "connected": sum(line.is_ready for line in list(self._configured.values())),
            "registered": len(registered),
            "healthy": registered.count(HealthKind.HEALTHY),
        }

    async def close(self) -> None:
        """Closes every channel."""
        for configured in self._configured.values():
            await configured.channel.close()
        for line in [*self._registered.values(), *self._leaving]:
            await line.close()

    async def examine(self, callback: Callback) -> None:
        """See CallbackDialler."""
        if self._doors is None:
            raise refused(callback, "configured: this server takes no registrations")
        await self._doors.examine(callback)

    def open(self, callback: Callback) -> None:
        """See CallbackDialler."""
        assert self._doors is not None, "what is opened was examined"
        known = self._registered.get((callback.namespace, callback.callback_id))
        if known is not None and known.callback.is_renewed_by(callback):
            known.renew(callback)
            return
        self.drop(callback.namespace, callback.callback_id)
        line = RegisteredLine(callback, self._doors, self._clock, self._wake)
        self._registered[(callback.namespace, callback.callback_id)] = line
        self._serving.setdefault((callback.namespace, callback.executor), set()).add(line)

    def drop(self, namespace: Namespace, callback_id: str) -> None:
        """See CallbackDialler."""
        self._leaving = {line for line in self._leaving if not line.is_idle}
        line = self._registered.pop((namespace, callback_id), None)
        if line is None:
            return
        executor = (namespace, line.callback.executor)
        self._serving[executor].discard(line)
        if not self._serving[executor]:
            del self._serving[executor]
        line.drop()
        self._leaving.add(line)

    def health(self, callback: Callback) -> Health:
        """See CallbackDialler."""
        line = self._registered.get((callback.namespace, callback.callback_id))
        return line.health if line else Health(HealthKind.UNKNOWN, self._clock.now())

    def _configured_line(self, executor: str) -> ConfiguredLine:
        if executor not in self._configured:
            log = self._doors.log if self._doors is not None else None
            self._configured[executor] = ConfiguredLine(self._addresses[executor], log)
        return self._configured[executor]

    def _lines(self, namespace: Namespace, executor: str, tool: str) -> list[Line]:
        lines: list[Line] = list(self._serving.get((namespace, executor), ()))
        if executor in self._addresses:
            lines.append(self._configured_line(executor))
        return [line for line in lines if line.serves(tool)]

    async def _ready(self, namespace: Namespace, executor: str, tool: str, not_first: str | None = None) -> Line:
        while True:
            changed = self._changed  # before looking: what changes meanwhile is not missed
            lines = self._lines(namespace, executor, tool)
            ready = [line for line in lines if line.is_ready]
            if ready:
                return min(ready, key=lambda line: (line.name == not_first, line.used, line.name))
            waits = [asyncio.ensure_future(wait) for wait in (changed.wait(), *(line.until_ready() for line in lines))]
            try:
                done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for wait in done:
                    wait.result()  # a channel that was closed raises: there is nothing to wait for any more
            finally:
                for wait in waits:
                    wait.cancel()
                await asyncio.gather(*waits, return_exceptions=True)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _remember(self, key: str, mishap: str | None) -> None:
        self._mishaps.pop(key, None)
        if mishap is not None:
            self._mishaps[key] = mishap
            if len(self._mishaps) > MOST_MISHAPS:
                self._mishaps.popitem(last=False)

    def _left(self, call: ToolInvocation) -> float:
        return (call.deadline - self._clock.now()) / 1_000_000
