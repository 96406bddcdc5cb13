"""DialledCallbacks: the connections to everything that hosts have registered, for whoever calls each kind."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from runwright.adapters.remote.callback_connection import CallbackConnection
from runwright.adapters.remote.dialer import Dialer
from runwright.core.callback_kinds import CallbackKind
from runwright.core.callbacks import Callback, Health, HealthKind, UnusedTool
from runwright.core.ids import Namespace
from runwright.ports.clock import Clock


class CallbackCaller(Protocol):
    """Whoever calls the callbacks of one kind. It closes no connection."""

    def opened(self, connection: CallbackConnection) -> None:
        """From now on the connection may be used, when it is ready."""

    def dropped(self, connection: CallbackConnection) -> None:
        """The connection gets no new calls any more; those under way may answer."""

    def changed(self) -> None:
        """A connection of the kind may be ready that was not."""


class DialledCallbacks:
    """CallbackDialer of every kind that has a caller. Each kind is closed by its caller, which knows its last call."""

    def __init__(self, dialer: Dialer, clock: Clock) -> None:
        self.dialer = dialer
        self._clock = clock
        self._callers: dict[CallbackKind, CallbackCaller] = {}
        self._open: dict[tuple[Namespace, str], CallbackConnection] = {}
        self._leaving: set[CallbackConnection] = set()  # dropped, perhaps with calls under way

    def attach(self, kind: CallbackKind, caller: CallbackCaller) -> None:
        """Makes the caller the one that callbacks of the kind are opened for."""
        assert kind not in self._callers, f"{kind} has a caller"
        self._callers[kind] = caller

    async def examine(self, callback: Callback) -> None:
        """See CallbackDialer."""
        await self.dialer.examine(callback)

    def open(self, callback: Callback) -> None:
        """See CallbackDialer."""
        known = self._open.get((callback.namespace, callback.callback_id))
        if known is not None and known.callback.is_renewed_by(callback):
            known.renew(callback)
            return
        self.drop(callback.namespace, callback.callback_id)
        caller = self._callers[callback.kind]
        connection = CallbackConnection(callback, self.dialer, self._clock, caller.changed)
        self._open[(callback.namespace, callback.callback_id)] = connection
        caller.opened(connection)

    def drop(self, namespace: Namespace, callback_id: str) -> None:
        """See CallbackDialer."""
        self._leaving = {connection for connection in self._leaving if not connection.is_idle}
        connection = self._open.pop((namespace, callback_id), None)
        if connection is None:
            return
        self._callers[connection.callback.kind].dropped(connection)
        connection.drop()
        self._leaving.add(connection)

    def health(self, callback: Callback) -> Health:
        """See CallbackDialer."""
        connection = self._open.get((callback.namespace, callback.callback_id))
        return connection.health if connection else Health(HealthKind.UNKNOWN, self._clock.now())

    def unused(self, callback: Callback) -> Sequence[UnusedTool]:
        """See CallbackDialer."""
        connection = self._open.get((callback.namespace, callback.callback_id))
        return [tool for _, tool in sorted(connection.unused.items())] if connection else ()

    async def close(self, kind: CallbackKind) -> None:
        """Closes every connection of the kind at once, with the calls under way."""
        closing = [one for one in [*self._open.values(), *self._leaving] if one.callback.kind is kind]
        await asyncio.gather(*(connection.close() for connection in closing))
