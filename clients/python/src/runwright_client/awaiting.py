"""What a function gives, of whatever kind it is: plain, async, a wrapper of either, or an object that is called."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import copy_context
from typing import Any

_MOST_LAYERS = 16  # of awaitables that give awaitables: one that gives itself would hold the loop for ever


def is_async(function: Callable[..., Any]) -> bool:
    """True for what is known to be async before it is called, and so need not be called in a thread."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004  # the method, not whether there is one


async def outcome(work: Callable[[], Any], runs_here: bool, threads: Executor | None) -> object:
    """What `work` gives once all that can be awaited has been; items of a generator as a list.

    Called here if it is async, else in a thread. Raises what it raises, of any
    kind; never leaves its caller waiting for it.
    """
    value, raised = (work(), None) if runs_here else await _in_thread(work, threads)
    if raised is not None:
        raise raised
    for _ in range(_MOST_LAYERS):
        if isinstance(value, concurrent.futures.Future):
            value = asyncio.wrap_future(value)
        if not inspect.isawaitable(value):
            break
        value = await value
    if inspect.isasyncgen(value):
        return [item async for item in value]
    return list(value) if inspect.isgenerator(value) else value


async def _in_thread(work: Callable[[], Any], threads: Executor | None) -> tuple[Any, BaseException | None]:
    """The error is given, not raised: a future takes no StopIteration, and whoever waits for it waits for ever."""

    def run() -> tuple[Any, BaseException | None]:
        try:
            value = work()
            return (list(value) if inspect.isgenerator(value) else value), None
        except BaseException as raised:  # noqa: BLE001  # SystemExit of a tool is no reason for this process to end
            return None, raised

    return await asyncio.get_running_loop().run_in_executor(threads, copy_context().run, run)
