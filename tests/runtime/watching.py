"""Looking at runs from outside: what is on record, and waiting until something is true."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from runwright.core.ids import DEFAULT_NAMESPACE, RunId, RunKey
from runwright.core.kinds import EventKind
from runwright.core.records import Record
from runwright.ports.journal import Journal, StoredEvent
from runwright.runtime import AgentRuntime, RunSnapshot, StreamItem
from runwright.wire.records import decode_event

from tests.builders import Bench

CAP_SECONDS = 60.0
R = TypeVar("R")


def key(run_id: str = "run-1") -> RunKey:
    """The journal's key of a run."""
    return RunKey(DEFAULT_NAMESPACE, RunId(run_id))


async def events(journal: Journal, run_id: str = "run-1") -> list[StoredEvent]:
    """Everything on record of a run."""
    return await journal.read(key(run_id), after=0, limit=1_000_000)


async def records(journal: Journal, run_id: str = "run-1") -> list[Record]:
    """The same, decoded."""
    return [decode_event(event.data) for event in await events(journal, run_id)]


async def records_of(journal: Journal, kind: type[R], run_id: str = "run-1") -> list[R]:
    """The run's records of one type."""
    return [record for record in await records(journal, run_id) if isinstance(record, kind)]


async def kinds(journal: Journal, run_id: str = "run-1") -> list[EventKind]:
    """The kinds of a run's events."""
    return [event.kind for event in await events(journal, run_id)]


async def eventually(holds: Callable[[], bool]) -> None:
    """Lets everybody else go on until it holds; a cap ends the wait for what never comes."""
    async with asyncio.timeout(CAP_SECONDS):
        while not holds():  # noqa: ASYNC110 - a step of the loop, not a nap
            await asyncio.sleep(0)


async def quiet() -> None:
    """Lets everybody else go on until nobody has anything to do but wait: long enough for what must not happen."""
    for _ in range(200):
        await asyncio.sleep(0)


async def reached(runtime: AgentRuntime, kind: EventKind, run_id: str = "run-1", *, times: int = 1) -> StoredEvent:
    """The event of that kind, once it has happened so many times."""
    async with asyncio.timeout(CAP_SECONDS):
        async for batch in await runtime.subscribe_run(run_id):
            for item in batch:
                times -= item.event is not None and item.event.kind is kind
                if item.event is not None and times == 0:
                    return item.event
    raise AssertionError(f"{run_id} ended without {kind.name}")


async def stood_still(runtime: AgentRuntime, run_id: str = "run-1") -> RunSnapshot:
    """The run once it has ended or needs repair."""
    async with asyncio.timeout(CAP_SECONDS):
        snapshot, done = await runtime.wait_run(run_id)
    assert done
    return snapshot


async def streamed(runtime: AgentRuntime, run_id: str = "run-1", after_cursor: str = "") -> list[StreamItem]:
    """Every item of a run's stream until it ends."""
    async with asyncio.timeout(CAP_SECONDS):
        batches = await runtime.subscribe_run(run_id, after_cursor=after_cursor)
        return [item async for batch in batches for item in batch]


async def pass_time(bench: Bench, runtime: AgentRuntime) -> None:
    """Turns the clock to whatever is waited for, until no run is left."""
    async with asyncio.timeout(3 * CAP_SECONDS):
        while runtime.registered_run_count():
            if waiting := bench.manual_clock.waiting:
                bench.manual_clock.advance(waiting[0] - bench.manual_clock.now())
            await asyncio.sleep(0)


async def step_by_step(bench: Bench, runtime: AgentRuntime) -> None:
    """Turns the clock from one wait to the next, each time only once nobody has anything to do but wait."""
    for _ in range(1000):
        await quiet()
        if not runtime.registered_run_count():
            return
        bench.manual_clock.advance(bench.manual_clock.waiting[0] - bench.manual_clock.now())
    raise AssertionError("the run does not come to an end")


@asynccontextmanager
async def abandoned() -> AsyncIterator[None]:
    """Whatever begins inside is gone at the end, without a chance to tidy up: a process that died."""
    before = asyncio.all_tasks()
    try:
        yield
    finally:
        left = asyncio.all_tasks() - before
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
