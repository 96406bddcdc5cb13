"""A fault, a lost race and a stop that meet a caller or each other: all are told the truth, nothing is left over."""

from __future__ import annotations

import asyncio

import pytest
from runwright.core import records as r
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import RunKey
from runwright.core.outcomes import RunStatus, StopReason
from runwright.ports.journal import Journal, LoadedRun
from runwright.ports.tools import Granted, PlaceRequest, PlaceWait, ToolOutcome
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.journals import FailingJournal, GatedJournal, JournalWrapper
from tests.runtime.parts import HeldTool, LeakyTools
from tests.runtime.watching import CAP_SECONDS, eventually, quiet, records_of, stood_still


class PausingLoad(JournalWrapper):
    """Pauses after it has read a run, once it is told to."""

    def __init__(self, inner: Journal) -> None:
        super().__init__(inner)
        self.armed = False
        self.paused = asyncio.Event()
        self.go_on = asyncio.Event()

    async def load(self, run: RunKey) -> LoadedRun | None:
        """See the class."""
        found = await self.inner.load(run)
        if self.armed:
            self.armed = False
            self.paused.set()
            await self.go_on.wait()
        return found


async def test_a_cancel_that_overtakes_the_end_of_a_faulty_run_leaves_nothing_stuck(bench: b.Bench) -> None:
    async def fault(arguments: object) -> ToolOutcome:
        journal.armed = True
        raise ZeroDivisionError

    bench.tools = LeakyTools({"look": fault})
    journal = PausingLoad(bench.journal)
    runtime = bench.runtime(journal=journal)
    await runtime.start_run(b.request())
    await asyncio.wait_for(journal.paused.wait(), CAP_SECONDS)

    cancelling = asyncio.create_task(runtime.cancel_run("run-1"))
    await quiet()
    journal.go_on.set()
    await asyncio.wait_for(cancelling, CAP_SECONDS)
    ended = await stood_still(runtime)
    await quiet()

    assert ended.status in (RunStatus.CANCELLED, RunStatus.FAILED)
    assert (runtime.registered_run_count(), runtime.write_blockage()) == (0, None)


async def test_a_lost_race_while_draining_begins_nothing_new(bench: b.Bench) -> None:
    write, look = HeldTool(), HeldTool()
    tools = b.writing_tool("write"), b.tool("look")
    bench.packages = (b.package(b.asks("write", "look"), b.says("done"), tools=tools),)
    bench.tools = FunctionTools({"write": write, "look": look})
    journal = FailingJournal(bench.journal)
    runtime = bench.runtime(journal=journal)
    await runtime.start_run(b.request())
    await asyncio.gather(write.begun.wait(), look.begun.wait())
    draining = asyncio.create_task(runtime.drain(20 * b.SECOND))
    await quiet()

    journal.error = AgentError(ErrorReason.JOURNAL_CONFLICT, "Too late.", metadata={"run_id": "run-1"})
    write.let_go.set()
    await eventually(lambda: journal.refused == 1)
    journal.error = None
    await asyncio.wait_for(draining, CAP_SECONDS)
    await quiet()

    assert len(bench.function_tools.ledger) == 2
    assert (look.running, write.running) == (0, 0)


async def test_a_start_under_way_when_the_grace_ends_is_told_how_it_went(bench: b.Bench) -> None:
    journal = GatedJournal(bench.journal)
    journal.gate.clear()
    runtime = bench.runtime(journal=journal)
    starting = asyncio.create_task(runtime.start_run(b.request()))
    await eventually(lambda: journal.held == 1)

    draining = asyncio.create_task(runtime.drain(0))
    await quiet()
    journal.gate.set()
    await asyncio.wait_for(draining, CAP_SECONDS)
    [message] = await asyncio.gather(starting, return_exceptions=True)

    assert await bench.journal.open_runs() != []
    assert isinstance(message, tuple) or getattr(message, "reason", message) is ErrorReason.DRAINING


class ShyTools(FunctionTools):
    """Cannot be reached, and cancels itself when somebody waits for it."""

    def wait_for_place(self, wanted: PlaceRequest, granted: Granted) -> PlaceWait:
        """See the class."""
        raise asyncio.CancelledError


async def test_a_wait_for_an_executor_that_cancels_itself_does_not_hang_the_run(bench: b.Bench) -> None:
    bench.tools = ShyTools({"look": b.look}, unreachable={"tools"})
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    ended = await stood_still(runtime)

    assert ended.state.is_terminal


async def test_a_fault_beside_a_call_that_must_not_be_repeated_names_it_as_unknown(bench: b.Bench) -> None:
    write = HeldTool()

    async def fault(arguments: object) -> ToolOutcome:
        await write.begun.wait()
        raise ZeroDivisionError

    tools = b.writing_tool("write"), b.tool("fault"), b.tool("look")
    bench.packages = (b.package(b.asks("write", "fault", "look"), b.says("done"), tools=tools),)
    bench.tools = LeakyTools({"write": write, "fault": fault, "look": HeldTool()})
    runtime = bench.runtime()
    await runtime.start_run(b.request())

    ended = await stood_still(runtime)

    assert (ended.status, ended.state.stop) == (RunStatus.FAILED, StopReason.INTERNAL)
    [unknown] = await records_of(bench.journal, r.ToolRecoveryRequired)
    assert unknown.call_id == "c1.1"
    begun = {record.call_id for record in await records_of(bench.journal, r.ToolStarted)}
    settled = await records_of(bench.journal, r.ToolCancelled) + await records_of(bench.journal, r.ToolFailed)
    assert begun == {"c1.1", *(record.call_id for record in settled)}


@pytest.mark.parametrize("turns", range(8))
async def test_a_cancel_in_whatever_turn_a_driver_fails_is_not_told_that_the_server_stops(
    bench: b.Bench, turns: int
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def fault(arguments: object) -> ToolOutcome:
        begun.set()
        await go_on.wait()
        raise ZeroDivisionError

    bench.tools = LeakyTools({"look": fault})
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    await begun.wait()

    go_on.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    cancelled = await runtime.cancel_run("run-1")

    assert cancelled.snapshot.state.is_terminal
    assert (await stood_still(runtime)).status in (RunStatus.CANCELLED, RunStatus.FAILED)
