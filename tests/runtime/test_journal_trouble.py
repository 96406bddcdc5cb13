"""A journal that is full, held by somebody, or that says one thing and did another."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from runwright.adapters.sqlite.journal import SqliteJournal
from runwright.core import records as r
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.kinds import TERMINAL
from runwright.core.outcomes import RunStatus
from runwright.runtime import AgentRuntime
from runwright.runtime.runs.run_on_record import APPEND_RETRY_US
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.journals import FailingJournal, LosesAnswer, journal_busy, journal_full
from tests.runtime.parts import HeldTool
from tests.runtime.watching import events, eventually, kinds, quiet, records_of, stood_still, streamed

WRITING = b.package(b.asks("write"), b.says("{results}"), tools=(b.writing_tool(),))


async def in_a_call(bench: b.Bench, journal: FailingJournal, tool: HeldTool) -> AgentRuntime:
    """A runtime whose run is in the middle of a call that must not be repeated."""
    bench.packages, bench.tools = (WRITING,), FunctionTools({"write": tool})
    runtime = bench.runtime(journal=journal)
    await runtime.start_run(b.request())
    await tool.begun.wait()
    return runtime


@pytest.mark.parametrize("error", [journal_full(), journal_busy()], ids=lambda error: error.reason.name)
async def test_results_are_held_until_the_journal_takes_them(bench: b.Bench, error: AgentError) -> None:
    tool = HeldTool()
    journal = FailingJournal(bench.journal)
    runtime = await in_a_call(bench, journal, tool)

    journal.error = error
    tool.let_go.set()
    for tries in (1, 2, 3):
        await eventually(lambda tries=tries: journal.refused == tries)  # type: ignore[misc]
        await quiet()
        bench.manual_clock.advance(APPEND_RETRY_US)
    meanwhile = await runtime.run_snapshot("run-1")
    blockage = runtime.write_blockage()
    journal.error = None
    await quiet()
    bench.manual_clock.advance(APPEND_RETRY_US)
    ended = await stood_still(runtime)

    assert (meanwhile.status, blockage) == (RunStatus.RUNNING, error.reason.name)
    assert (ended.status, ended.text) == (RunStatus.COMPLETED, '"done"')
    assert len(bench.function_tools.ledger) == 1
    assert runtime.write_blockage() is None
    assert len([line for line in bench.log.lines if line.event == "journal takes nothing"]) == 1


async def test_a_disk_that_is_full_at_the_start_is_told_to_the_caller(bench: b.Bench) -> None:
    journal = FailingJournal(bench.journal, journal_full())
    runtime = bench.runtime(journal=journal)

    with pytest.raises(AgentError) as caught:
        await runtime.start_run(b.request())

    assert caught.value.reason is ErrorReason.JOURNAL_FULL
    assert caught.value.metadata["retry_after"]
    with pytest.raises(AgentError) as unknown:
        await runtime.run_snapshot("run-1")
    assert unknown.value.reason is ErrorReason.RUN_NOT_FOUND
    assert runtime.registered_run_count() == 0


async def test_a_real_file_that_is_full_holds_the_run_and_lets_it_go_on(sqlite: SqliteJournal) -> None:
    tool = HeldTool("x" * 500_000)
    parts = b.Bench(journal=sqlite, packages=(WRITING,), tools=FunctionTools({"write": tool}))
    runtime = parts.runtime()
    await runtime.start_run(b.request())
    await tool.begun.wait()

    await sqlite.set_max_bytes(65_536)
    tool.let_go.set()
    await eventually(lambda: runtime.write_blockage() is not None)
    with pytest.raises(AgentError) as refused:
        await runtime.start_run(b.request("run-2", "y" * 60_000))
    await sqlite.set_max_bytes(None)
    parts.manual_clock.advance(APPEND_RETRY_US)
    ended = await stood_still(runtime)

    assert refused.value.reason is ErrorReason.JOURNAL_FULL
    assert ended.status is RunStatus.COMPLETED
    assert len(parts.function_tools.ledger) == 1


@pytest.mark.parametrize("number", [2, 3, 4])
async def test_a_lost_answer_of_the_journal_loses_no_event_and_no_run(bench: b.Bench, number: int) -> None:
    runtime = bench.runtime(journal=LosesAnswer(bench.journal, number, journal_busy()))
    await runtime.start_run(b.request())
    reading = asyncio.create_task(streamed(runtime))
    await quiet()

    bench.manual_clock.advance(APPEND_RETRY_US)
    ended = await stood_still(runtime)
    seen = await reading

    assert (ended.status, ended.text) == (RunStatus.COMPLETED, 'found "a lamp"')
    assert [item.event for item in seen if item.event] == await events(bench.journal)
    assert runtime.registered_run_count() == 0


async def test_a_run_another_writer_has_moved_is_read_anew(bench: b.Bench) -> None:
    tool = HeldTool()
    journal = FailingJournal(bench.journal)
    runtime = await in_a_call(bench, journal, tool)
    state = (await runtime.run_snapshot("run-1")).state
    other = bench.runtime()

    # The other server believes that this one is dead.
    await other.recover()
    await stood_still(other)
    tool.let_go.set()
    await quiet()
    statuses = await stood_still(runtime)

    assert statuses.status is RunStatus.REPAIR_NEEDED
    assert statuses.state.seq > state.seq
    assert len(bench.function_tools.ledger) == 1
    assert len(await records_of(bench.journal, r.ToolRecoveryRequired)) == 1


async def test_a_run_the_journal_refused_for_good_is_held_until_it_has_ended(bench: b.Bench) -> None:
    tool = HeldTool()
    journal = FailingJournal(bench.journal)
    runtime = await in_a_call(bench, journal, tool)
    journal.error = AgentError(ErrorReason.JOURNAL_CORRUPT, "Bad disk.", metadata={"run_id": "", "first_bad": ""})
    tool.let_go.set()
    await eventually(lambda: runtime.write_blockage() is not None)
    held = runtime.registered_run_count(), runtime.write_blockage()

    journal.error = None
    await runtime.cancel_run("run-1")
    ended = await stood_still(runtime)

    assert held == (1, "JOURNAL_CORRUPT")
    assert ended.status is RunStatus.CANCELLED
    assert (runtime.registered_run_count(), runtime.write_blockage()) == (0, None)


async def test_a_restart_takes_up_what_was_held(bench: b.Bench, tmp_path: Path) -> None:
    tool = HeldTool()
    journal = FailingJournal(bench.journal)
    bench.tools = FunctionTools({"look": tool})
    runtime = bench.runtime(journal=journal)
    await runtime.start_run(b.request())
    await tool.begun.wait()
    journal.error = AgentError(ErrorReason.JOURNAL_CORRUPT, "Bad disk.", metadata={"run_id": "", "first_bad": ""})
    tool.let_go.set()
    await eventually(lambda: runtime.write_blockage() is not None)

    second = bench.runtime()
    await second.recover()
    ended = await stood_still(second)

    assert ended.status is RunStatus.COMPLETED
    assert len(TERMINAL & set(await kinds(bench.journal))) == 1
