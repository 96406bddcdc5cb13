"""An effect is started once for each attempt on record, however the answers and the appends interleave."""

from __future__ import annotations

import asyncio

import pytest
from runwright.core import records as r
from runwright.core.outcomes import RunStatus
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.journals import GatedJournal
from tests.runtime.parts import HeldProvider, HeldTool, RecordingProvider
from tests.runtime.watching import eventually, quiet, records_of, stood_still


@pytest.mark.parametrize("effect", ["read", "write"])
async def test_a_call_answered_while_another_answer_is_written_is_not_made_again(bench: b.Bench, effect: str) -> None:
    first, second = HeldTool("first"), HeldTool("second")
    tools = b.tool("first", effect=effect), b.tool("second", effect=effect)
    bench.packages = (b.package(b.asks("first", "second"), b.says("{results}"), tools=tools),)
    bench.tools = FunctionTools({"first": first, "second": second})
    journal = GatedJournal(bench.journal)
    runtime = bench.runtime(journal=journal)
    await runtime.start_run(b.request())
    await asyncio.gather(first.begun.wait(), second.begun.wait())

    journal.gate.clear()
    first.let_go.set()
    await eventually(lambda: journal.held == 1)
    second.let_go.set()
    await quiet()
    journal.gate.set()
    ended = await stood_still(runtime)

    assert (ended.status, ended.text) == (RunStatus.COMPLETED, '"first" | "second"')
    assert [entry.tool for entry in bench.function_tools.ledger] == ["first", "second"]


async def test_nothing_is_started_before_its_intent_is_on_record(bench: b.Bench) -> None:
    recorder = RecordingProvider()
    bench.providers = {"scripted": recorder}
    journal = GatedJournal(bench.journal)
    journal.gate.clear()
    runtime = bench.runtime(journal=journal)
    starting = asyncio.create_task(runtime.start_run(b.request()))

    await quiet()
    asked_early = len(recorder.requests)
    journal.gate.set()
    await starting
    await eventually(lambda: bool(recorder.requests))
    journal.gate.clear()
    await eventually(lambda: journal.held == 1)
    called_early = len(bench.function_tools.ledger)
    journal.gate.set()
    await stood_still(runtime)

    assert (asked_early, called_early) == (0, 0)
    assert (len(recorder.requests), len(bench.function_tools.ledger)) == (2, 1)


async def test_a_call_that_was_not_sent_when_its_run_was_cancelled_never_is(bench: b.Bench) -> None:
    provider = HeldProvider()
    bench.providers = {"scripted": provider}
    bench.packages = (b.package(b.asks("look"), b.says("done"), tools=(b.writing_tool("look"),)),)
    journal = GatedJournal(bench.journal)
    runtime = bench.runtime(journal=journal)
    await runtime.start_run(b.request())
    await provider.requested.wait()

    journal.gate.clear()
    provider.let_go.set()
    await eventually(lambda: journal.held == 1)
    cancelling = asyncio.create_task(runtime.cancel_run("run-1"))
    await quiet()
    journal.gate.set()
    await cancelling
    await stood_still(runtime)

    assert bench.function_tools.ledger == []
    [terminal] = await records_of(bench.journal, r.RunCancelled)
    assert terminal.unknown_effects == ()


async def test_a_call_that_is_given_up_and_answers_nevertheless_changes_nothing(bench: b.Bench) -> None:
    async def stubborn(arguments: object) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "too late"
        return "never"

    bench.tools = FunctionTools({"look": stubborn})
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    await eventually(lambda: bool(bench.function_tools.ledger))

    cancelled = await runtime.cancel_run("run-1")
    ended = await stood_still(runtime)
    await quiet()

    assert ended.status is RunStatus.CANCELLED
    assert (await runtime.run_snapshot("run-1")).state == ended.state
    assert cancelled.barrier_seq > 0
    assert runtime.registered_run_count() == 0
