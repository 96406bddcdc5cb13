"""What was read of a run may be old by the time it is used: who ended or took the run up meanwhile stays right."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from runwright.core.errors import AgentError
from runwright.core.ids import RunKey
from runwright.core.outcomes import RunStatus
from runwright.core.selection import RunFilter
from runwright.core.state import RunState
from runwright.ports.journal import LoadedRun
from runwright.runtime.runs.driver import PARK_AFTER_US
from runwright.runtime.runs.recovery import RETRY_US

from tests import builders as b
from tests.runtime.journals import journal_full
from tests.runtime.test_full_at_start import Full, supervisor_of
from tests.runtime.test_missing_provider import WAITING, left_asking
from tests.runtime.test_parking import away, parked
from tests.runtime.watching import eventually, key, kinds, quiet, stood_still


class Slow(Full):
    """Hands out what it has read when it is told to."""

    def __init__(self, bench: b.Bench) -> None:
        super().__init__(bench, journal_full())
        self.gate = asyncio.Event()
        self.is_read = False

    async def load_many(self, runs: Sequence[RunKey]) -> list[LoadedRun | AgentError | None]:
        """See the class."""
        found = await super().load_many(runs)
        self.is_read = True
        await self.gate.wait()
        return found


async def test_a_run_that_is_cancelled_while_a_start_reads_it_is_not_parked_as_it_was(bench: b.Bench) -> None:
    await left_asking(bench)
    slow = Slow(bench)
    bench.recovery = slow
    runtime = bench.runtime(journal=slow)
    await runtime.recover()  # the disk is full: runs are taken up later, the server serves
    await quiet()
    slow.error = None
    bench.manual_clock.advance(RETRY_US)
    await eventually(lambda: slow.is_read)

    await runtime.cancel_run("run-1")
    ended = await stood_still(runtime)
    slow.gate.set()
    await quiet()

    assert ended.status is RunStatus.CANCELLED
    assert runtime.registered_run_count() == 0
    assert (await runtime.list_runs(WAITING)).runs == []
    [listed] = (await runtime.list_runs(RunFilter())).runs
    assert listed.status is RunStatus.CANCELLED


@pytest.mark.parametrize("others", [1, 3])
async def test_who_comes_late_to_what_was_read_of_a_run_reads_it_again(bench: b.Bench, others: int) -> None:
    away(bench)
    runtime = bench.runtime()
    await parked(bench, runtime, "run-1")
    live = supervisor_of(runtime)._live
    late = [live.revive(key()) for _ in range(others)]
    for coroutine in late:
        coroutine.send(None)  # it waits for what is being read, and is not told when that is there

    await live.revive(key())
    await quiet()
    bench.manual_clock.advance(PARK_AFTER_US)
    await quiet()  # its driver has left; the next one reads anew, and ends the run
    await runtime.cancel_run("run-1")
    assert (await stood_still(runtime)).status is RunStatus.CANCELLED
    before = await kinds(bench.journal)

    for coroutine in late:
        found = await _gone_on(coroutine)
        assert isinstance(found, RunState) and found.is_terminal
    await quiet()
    assert await kinds(bench.journal) == before
    assert runtime.registered_run_count() == 0


async def _gone_on(coroutine: object) -> object:
    """The answer of a coroutine that has begun to wait, and has not been told that its wait is over."""

    class Rest:
        def __await__(self) -> object:
            return (yield from coroutine.__await__())  # type: ignore[attr-defined]

    return await Rest()  # type: ignore[misc]
