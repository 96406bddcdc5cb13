"""NamedHosts: the hosts of one kind of callback by their names, each with as many calls at once as it says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TypeAlias

from runwright.adapters.remote.callback_connection import CallbackConnection
from runwright.adapters.remote.dialled_callbacks import DialledCallbacks
from runwright.core.callback_kinds import CallbackKind
from runwright.core.callbacks import DEFAULT_CALLS_IN_FLIGHT
from runwright.core.ids import Namespace

# Bounds the time in which an intent is open although nothing was sent.
CONNECT_SECONDS = 1.0
CALLED_AT_ONCE = 64  # of those that wait for a host; then everybody else has a turn


_Name: TypeAlias = tuple[Namespace, str]
_Waiting: TypeAlias = "dict[_Name, dict[HostWait, None]]"  # in the order in which they came


class HostWait:
    """Somebody who waits for a host of a name."""

    def __init__(self, waiting: _Waiting, name: _Name, there: Callable[[], None]) -> None:
        self.name = name
        self.there = there
        self._waiting = waiting
        waiting.setdefault(name, {})[self] = None

    def leave(self) -> None:
        """Waits no more; harmless once a host was there."""
        of_name = self._waiting.get(self.name, {})
        if self in of_name:
            del of_name[self]
            if not of_name:
                del self._waiting[self.name]


class NamedHosts:
    """CallbackCaller of a kind whose hosts share a name, and each call goes to one of them."""

    def __init__(self, callbacks: DialledCallbacks, kind: CallbackKind) -> None:
        self._callbacks = callbacks
        self._kind = kind
        self._open: dict[CallbackConnection, int] = {}  # with how many calls are out there
        self._waiting: _Waiting = {}
        self._going_on: set[_Name] = set()  # names of which the next ones are called in another turn of the loop
        self._changed = asyncio.Event()
        callbacks.attach(kind, self)

    def is_there(self, namespace: Namespace, name: str) -> bool:
        """True when a host of the name can be called now."""
        return any(connection.is_ready for connection in self._named((namespace, name)))

    def wait_for(self, namespace: Namespace, name: str, there: Callable[[], None]) -> HostWait:
        """Calls `there` once when a host can be called, later and on the event loop, unless it is left before."""
        return HostWait(self._waiting, (namespace, name), there)

    @contextmanager
    def occupied(self, connection: CallbackConnection) -> Iterator[None]:
        """Counts a call at a host that `free` has found."""
        self._open[connection] = self._open.get(connection, 0) + 1
        try:
            yield
        finally:
            if connection in self._open:
                self._open[connection] -= 1
            self.changed()

    async def free(self, namespace: Namespace, name: str) -> CallbackConnection | None:
        """The ready host with the fewest calls and room for one, once there is one; None: none came in time."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                while True:
                    changed = self._changed  # before looking: what changes meanwhile is not missed
                    if found := [one for one in self._named((namespace, name)) if self._has_room(one)]:
                        return min(found, key=lambda one: (self._open[one], one.callback.callback_id))
                    await changed.wait()
        except TimeoutError:
            return None

    async def close(self) -> None:
        """Closes every channel."""
        self._waiting.clear()
        await self._callbacks.close(self._kind)

    def opened(self, connection: CallbackConnection) -> None:
        """See CallbackCaller."""
        self._open[connection] = 0

    def dropped(self, connection: CallbackConnection) -> None:
        """See CallbackCaller."""
        self._open.pop(connection, None)

    def changed(self) -> None:
        """See CallbackCaller."""
        self._changed.set()
        self._changed = asyncio.Event()
        # Once for each name: a hundred thousand may wait for one that is away, while calls to others end.
        for name in list(self._waiting):
            if name not in self._going_on:
                self._call_some(name)

    def _call_some(self, name: _Name) -> None:
        """Calls those that wait for a host of the name, a few in a turn of the loop, for as long as there is one."""
        self._going_on.discard(name)
        if not self.is_there(*name):
            return
        for waiting in list(islice(self._waiting.get(name, ()), CALLED_AT_ONCE)):
            if waiting in self._waiting.get(name, ()):  # not left meanwhile, by what one before it has done
                waiting.leave()
                waiting.there()
        if name in self._waiting:
            self._going_on.add(name)
            asyncio.get_running_loop().call_soon(self._call_some, name)

    def _named(self, name: tuple[Namespace, str]) -> list[CallbackConnection]:
        return [one for one in self._open if (one.callback.namespace, one.callback.name) == name]

    def _has_room(self, connection: CallbackConnection) -> bool:
        most = connection.callback.max_calls_in_flight or DEFAULT_CALLS_IN_FLIGHT
        return connection.is_ready and self._open[connection] < most
