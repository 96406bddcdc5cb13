"""The same without asyncio: one event loop in a thread of its own, for use from any number of threads."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from ._gen.runwright.v1 import Event, EventFrame
from .client import Client
from .connection import Keepalive, Tls, closed
from .errors import RunwrightError
from .subscription import Subscription

P = ParamSpec("P")
R = TypeVar("R")


class _Loop:
    """An event loop that runs in a thread until it is closed."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="runwright-client", daemon=True)
        self._thread.start()
        self._lock = threading.Lock()
        self._is_closed = False

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """The result of `work`, which is cancelled when the waiting is interrupted."""
        with self._lock:
            if self._is_closed:
                work.close()
                raise closed()
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise closed() from None
        finally:
            future.cancel()

    def close(self) -> None:
        """Cancels what is under way, and stops the loop and its thread."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        asyncio.run_coroutine_threadsafe(_cancel_others(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others)


def _waited_for(
    method: Callable[Concatenate[Client, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[SyncClient, P], R]:
    def call(self: SyncClient, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._loop.run(method(self._client, *args, **kwargs))

    functools.update_wrapper(call, method)
    return call


def _one_by_one(
    method: Callable[Concatenate[Client, P], AsyncGenerator[R]],
) -> Callable[Concatenate[SyncClient, P], Iterator[R]]:
    def call(self: SyncClient, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        items = method(self._client, *args, **kwargs)
        while (item := self._loop.run(_next(items))) is not None:
            yield item

    functools.update_wrapper(call, method)
    return call


def _followed(
    method: Callable[Concatenate[Client, P], Subscription],
) -> Callable[Concatenate[SyncClient, P], SyncSubscription]:
    def call(self: SyncClient, /, *args: P.args, **kwargs: P.kwargs) -> SyncSubscription:
        return SyncSubscription(self._loop, method(self._client, *args, **kwargs))

    functools.update_wrapper(call, method)
    return call


async def _next(items: AsyncIterator[R]) -> R | None:
    return await anext(items, None)


class SyncSubscription:
    """A `Subscription` that is iterated without asyncio, in one thread at a time."""

    def __init__(self, loop: _Loop, subscription: Subscription) -> None:
        self._loop = loop
        self._subscription = subscription

    @property
    def cursor(self) -> str:
        """The cursor of the last frame that was handed out."""
        return self._subscription.cursor

    @property
    def reconnects(self) -> int:
        """How often the stream was lost and opened again."""
        return self._subscription.reconnects

    def __iter__(self) -> Iterator[EventFrame]:
        while (frame := self._loop.run(_next(self._subscription))) is not None:
            yield frame

    def events(self) -> Iterator[Event]:
        """The events alone, without bookmarks and gaps."""
        return (frame.event for frame in self if frame.event is not None)

    def close(self) -> None:
        """Ends the stream."""
        with suppress(RunwrightError):  # it ended with the client
            self._loop.run(self._subscription.aclose())

    def __enter__(self) -> Self:
        self._loop.run(self._subscription.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class SyncClient:
    """`Client` for programs without asyncio: the same calls, which block. Any number of threads may share one."""

    def __init__(self, loop: _Loop, client: Client) -> None:
        self._loop = loop
        self._client = client

    @classmethod
    def connect(
        cls,
        address: str,
        *,
        key: str = "",
        tls: Tls | None = None,
        deadline: float = 10.0,
        keepalive: Keepalive | None = None,
    ) -> Self:
        """A client of the server at `host:port`. The connection is made with the first call."""

        async def connected() -> Client:  # in the loop that it will be used in
            return Client.connect(address, key=key, tls=tls, deadline=deadline, keepalive=keepalive)

        loop = _Loop()
        try:
            return cls(loop, loop.run(connected()))
        except BaseException:
            loop.close()
            raise

    start = _waited_for(Client.start)
    snapshot = _waited_for(Client.snapshot)
    cancel = _waited_for(Client.cancel)
    get_approval = _waited_for(Client.get_approval)
    decide_approval = _waited_for(Client.decide_approval)
    batch_decide = _waited_for(Client.batch_decide)
    list_approvals = _one_by_one(Client.list_approvals)
    list_grants = _one_by_one(Client.list_grants)
    revoke_grant = _waited_for(Client.revoke_grant)
    watch_approvals = _one_by_one(Client.watch_approvals)
    resolve_effect = _waited_for(Client.resolve_effect)
    resume = _waited_for(Client.resume)
    wait = _waited_for(Client.wait)
    server_info = _waited_for(Client.server_info)
    list = _one_by_one(Client.list)
    unknown_effects = _one_by_one(Client.unknown_effects)
    list_events = _one_by_one(Client.list_events)
    put_package = _waited_for(Client.put_package)
    get_package = _waited_for(Client.get_package)
    tag_package = _waited_for(Client.tag_package)
    validate_package = _waited_for(Client.validate_package)
    resolve_package = _waited_for(Client.resolve_package)
    list_packages = _one_by_one(Client.list_packages)
    tag_history = _one_by_one(Client.tag_history)

    subscribe = _followed(Client.subscribe)

    def close(self) -> None:
        """Ends the connection and every call on it."""
        with suppress(RunwrightError):  # closed before
            self._loop.run(self._client.close())
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
