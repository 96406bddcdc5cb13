"""Stopping a server as a deploy does it: nothing is parked that could be settled, nothing new is begun."""

from __future__ import annotations

import asyncio

import pytest
from runwright.core import records as r
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.kinds import EventKind
from runwright.core.outcomes import RunStatus
from runwright.runtime import AgentRuntime
from runwright.runtime.runs import waits
from runwright.runtime.runs.driver import PARK_AFTER_US
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.journals import FailingJournal, journal_full
from tests.runtime.parts import HeldProvider, HeldTool
from tests.runtime.watching import eventually, kinds, quiet, reached, records_of, stood_still

GRACE = 20 * b.SECOND
WRITING = b.package(b.asks("write"), b.says("{results}"), tools=(b.writing_tool(),))


async def in_a_call(bench: b.Bench, tool: HeldTool, *packages: object) -> AgentRuntime:
    """A runtime whose run is in the middle of a call of `write`."""
    bench.tools = FunctionTools({"write": tool})
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    await tool.begun.wait()
    return runtime


async def restarted(bench: b.Bench) -> AgentRuntime:
    """The runtime of the next process."""
    runtime = bench.runtime()
    await runtime.recover()
    return runtime


async def test_a_drain_waits_for_a_call_that_must_not_be_repeated(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.packages = (WRITING,)
    runtime = await in_a_call(bench, tool)

    draining = asyncio.create_task(runtime.drain(GRACE))
    bench.manual_clock.advance(GRACE - 1)
    await quiet()
    was_done = draining.done()
    tool.let_go.set()
    settled = await draining
    ended = await stood_still(await restarted(bench))

    assert (was_done, settled, tool.given_up) == (False, True, 0)
    [line] = [line for line in bench.log.lines if line.event.startswith("stopping waits")]
    assert line.fields == {"calls": ["run-1 c1.1 write"], "count": 1, "at_most": "20s"}
    assert (ended.status, ended.text) == (RunStatus.COMPLETED, '"done"')
    assert EventKind.TOOL_RECOVERY_REQUIRED not in await kinds(bench.journal)
    assert len(bench.function_tools.ledger) == 1


async def test_a_drain_says_when_its_grace_was_too_short(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.packages = (WRITING,)
    runtime = await in_a_call(bench, tool)

    draining = asyncio.create_task(runtime.drain(GRACE))
    await eventually(lambda: bool(bench.manual_clock.waiting))
    bench.manual_clock.advance(GRACE)
    settled = await draining
    statuses = await stood_still(await restarted(bench))

    assert not settled
    [line] = [line for line in bench.log.lines if line.event.startswith("stopped with calls open")]
    assert line.fields == {"calls": ["run-1 c1.1 write"], "count": 1}
    assert statuses.status is RunStatus.REPAIR_NEEDED
    assert len(bench.function_tools.ledger) == 1


async def test_a_drain_does_not_wait_for_what_may_be_repeated(bench: b.Bench) -> None:
    tool = HeldTool("seen")
    bench.packages = (b.package(b.asks("write"), b.says("{results}"), tools=(b.tool("write"),)),)
    runtime = await in_a_call(bench, tool)

    settled = await runtime.drain(GRACE)
    tool.let_go.set()
    ended = await stood_still(await restarted(bench))

    assert settled
    assert tool.given_up == 1
    assert ended.text == '"seen"'


async def test_a_drain_gives_up_a_model_call_and_the_next_server_asks_again(bench: b.Bench) -> None:
    provider = HeldProvider()
    bench.providers = {"scripted": provider}
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    await provider.requested.wait()

    settled = await runtime.drain(GRACE)
    provider.let_go.set()
    ended = await stood_still(await restarted(bench))

    assert (settled, provider.given_up) == (True, 1)
    assert ended.status is RunStatus.COMPLETED


async def test_calls_without_a_place_have_no_intent_when_a_server_stops_and_are_made_once(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.packages = (
        b.package(
            b.asks("write", "write", "write"),
            b.says("{results}"),
            tools=(b.writing_tool(),),
            budget={"parallel_calls": 1},
        ),
    )
    runtime = await in_a_call(bench, tool)

    draining = asyncio.create_task(runtime.drain(GRACE))
    await quiet()
    tool.let_go.set()
    settled = await draining
    begun = [record.call_id for record in await records_of(bench.journal, r.ToolStarted)]
    second = await restarted(bench)
    for _ in range(3):
        await quiet()
        bench.manual_clock.advance(b.SECOND)
    ended = await stood_still(second)

    assert settled
    assert begun == ["c1.1"]
    assert (ended.status, ended.text) == (RunStatus.COMPLETED, '"done" | "done" | "done"')
    keys = [entry.idempotency_key for entry in bench.function_tools.ledger]
    assert sorted(keys) == [bench.key(f"c1.{index}") for index in (1, 2, 3)]


async def test_nothing_new_is_begun_while_draining(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.packages = (WRITING,)
    runtime = await in_a_call(bench, tool)
    draining = asyncio.create_task(runtime.drain(GRACE))
    await quiet()

    with pytest.raises(AgentError) as start:
        await runtime.start_run(b.request("run-2"))
    with pytest.raises(AgentError) as cancel:
        await runtime.cancel_run("run-1")

    assert start.value.reason is cancel.value.reason is ErrorReason.DRAINING
    assert start.value.metadata == {"retry_after": "2s"}
    tool.let_go.set()
    await draining
    assert await kinds(bench.journal, "run-2") == []


async def test_those_who_wait_are_sent_away(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.packages = (WRITING,)
    runtime = await in_a_call(bench, tool)
    waiting = asyncio.create_task(runtime.wait_run("run-1"))
    reading = asyncio.create_task(reached(runtime, EventKind.RUN_COMPLETED))
    await quiet()

    runtime.stop_streams()
    outcomes = await asyncio.gather(waiting, reading, return_exceptions=True)

    assert [getattr(outcome, "reason", outcome) for outcome in outcomes] == [ErrorReason.DRAINING] * 2
    tool.let_go.set()
    await runtime.drain(GRACE)


async def test_a_cancel_runs_out_while_draining(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.packages = (WRITING,)
    runtime = await in_a_call(bench, tool)
    await runtime.cancel_run("run-1", grace_us=5 * b.SECOND)

    draining = asyncio.create_task(runtime.drain(GRACE))
    await quiet()
    bench.manual_clock.advance(5 * b.SECOND)
    settled = await draining

    assert settled
    [terminal] = await records_of(bench.journal, r.RunCancelled)
    assert terminal.unknown_effects == ("c1.1",)


async def test_a_drain_of_nothing_is_done_at_once(bench: b.Bench) -> None:
    runtime = bench.runtime()
    await runtime.run_text(b.request())

    settled = await runtime.drain(GRACE)

    assert settled
    assert bench.manual_clock.waiting == []


async def test_many_runs_are_stopped_and_taken_up_again(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.packages = (b.package(b.asks("look"), b.says("{results}"), tools=(b.tool(),)),)
    bench.tools = FunctionTools({"look": tool})
    runtime = bench.runtime()
    run_ids = [f"run-{number}" for number in range(50)]
    for run_id in run_ids:
        await runtime.start_run(b.request(run_id))

    await runtime.drain(GRACE)
    tool.let_go.set()
    second = bench.runtime()
    recovered = await second.recover()
    await quiet()
    bench.manual_clock.advance(b.SECOND)  # calls that were handed back as not sent wait a moment
    ended = [await stood_still(second, run_id) for run_id in run_ids]

    assert recovered == 50
    assert {snapshot.status for snapshot in ended} == {RunStatus.COMPLETED}
    assert second.registered_run_count() == 0


async def test_a_full_disk_does_not_hold_up_a_stop_for_what_may_be_repeated(bench: b.Bench) -> None:
    tool = HeldTool("seen")
    bench.packages = (b.package(b.asks("write"), b.says("{results}"), tools=(b.tool("write"),)),)
    bench.tools = FunctionTools({"write": tool})
    journal = FailingJournal(bench.journal)
    runtime = bench.runtime(journal=journal)
    await runtime.start_run(b.request())
    await tool.begun.wait()
    journal.error = journal_full()
    tool.let_go.set()
    await eventually(lambda: journal.refused > 0 and bool(bench.manual_clock.waiting))

    draining = asyncio.create_task(runtime.drain(GRACE))
    await quiet()
    bench.manual_clock.advance(b.SECOND)
    settled = await draining
    ended = await stood_still(await restarted(bench))

    assert settled
    assert ended.status is RunStatus.COMPLETED


async def test_a_run_begins_nothing_while_the_waits_of_many_others_are_left(
    bench: b.Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "LEFT_AT_ONCE", 1)
    provider = HeldProvider()
    away = b.package(b.asks("away"), b.says("{results}"), tools=(b.tool("away", executor="away"),))
    bench.packages, bench.tools = (away,), FunctionTools({"away": b.look}, unreachable={"away"})
    bench.providers = {"scripted": provider}
    runtime = bench.runtime()
    provider.let_go.set()
    for number in range(40):
        await runtime.start_run(b.request(f"parked-{number}"))
    await quiet()
    bench.manual_clock.advance(PARK_AFTER_US)
    await quiet()
    provider.let_go.clear()
    provider.requested.clear()
    await runtime.start_run(b.request())
    await provider.requested.wait()

    draining = asyncio.create_task(runtime.drain(GRACE))
    await asyncio.sleep(0)
    was_draining = not draining.done()
    provider.let_go.set()
    settled = await draining

    assert was_draining and settled
    assert EventKind.MODEL_MESSAGE_COMPLETED not in await kinds(bench.journal)
