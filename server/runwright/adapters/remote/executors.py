"""Tool executors as unary callback services: `runwright.callback.v1.ToolExecutorService`, dialled."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from runwright.adapters.remote.callback_connection import CallbackConnection
from runwright.adapters.remote.connections import ConfiguredConnection, ExecutorConnection, RegisteredConnection
from runwright.adapters.remote.dialled_callbacks import DialledCallbacks
from runwright.adapters.waiting_calls import WaitingCalls
from runwright.core.callback_kinds import CallbackKind
from runwright.core.callbacks import DEFAULT_CALLS_IN_FLIGHT, HealthKind, UnusedTool
from runwright.core.executor_names import ConfiguredExecutor
from runwright.core.ids import Namespace, RunKey
from runwright.core.outcomes import ReconcileAnswer
from runwright.ports.clock import Clock
from runwright.ports.tools import (
    Granted,
    Place,
    PlaceRequest,
    PlaceWait,
    ReconcileOutcome,
    ToolInvocation,
    ToolOutcome,
    ToolOutcomeKind,
)

# Bounds the time in which an intent is open although nothing was sent.
CONNECT_SECONDS = 1.0
MOST_FAILED_ENDPOINTS = 4096
_UNANSWERED = (ToolOutcomeKind.LOST, ToolOutcomeKind.TIMED_OUT, ToolOutcomeKind.UNREADABLE, ToolOutcomeKind.NOT_SENT)


class ExecutorPlace:
    """Room for one call at one executor."""

    def __init__(self, connection: ExecutorConnection, wanted: PlaceRequest, freed: Callable[[str], None]) -> None:
        self.connection = connection
        self.wanted = wanted
        self._freed = freed
        self._is_held = True
        connection.calls += 1

    def move(self, connection: ExecutorConnection) -> None:
        """Gives up the room here for room there."""
        if self._is_held:
            self.connection.calls -= 1
            connection.calls += 1
        self.connection = connection

    def release(self) -> None:
        """See `Place`."""
        if self._is_held:
            self._is_held = False
            self.connection.calls -= 1
            self._freed(self.wanted.executor)


class DialledExecutors:
    """ToolExecutors at the operator's addresses, `{name: "[principal@]host:port"}`, and at those registered by hosts.

    Each configured address gets `most_calls` at once, a registered one what its
    registration says. Without `callbacks` nothing can be registered; of these it
    is the caller of tool executors.
    """

    def __init__(
        self,
        addresses: Mapping[str, str],
        clock: Clock,
        callbacks: DialledCallbacks | None = None,
        *,
        most_calls: int = DEFAULT_CALLS_IN_FLIGHT,
    ) -> None:
        self._addresses = {name: ConfiguredExecutor.parse(address) for name, address in addresses.items()}
        self._clock = clock
        self.callbacks = callbacks
        self._most_calls = most_calls
        self._configured: dict[str, ConfiguredConnection] = {}
        self._registered: dict[CallbackConnection, RegisteredConnection] = {}
        self._serving: dict[tuple[Namespace, str], set[RegisteredConnection]] = {}  # by the name of the executor
        self._waiting = WaitingCalls()
        self._connecting: dict[str, asyncio.Task[None]] = {}  # configured executors that a call waits for
        self._changed = asyncio.Event()
        self._is_closed = False
        self._calls = 0
        self._failed_endpoints: OrderedDict[tuple[RunKey, str], str] = (
            OrderedDict()
        )  # where a call's last attempt failed
        if callbacks is not None:
            callbacks.attach(CallbackKind.TOOL_EXECUTOR, self)

    def knows(self, namespace: Namespace, executor: str) -> bool:
        """True when an address is configured or registered, or can be registered."""
        takes_registrations = self.callbacks is not None and not self.callbacks.dialer.allowed.is_empty
        return takes_registrations or executor in self._addresses

    def is_reachable(self, wanted: PlaceRequest) -> bool:
        """True when a line that serves the tool is ready, or may be so in a moment."""
        return any(connection.is_ready or not connection.is_away for connection in self._connections(wanted))

    def unused(self, wanted: PlaceRequest) -> Sequence[UnusedTool]:
        """See the port."""
        now = self._clock.now()
        found = [each.note_unused(wanted, now) for each in self._registered_for(wanted) if each.other_schema(wanted)]
        return sorted(found, key=lambda each: each.callback_id)

    def take_place(self, wanted: PlaceRequest) -> ExecutorPlace | None:
        """A place at the ready executor that was not asked for the longest time; see the port."""
        return None if self._waiting.waits(wanted) else self._take(wanted)

    def wait_for_place(self, wanted: PlaceRequest, granted: Granted) -> PlaceWait:
        """See the port."""
        call = self._waiting.join(wanted, granted)
        self._connect_when_waited_for(wanted.executor)
        return call

    async def execute(self, place: Place, call: ToolInvocation) -> ToolOutcome:
        """Performs one attempt.

        None ready in time: certainly not sent. Any error once the call has begun leaves the outcome unknown.
        """
        assert isinstance(place, ExecutorPlace), "a place of these executors"
        if not place.connection.is_ready:
            began = self._clock.now()
            try:
                # Not wait_for: on Python 3.11 it swallows a cancel that comes as the channel becomes ready.
                async with asyncio.timeout(CONNECT_SECONDS):
                    await self._until_ready(place)
            except TimeoutError:
                return ToolOutcome(ToolOutcomeKind.NOT_SENT)
            # The tool has its whole time from when it is asked.
            call = replace(call, deadline=call.deadline + self._clock.now() - began)
        left = (call.deadline - self._clock.now()) / 1_000_000
        if left <= 0 or not call.may_begin():
            return ToolOutcome(ToolOutcomeKind.NOT_SENT)
        outcome = await place.connection.perform(call, left)
        name = place.connection.name
        self._remember((place.wanted.run, place.wanted.call_id), name if outcome.kind in _UNANSWERED else None)
        return outcome

    async def reconcile(self, place: Place, call: ToolInvocation, ask: int) -> ReconcileOutcome:
        """Asks whoever has the place, or another of the name that is ready, about an attempt; see the port."""
        assert isinstance(place, ExecutorPlace), "a place of these executors"
        if not place.connection.is_ready:
            if (other := self._free(place.wanted)) is None:
                return ReconcileOutcome(ReconcileAnswer.NOT_ASKED)
            self._use(other)
            place.move(other)
        left = (call.deadline - self._clock.now()) / 1_000_000
        outcome = await place.connection.reconcile(call, ask, left)
        is_silent = outcome.answer in (ReconcileAnswer.NO_ANSWER, ReconcileAnswer.UNREADABLE)
        name = place.connection.name
        self._remember((place.wanted.run, place.wanted.call_id), name if is_silent else None)
        return outcome

    def connect(self) -> None:
        """Begins to dial every configured executor, so that calls find them connected and `counts` tells of all."""
        for executor in self._addresses:
            self._configured_connection(executor).channel.get_state(try_to_connect=True)

    def counts(self) -> Mapping[str, int]:
        """How many executors are configured and registered, and how many of each can be called. Any thread."""
        registered = [connection.health.kind for connection in list(self._registered)]
        return {
            "configured": len(self._addresses),
            "connected": sum(connection.is_ready for connection in list(self._configured.values())),
            "registered": len(registered),
            "healthy": registered.count(HealthKind.HEALTHY),
        }

    async def close(self) -> None:
        """Closes every channel."""
        self._is_closed = True
        for connecting in list(self._connecting.values()):
            connecting.cancel()
        await asyncio.gather(*self._connecting.values(), return_exceptions=True)
        for configured in self._configured.values():
            await configured.channel.close()
        if self.callbacks is not None:
            await self.callbacks.close(CallbackKind.TOOL_EXECUTOR)

    def opened(self, connection: CallbackConnection) -> None:
        """See CallbackCaller."""
        executor = RegisteredConnection(connection)
        self._registered[connection] = executor
        self._serving.setdefault(_served_name(connection), set()).add(executor)

    def dropped(self, connection: CallbackConnection) -> None:
        """See CallbackCaller."""
        name = _served_name(connection)
        self._serving[name].discard(self._registered.pop(connection))
        if not self._serving[name]:
            del self._serving[name]

    def _configured_connection(self, executor: str) -> ConfiguredConnection:
        if executor not in self._configured:
            log = self.callbacks.dialer.log if self.callbacks is not None else None
            self._configured[executor] = ConfiguredConnection(self._addresses[executor], self._most_calls, log)
        return self._configured[executor]

    def _connections(self, wanted: PlaceRequest) -> list[ExecutorConnection]:
        connections: list[ExecutorConnection] = []
        for registered in self._registered_for(wanted):
            if registered.other_schema(wanted):
                registered.note_unused(wanted, self._clock.now())
            else:
                connections.append(registered)
        if wanted.executor in self._addresses:
            connections.append(self._configured_connection(wanted.executor))
        # Whoever approved the call does not perform it.
        return [each for each in connections if not wanted.not_by or each.identity.principal != wanted.not_by]

    def _registered_for(self, wanted: PlaceRequest) -> list[RegisteredConnection]:
        """Those that perform the tool, with whichever schema."""
        serving = self._serving.get((wanted.run.namespace, wanted.executor), ())
        return [each for each in serving if each.serves(wanted.tool)]

    def _take(self, wanted: PlaceRequest) -> ExecutorPlace | None:
        connection = self._free(wanted)
        if connection is None:
            return None
        self._use(connection)
        return ExecutorPlace(connection, wanted, self._serve)

    def _use(self, connection: ExecutorConnection) -> None:
        self._calls += 1
        connection.used = self._calls

    def _free(self, wanted: PlaceRequest) -> ExecutorConnection | None:
        """A ready line with room: whoever is wanted first; not where it failed last if there is another; in turn."""
        free = [
            connection
            for connection in self._connections(wanted)
            if connection.calls < connection.most_calls and connection.is_ready
        ]
        not_first = self._failed_endpoints.get((wanted.run, wanted.call_id))
        return min(
            free,
            key=lambda connection: (
                bool(wanted.first) and connection.name != wanted.first,
                connection.name == not_first,
                connection.used,
                connection.name,
            ),
            default=None,
        )

    def _serve(self, executor: str) -> None:
        """Gives free places of the executor to those that wait for them."""
        if self._is_closed:
            return
        self._waiting.serve(executor, self._take)
        self._connect_when_waited_for(executor)

    def changed(self) -> None:
        """See CallbackCaller."""
        self._changed.set()
        self._changed = asyncio.Event()
        for executor in self._waiting.executors():
            self._serve(executor)

    def _connect_when_waited_for(self, executor: str) -> None:
        """Sees to it that a call that waits for a configured executor learns when that is connected.

        One task for each name, however many calls wait. Registered ones say it themselves.
        """
        if executor not in self._addresses or executor in self._connecting or not self._waiting.has(executor):
            return
        connection = self._configured_connection(executor)
        if connection.calls >= connection.most_calls and connection.is_ready:
            return  # whoever gives back a place is heard
        connecting = asyncio.create_task(self._connect(executor, connection), name=f"executor {executor}")
        self._connecting[executor] = connecting

    async def _connect(self, executor: str, connection: ConfiguredConnection) -> None:
        try:
            await connection.until_ready()
        finally:
            del self._connecting[executor]
        self._serve(executor)

    async def _until_ready(self, place: ExecutorPlace) -> None:
        """Returns once the line of the place is ready, or another one with room, to which the place moves."""
        while True:
            changed = self._changed  # before looking: what changes meanwhile is not missed
            if place.connection.is_ready:
                return
            if other := self._free(place.wanted):
                self._use(other)
                place.move(other)
                return
            waits = [asyncio.ensure_future(wait) for wait in (changed.wait(), place.connection.until_ready())]
            try:
                done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for wait in done:
                    wait.result()  # a channel that was closed raises: there is nothing to wait for any more
            finally:
                for wait in waits:
                    wait.cancel()
                await asyncio.gather(*waits, return_exceptions=True)

    def _remember(self, call: tuple[RunKey, str], failed_endpoint: str | None) -> None:
        self._failed_endpoints.pop(call, None)
        if failed_endpoint is not None:
            self._failed_endpoints[call] = failed_endpoint
            if len(self._failed_endpoints) > MOST_FAILED_ENDPOINTS:
                self._failed_endpoints.popitem(last=False)


def _served_name(connection: CallbackConnection) -> tuple[Namespace, str]:
    return (connection.callback.namespace, connection.callback.name)
