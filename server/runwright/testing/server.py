"""A real server on a real socket, inside this process, on a thread and loop of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType

from runwright.runtime import AgentRuntime
from runwright.transport.calls import CallTimes
from runwright.transport.server import RuntimeServer


class InProcessServer:
    """Serves a runtime on a free loopback port while the `with` block runs, for synchronous callers.

    `make_runtime` is called on the server's loop, because asyncio objects belong
    to the loop they are made on. The block's value has the port in `port`.
    """

    def __init__(self, make_runtime: Callable[[], AgentRuntime], *, stall_seconds: float = 30.0) -> None:
        self._make_runtime = make_runtime
        self._stall_seconds = stall_seconds
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="runwright-server")
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._error: BaseException | None = None
        self.port = 0

    @property
    def address(self) -> str:
        """`127.0.0.1:port`."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> InProcessServer:
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self) -> None:
        try:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            runtime = self._make_runtime()
            server = RuntimeServer(runtime, times=CallTimes(stall=self._stall_seconds))
            self.port = server.bind("127.0.0.1:0")
            await runtime.recover()
            await server.start()
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits in __enter__
            self._error = error
            return
        finally:
            self._ready.set()
        await self._stop.wait()
        runtime.stop_streams()
        await runtime.drain(1_000_000)
        await server.stop(0.1)
        await runtime.close()
