"""A server that is stopped, or dies again, while it takes up what another one left."""

from __future__ import annotations

import asyncio

from runwright.adapters.memory import MemoryJournal
from runwright.core.outcomes import RunStatus
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.journals import GatedJournal
from tests.runtime.parts import HeldTool
from tests.runtime.watching import abandoned, quiet, stood_still

PACKAGE = b.package(b.asks("write"), b.says("{results}"), tools=(b.writing_tool(),))
REPEATABLE = b.package(b.asks("look"), b.says("{results}"), tools=(b.tool(),))


async def died_in_the_call(bench: b.Bench, tool: HeldTool) -> None:
    """Leaves a run whose only call was begun and never answered."""
    async with abandoned():
        await bench.runtime().start_run(b.request())
        await asyncio.wait_for(tool.begun.wait(), 60)


async def test_a_stop_right_after_the_restart_does_not_free_a_lost_call(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.tools = FunctionTools({"write": tool})
    bench.packages = (PACKAGE,)
    await died_in_the_call(bench, tool)

    second = bench.runtime()
    await second.recover()
    await second.drain(0)
    tool.let_go.set()  # a call sent again would be answered
    third = bench.runtime()
    await third.recover()
    statuses = await stood_still(third)

    assert statuses.status is RunStatus.REPAIR_NEEDED
    assert len(bench.function_tools.ledger) == 1


async def test_nothing_is_sent_before_the_recovery_is_on_record(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.tools = FunctionTools({"write": tool})
    bench.packages = (PACKAGE,)
    await died_in_the_call(bench, tool)
    slow = GatedJournal(bench.journal)
    slow.gate.clear()

    second = bench.runtime(journal=slow)
    await second.recover()
    await quiet()

    assert slow.held == 1
    assert len(bench.function_tools.ledger) == 1


async def test_a_call_that_may_be_repeated_is_sent_again_under_a_higher_attempt(bench: b.Bench) -> None:
    tool = HeldTool("seen")
    bench.tools = FunctionTools({"look": tool})
    bench.packages = (REPEATABLE,)
    await died_in_the_call(bench, tool)
    tool.let_go.set()

    second = bench.runtime()
    await second.recover()
    ended = await stood_still(second)

    assert ended.text == '"seen"'
    assert [(entry.idempotency_key, entry.attempt) for entry in bench.function_tools.ledger] == [
        (bench.key("c1.1"), 1),
        (bench.key("c1.1"), 2),
    ]


async def test_a_run_keeps_its_keys_when_its_journal_is_restored_as_another(bench: b.Bench) -> None:
    tool = HeldTool("seen")
    bench.tools = FunctionTools({"look": tool})
    bench.packages = (REPEATABLE,)
    before = bench.key("c1.1")
    await died_in_the_call(bench, tool)
    tool.let_go.set()
    assert isinstance(bench.journal, MemoryJournal)
    bench.journal.incarnation = "f" * 32

    second = bench.runtime()
    await second.recover()
    await stood_still(second)

    assert {entry.idempotency_key for entry in bench.function_tools.ledger} == {before}
    assert bench.key("c1.1") != before


async def test_the_package_of_the_start_is_the_one_the_run_ends_with(bench: b.Bench) -> None:
    tool = HeldTool("seen")
    bench.tools = FunctionTools({"look": tool})
    bench.packages = (REPEATABLE,)
    await died_in_the_call(bench, tool)
    tool.let_go.set()

    second = bench.runtime(b.package(b.says("another package")))
    await second.recover()
    ended = await stood_still(second)

    assert ended.text == '"seen"'
    assert ended.state.package_fingerprint == REPEATABLE.fingerprint()
