"""A cancel of a run that waits: for repair, for an executor, for a disk."""

from __future__ import annotations

import asyncio

import pytest
from runwright.core import records as r
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.kinds import EventKind
from runwright.core.outcomes import RunStatus
from runwright.ports.tools import ToolOutcome, ToolOutcomeKind
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.journals import FailingJournal, journal_full
from tests.runtime.parts import HeldProvider
from tests.runtime.test_cancel import READING, WRITING, check_cancelled
from tests.runtime.watching import eventually, reached, records_of, stood_still


async def lost(arguments: object) -> ToolOutcome:
    return ToolOutcome(ToolOutcomeKind.LOST)


async def test_a_run_parked_for_repair_can_be_cancelled(bench: b.Bench) -> None:
    bench.packages = (WRITING,)
    bench.tools = FunctionTools({"write": lost})
    runtime = bench.runtime()
    parked = await runtime.run_text(b.request())

    cancelled = await runtime.cancel_run("run-1")

    ended = await stood_still(runtime)
    assert (parked.status, ended.status) == (RunStatus.REPAIR_NEEDED, RunStatus.CANCELLED)
    await check_cancelled(bench.journal, cancelled)
    [terminal] = await records_of(bench.journal, r.RunCancelled)
    assert terminal.unknown_effects == ("c1.1",)
    assert runtime.registered_run_count() == 0


async def test_ten_cancels_of_a_parked_run_are_one(bench: b.Bench) -> None:
    bench.packages = (WRITING,)
    bench.tools = FunctionTools({"write": lost})
    runtime = bench.runtime()
    await runtime.run_text(b.request())

    cancels = await asyncio.gather(*(runtime.cancel_run("run-1") for _ in range(10)))

    assert len({cancelled.barrier_seq for cancelled in cancels}) == 1
    assert len(await records_of(bench.journal, r.RunCancelRequested)) == 1
    await check_cancelled(bench.journal, cancels[0])


async def test_a_parked_run_can_be_cancelled_after_a_restart(bench: b.Bench) -> None:
    bench.packages = (WRITING,)
    bench.tools = FunctionTools({"write": lost})
    await bench.runtime().run_text(b.request())

    second = bench.runtime()
    await second.recover()
    cancelled = await second.cancel_run("run-1")

    assert (await stood_still(second)).status is RunStatus.CANCELLED
    await check_cancelled(bench.journal, cancelled)
    assert len(bench.function_tools.ledger) == 1


async def test_a_run_that_waits_for_an_executor_can_be_cancelled(bench: b.Bench) -> None:
    bench.packages = (WRITING,)
    bench.tools = FunctionTools({"write": lost}, unreachable={"tools"})
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    await reached(runtime, EventKind.RETRY_SCHEDULED)

    cancelled = await runtime.cancel_run("run-1")
    bench.function_tools.reach("tools")
    bench.manual_clock.advance(60 * b.SECOND)

    await stood_still(runtime)
    await check_cancelled(bench.journal, cancelled)
    assert bench.function_tools.ledger == []
    [terminal] = await records_of(bench.journal, r.RunCancelled)
    assert terminal.unknown_effects == ()


async def test_a_cancel_that_meets_a_full_disk_is_told_and_still_takes_effect(bench: b.Bench) -> None:
    provider = HeldProvider()
    bench.packages, bench.providers = (READING,), {"scripted": provider}
    journal = FailingJournal(bench.journal)
    runtime = bench.runtime(journal=journal)
    await runtime.start_run(b.request())
    journal.error = journal_full()

    refusals = []
    for _ in range(2):
        with pytest.raises(AgentError) as refused:
            await runtime.cancel_run("run-1")
        refusals.append(refused.value.reason)
    journal.error = None
    await eventually(lambda: bool(bench.manual_clock.waiting))
    bench.manual_clock.advance(b.SECOND)
    await stood_still(runtime)

    cancelled = await runtime.cancel_run("run-1")
    assert refusals == [ErrorReason.JOURNAL_FULL] * 2
    await check_cancelled(bench.journal, cancelled)
