"""A cancel, whatever the run is busy with."""

from __future__ import annotations

import asyncio

import pytest
from runwright.core import records as r
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.kinds import TERMINAL, EventKind
from runwright.core.outcomes import RunStatus, StopReason
from runwright.ports.journal import Journal
from runwright.runtime import AgentRuntime
from runwright.runtime.runtime import Cancelled
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.journals import GatedJournal
from tests.runtime.parts import HeldProvider, HeldTool
from tests.runtime.watching import abandoned, events, kinds, quiet, records_of, stood_still

READING = b.package(b.asks("look"), b.says("{results}"), tools=(b.tool(),))
WRITING = b.package(b.asks("write"), b.says("{results}"), tools=(b.writing_tool(),))
BEGINNINGS = {EventKind.MODEL_ATTEMPT_STARTED, EventKind.TOOL_REQUESTED, EventKind.TOOL_STARTED}


async def check_cancelled(journal: Journal, cancelled: Cancelled, run_id: str = "run-1") -> None:
    """One terminal event, the turn's end before it, and nothing begun after the barrier."""
    seen = await events(journal, run_id)
    assert [event.kind for event in seen[-2:]] == [EventKind.TURN_FAILED, EventKind.RUN_CANCELLED]
    assert [event.kind for event in seen if event.kind in TERMINAL] == [EventKind.RUN_CANCELLED]
    assert seen[cancelled.barrier_seq - 1].kind is EventKind.RUN_CANCEL_REQUESTED
    assert BEGINNINGS.isdisjoint(event.kind for event in seen[cancelled.barrier_seq :])


async def in_a_call(bench: b.Bench, tool: HeldTool) -> AgentRuntime:
    """A runtime whose run is in the middle of its only call."""
    [spec] = bench.packages[0].tools
    bench.tools = FunctionTools({spec.name: tool})
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    await tool.begun.wait()
    return runtime


async def test_a_run_can_be_cancelled_before_anything_ran(bench: b.Bench) -> None:
    journal = GatedJournal(bench.journal)
    journal.gate.clear()
    runtime = bench.runtime(journal=journal)
    starting = asyncio.create_task(runtime.start_run(b.request()))
    await quiet()
    cancelling = asyncio.create_task(runtime.cancel_run("run-1"))
    await quiet()

    journal.gate.set()
    await starting
    cancelled = await cancelling

    await stood_still(runtime)
    await check_cancelled(bench.journal, cancelled)
    assert bench.function_tools.ledger == []


async def test_cancelling_a_model_call_gives_it_up(bench: b.Bench) -> None:
    provider = HeldProvider()
    bench.providers = {"scripted": provider}
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    await provider.requested.wait()

    cancelled = await runtime.cancel_run("run-1", reason="enough")

    ended = await stood_still(runtime)
    await check_cancelled(bench.journal, cancelled)
    assert (ended.status, ended.state.stop) == (RunStatus.CANCELLED, StopReason.CANCELLED)
    await quiet()
    assert provider.given_up == 1


async def test_the_record_says_who_cancelled_and_why(bench: b.Bench) -> None:
    provider = HeldProvider()
    bench.providers = {"scripted": provider}
    runtime = bench.runtime()
    await runtime.start_run(b.request())

    await runtime.cancel_run("run-1", reason="enough", principal="ann", grace_us=5 * b.SECOND)

    [requested] = await records_of(bench.journal, r.RunCancelRequested)
    assert (requested.reason, requested.requested_by) == ("enough", "ann")
    assert requested.deadline == bench.clock.now() + 5 * b.SECOND


async def test_a_call_that_may_be_repeated_is_told_at_once(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.packages = (READING,)
    runtime = await in_a_call(bench, tool)

    cancelled = await runtime.cancel_run("run-1")

    ended = await stood_still(runtime)
    await check_cancelled(bench.journal, cancelled)
    assert [record.call_id for record in await records_of(bench.journal, r.ToolCancelled)] == ["c1.1"]
    assert ended.status is RunStatus.CANCELLED
    await quiet()
    assert tool.given_up == 1


async def test_a_call_that_must_not_be_repeated_may_answer_before_the_deadline(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.packages = (WRITING,)
    runtime = await in_a_call(bench, tool)

    cancelled = await runtime.cancel_run("run-1", grace_us=10 * b.SECOND)
    bench.manual_clock.advance(10 * b.SECOND - 1)
    await quiet()
    meanwhile = await runtime.run_snapshot("run-1")
    tool.let_go.set()

    ended = await stood_still(runtime)
    assert (meanwhile.status, tool.given_up) == (RunStatus.CANCELLING, 0)
    await check_cancelled(bench.journal, cancelled)
    assert len(await records_of(bench.journal, r.ToolCompleted)) == 1
    [terminal] = await records_of(bench.journal, r.RunCancelled)
    assert terminal.unknown_effects == ()
    assert ended.status is RunStatus.CANCELLED


async def test_a_call_that_does_not_answer_by_the_deadline_is_named_as_unknown(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.packages = (WRITING,)
    runtime = await in_a_call(bench, tool)

    cancelled = await runtime.cancel_run("run-1", grace_us=10 * b.SECOND)
    await quiet()
    bench.manual_clock.advance(10 * b.SECOND)

    await stood_still(runtime)
    await check_cancelled(bench.journal, cancelled)
    [unknown] = await records_of(bench.journal, r.ToolRecoveryRequired)
    [terminal] = await records_of(bench.journal, r.RunCancelled)
    assert (unknown.call_id, unknown.idempotency_key) == ("c1.1", bench.key("c1.1"))
    assert terminal.unknown_effects == ("c1.1",)
    await quiet()
    assert tool.given_up == 1


async def test_cancelling_an_ended_run_changes_nothing(bench: b.Bench) -> None:
    runtime = bench.runtime()
    ended = await runtime.run_text(b.request())
    on_record = await kinds(bench.journal)

    cancelled = await runtime.cancel_run("run-1")

    assert (cancelled.snapshot, cancelled.barrier_seq) == (ended, 0)
    assert await kinds(bench.journal) == on_record


async def test_a_second_cancel_answers_with_the_first_ones_barrier(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.packages = (WRITING,)
    runtime = await in_a_call(bench, tool)

    at_once = await asyncio.gather(*(runtime.cancel_run("run-1") for _ in range(10)))
    on_record = await kinds(bench.journal)
    later = await runtime.cancel_run("run-1")
    tool.let_go.set()
    await stood_still(runtime)
    after_the_end = await runtime.cancel_run("run-1")

    barriers = {cancelled.barrier_seq for cancelled in (*at_once, later, after_the_end)}
    assert barriers == {on_record.index(EventKind.RUN_CANCEL_REQUESTED) + 1}
    assert on_record.count(EventKind.RUN_CANCEL_REQUESTED) == 1
    await check_cancelled(bench.journal, later)


async def test_a_cancel_survives_a_restart(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.packages = (WRITING,)
    async with abandoned():
        runtime = await in_a_call(bench, tool)
        cancelled = await runtime.cancel_run("run-1")

    second = bench.runtime()
    await second.recover()
    ended = await stood_still(second)

    await check_cancelled(bench.journal, cancelled)
    assert ended.status is RunStatus.CANCELLED
    assert [call.idempotency_key for call in bench.function_tools.ledger] == [bench.key("c1.1")]


async def test_only_the_run_that_is_named_is_cancelled(bench: b.Bench) -> None:
    provider = HeldProvider()
    bench.providers = {"scripted": provider}
    runtime = bench.runtime()
    for run_id in ("run-1", "run-2"):
        await runtime.start_run(b.request(run_id))

    await runtime.cancel_run("run-1")
    provider.let_go.set()

    assert (await stood_still(runtime, "run-1")).status is RunStatus.CANCELLED
    assert (await stood_still(runtime, "run-2")).status is RunStatus.COMPLETED


async def test_a_run_nobody_started_cannot_be_cancelled(bench: b.Bench) -> None:
    runtime = bench.runtime()

    with pytest.raises(AgentError) as caught:
        await runtime.cancel_run("run-9")

    assert caught.value.reason is ErrorReason.RUN_NOT_FOUND
    assert caught.value.metadata == {"run_id": "run-9"}
