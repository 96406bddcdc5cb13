"""A stream of events that comes back by itself, from where it was, each event once."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import Self

from ._gen.runwright.v1 import Event, EventFrame, RuntimeServiceStub, SubscribeRequest
from .connection import Connection
from .contact import Contact
from .diagnosis import typed
from .errors import RunwrightError
from .standing import End

_log = logging.getLogger("runwright_client")

OnReconnect = Callable[[RunwrightError], None]
# How a stream may end that is merely to be opened again, beside every error that is retryable.
_CUT_SHORT = ("CANCELLED", "DEADLINE_EXCEEDED")


class Subscription:
    """An async iterator of frames, in order, each once, through every disconnect and restart.

    The stream is opened by `async with`, or with the first frame that is asked
    for. It ends after the terminal event of the run that it follows. While that needs
    repair it ends with `RepairNeeded` once all events so far have been handed out, unless
    it was to go `through_repair`; with `until_done` it just ends, also while the run is
    HELD. It raises `RunwrightError` for what does not pass by itself. The RPC ends when the
    subscription is closed, left as an `async with` block, or let go of.
    """

    def __init__(
        self,
        connection: Connection,
        request: SubscribeRequest,
        on_reconnect: OnReconnect | None,
        open_seconds: float,
        end: End,
    ) -> None:
        #: The cursor of the last frame that was handed out. Keep it once you are done with that frame.
        self.cursor = request.after_cursor
        self._feed = _Feed(connection, request, on_reconnect, open_seconds, end)

    @property
    def reconnects(self) -> int:
        """How often the stream was lost and opened again."""
        return self._feed.reconnects

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> EventFrame:
        frame = await self._feed.next()
        self.cursor = frame.cursor
        return frame

    async def events(self) -> AsyncGenerator[Event]:
        """The events alone, without bookmarks and gaps."""
        async for frame in self:
            if frame.event is not None:
                yield frame.event

    async def aclose(self) -> None:
        """Ends the stream."""
        await self._feed.aclose()

    async def __aenter__(self) -> Self:
        self._feed.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        self._feed.stop()


class _Feed:
    """Reads the stream in a task of its own, one response ahead; knows nothing of the subscription it feeds."""

    def __init__(
        self,
        connection: Connection,
        request: SubscribeRequest,
        on_reconnect: OnReconnect | None,
        open_seconds: float,
        end: End,
    ) -> None:
        self.reconnects = 0
        self._open_seconds = open_seconds
        self._end = end
        self._connection = connection
        self._stub = RuntimeServiceStub(connection.channel)
        self._request = request
        self._on_reconnect = on_reconnect
        self._frames: deque[EventFrame] = deque()
        self._responses: asyncio.Queue[list[EventFrame]] = asyncio.Queue(1)
        self._error: RunwrightError | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_stopped = False

    def start(self) -> None:
        """Opens the stream, unless that has been done."""
        if self._task is None and not self._is_stopped:
            self._task = asyncio.create_task(self._read())
            self._task.add_done_callback(self._wake)
            self._end.watch(lambda: self._wake(None))

    async def next(self) -> EventFrame:
        """The next frame."""
        while not self._frames:
            self.start()
            if self._end.is_reached and not self._is_stopped:
                self._error = self._end.told()
                self.stop()
            if self._is_over():
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._frames.extend(await self._responses.get())
        frame = self._frames.popleft()
        self._end.passed(frame)
        return frame

    def stop(self) -> None:
        """Ends the stream soon. May be called from any thread, and more than once."""
        self._is_stopped = True
        self._end.stop()
        if self._task is not None and not (loop := self._task.get_loop()).is_closed():
            loop.call_soon_threadsafe(self._task.cancel)

    async def aclose(self) -> None:
        """Ends the stream, and returns once it has ended."""
        self.stop()
        self._frames.clear()
        if self._task is not None:
            await asyncio.wait({self._task})

    def _is_over(self) -> bool:
        return self._is_stopped or (self._task is not None and self._task.done() and self._responses.empty())

    async def _read(self) -> None:
        contact = Contact(self._open_seconds)
        try:
            while not self._is_stopped:
                try:
                    if await self._read_once(contact):
                        return
                    lost = RunwrightError("The stream ended.", reason="UNAVAILABLE", code="UNAVAILABLE")
                except RunwrightError as error:
                    lost = error
                is_cut_short = lost.reason == lost.code and lost.code in _CUT_SHORT
                passes = not self._connection.is_closed and (lost.retryable or is_cut_short)
                await self._pause(contact.lost(lost, passes=passes), lost)
        except Exception as error:  # noqa: BLE001  # whoever waits for a frame is told
            self._error = typed(error, self._connection.peer)

    def _wake(self, _: object) -> None:
        if self._task is not None and self._task.done():
            self._end.stop()
        if self._responses.empty():
            self._responses.put_nowait([])

    async def _read_once(self, contact: Contact) -> bool:
        """Reads one stream. True when it came to its end: streams of many runs have none."""
        stream = self._connection.stream(self._stub.subscribe, self._request)
        async with self._opening() as opening, aclosing(stream) as responses:
            async for response in responses:
                opening.reschedule(None)
                contact.made()
                await self._responses.put(response.frames)
                if response.frames:
                    # Where to begin is said once: from now on there is a cursor, behind what was handed on.
                    cursor = response.frames[-1].cursor
                    self._request = replace(self._request, after_cursor=cursor, live_only=False)
        scope = self._request.scope
        return scope is not None and scope.run_id is not None

    @asynccontextmanager
    async def _opening(self) -> AsyncGenerator[asyncio.Timeout]:
        """A server that does not even open a stream in time is as good as away."""
        try:
            async with asyncio.timeout(self._open_seconds) as opening:
                yield opening
        except TimeoutError as error:
            raise typed(error, self._connection.peer) from error

    async def _pause(self, wait: float, lost: RunwrightError) -> None:
        self.reconnects += 1
        _log.warning("The stream was lost and is opened again in %.1f s: %s", wait, lost)
        if self._on_reconnect is not None:
            try:
                self._on_reconnect(lost)
            except Exception:  # noqa: BLE001  # the stream is not at fault
                _log.exception("on_reconnect failed")
        await asyncio.sleep(wait)
