"""What a run may use up, and how it ends when it has."""

from __future__ import annotations

import asyncio

import pytest
from runwright.core import records as r
from runwright.core.errors import ErrorReason
from runwright.core.outcomes import RunStatus, StopReason, Usage
from runwright.core.package import RuntimePackage
from runwright.core.request import Budget
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.parts import HeldTool
from tests.runtime.watching import quiet, records_of, stood_still


def eager(*calls: int, **budget: int) -> RuntimePackage:
    """A model that asks for so many calls in each round and would then answer."""
    script = [b.asks(*["look"] * count) for count in calls]
    return b.package(*script, b.says("done"), tools=(b.tool(),), budget=budget)


async def test_rounds_used_up_fail_the_run(bench: b.Bench) -> None:
    runtime = bench.runtime(eager(1, 1, 1, rounds=2))

    ended = await runtime.run_text(b.request())

    assert (ended.status, ended.state.stop) == (RunStatus.FAILED, StopReason.MAX_ROUNDS)
    assert ended.state.error is not None
    assert ended.state.error.reason is ErrorReason.BUDGET_EXHAUSTED
    assert dict(ended.state.error.metadata) == {"budget": "rounds", "limit": "2"}
    assert ended.state.usage == Usage(rounds=2, tool_calls=2)


async def test_the_last_round_may_answer(bench: b.Bench) -> None:
    ended = await bench.runtime(eager(1, rounds=2)).run_text(b.request())

    assert (ended.status, ended.text) == (RunStatus.COMPLETED, "done")


async def test_tool_calls_used_up_in_the_middle_of_a_round_let_the_others_settle(bench: b.Bench) -> None:
    runtime = bench.runtime(eager(2, 3, tool_calls=4))

    ended = await runtime.run_text(b.request())

    assert (ended.status, ended.state.stop) == (RunStatus.FAILED, StopReason.MAX_TOOL_CALLS)
    assert ended.state.error is not None
    assert dict(ended.state.error.metadata) == {"budget": "tool_calls", "limit": "4"}
    failed = await records_of(bench.journal, r.ToolFailed)
    assert [(record.call_id, record.reason) for record in failed] == [("c2.3", ErrorReason.BUDGET_EXHAUSTED)]
    assert len(await records_of(bench.journal, r.ToolCompleted)) == 4
    assert len(bench.function_tools.ledger) == ended.state.usage.tool_calls == 4


async def test_a_budget_of_no_calls_makes_none(bench: b.Bench) -> None:
    ended = await bench.runtime(eager(1, tool_calls=0)).run_text(b.request())

    assert ended.state.stop is StopReason.MAX_TOOL_CALLS
    assert bench.function_tools.ledger == []


@pytest.mark.parametrize(
    ("requested", "in_force"),
    [
        (Budget(), Budget(5, 6, 7)),
        (Budget(1, 2, 3), Budget(1, 2, 3)),
        (Budget(100, 100, 100), Budget(5, 6, 7)),
        (Budget(0, 2, 0), Budget(5, 2, 7)),
        (Budget(2**32 - 1, 0, 1), Budget(5, 6, 1)),
    ],
)
async def test_a_request_lowers_a_budget_and_never_raises_it(
    bench: b.Bench, requested: Budget, in_force: Budget
) -> None:
    runtime = bench.runtime(eager(1, rounds=5, tool_calls=6, parallel_calls=7))

    ended = await runtime.run_text(b.request(budget=requested))

    assert ended.state.budget == in_force


async def test_a_lowered_budget_is_kept_after_a_restart(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.tools = FunctionTools({"look": tool})
    bench.packages = (eager(1, 1, 1, rounds=5),)
    first = bench.runtime()
    await first.start_run(b.request(budget=Budget(rounds=2)))
    await tool.begun.wait()
    await first.drain(0)
    tool.let_go.set()

    second = bench.runtime()
    await second.recover()
    ended = await stood_still(second)

    assert (ended.state.stop, ended.state.usage.rounds) == (StopReason.MAX_ROUNDS, 2)


@pytest.mark.parametrize("bound", [1, 3])
async def test_no_more_calls_run_side_by_side_than_allowed(bench: b.Bench, bound: int) -> None:
    tool = HeldTool()
    bench.tools = FunctionTools({"look": tool})
    runtime = bench.runtime(eager(8, parallel_calls=bound))
    ending = asyncio.create_task(runtime.run_text(b.request()))
    await tool.begun.wait()
    await quiet()
    side_by_side = tool.running

    tool.let_go.set()
    ended = await ending

    assert side_by_side == tool.most_at_once == bound
    assert ended.status is RunStatus.COMPLETED
    assert len(bench.function_tools.ledger) == 8


async def test_calls_run_side_by_side_where_they_may(bench: b.Bench) -> None:
    everybody = asyncio.Barrier(8)

    async def meet(arguments: object) -> str:
        await everybody.wait()
        return "met"

    bench.tools = FunctionTools({"look": meet})

    ended = await asyncio.wait_for(bench.runtime(eager(8, parallel_calls=8)).run_text(b.request()), 60)

    assert ended.status is RunStatus.COMPLETED


async def test_the_provider_s_token_counts_are_summed_up(bench: b.Bench) -> None:
    script = b.asks("look", input_tokens=10, output_tokens=2), b.says("done", input_tokens=20, output_tokens=3)

    ended = await bench.runtime(b.package(*script, tools=(b.tool(),))).run_text(b.request())

    assert ended.state.usage == Usage(rounds=2, tool_calls=1, input_tokens=30, output_tokens=5)
