"""An executor that cannot be reached: the run waits where everybody can see it, for a bounded time."""

from __future__ import annotations

import pytest
from runwright.core import records as r
from runwright.core.errors import ErrorReason
from runwright.core.kinds import EventKind
from runwright.core.outcomes import RunStatus, WaitKind
from runwright.ports.tools import Place, PlaceRequest, ToolOutcome, ToolOutcomeKind
from runwright.runtime import AgentRuntime
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.parts import PlayedTools
from tests.runtime.watching import abandoned, kinds, quiet, reached, records_of, step_by_step, stood_still

PACKAGES = {
    "idempotent": b.package(b.asks("look"), b.says("{results}"), tools=(b.tool(unavailable_timeout_ms=60_000),)),
    "not idempotent": b.package(
        b.asks("look"), b.says("{results}"), tools=(b.writing_tool("look", unavailable_timeout_ms=60_000),)
    ),
}


@pytest.fixture(params=PACKAGES)
def bench(request: pytest.FixtureRequest) -> b.Bench:
    """A bench whose only executor is away."""
    tools = FunctionTools({"look": b.look}, unreachable={"tools"})
    return b.Bench(tools=tools, packages=(PACKAGES[request.param],))


async def waiting(bench: b.Bench) -> AgentRuntime:
    """A runtime whose run waits for the executor."""
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    await reached(runtime, EventKind.RETRY_SCHEDULED)
    return runtime


async def test_the_run_says_what_it_waits_for(bench: b.Bench) -> None:
    runtime = await waiting(bench)

    statuses = await runtime.run_snapshot("run-1")

    assert statuses.status is RunStatus.WAITING
    [wait] = statuses.waiting_on
    assert (wait.kind, wait.effect_id, wait.subject) == (WaitKind.EXECUTOR, "c1.1", "tools")
    assert wait.since == bench.clock.now()
    assert "tools" in wait.unblocked_by
    assert bench.function_tools.ledger == []


async def test_the_run_completes_once_the_executor_is_back(bench: b.Bench) -> None:
    runtime = await waiting(bench)

    bench.manual_clock.advance(b.SECOND)
    bench.function_tools.reach("tools")
    ended = await stood_still(runtime)

    assert (ended.status, ended.text) == (RunStatus.COMPLETED, '"a lamp"')
    assert ended.waiting_on == []
    assert [entry.attempt for entry in bench.function_tools.ledger] == [1]


async def test_no_intent_is_written_for_a_call_that_nobody_could_get(bench: b.Bench) -> None:
    await waiting(bench)

    [planned] = await records_of(bench.journal, r.RetryScheduled)

    assert (planned.attempt, planned.reason) == (0, ErrorReason.EXECUTOR_UNAVAILABLE)
    assert planned.give_up_at == bench.clock.now() + 60 * b.SECOND
    assert EventKind.TOOL_STARTED not in await kinds(bench.journal)


async def test_an_executor_that_refuses_at_once_is_asked_at_its_times_and_not_for_ever(bench: b.Bench) -> None:
    refusing = PlayedTools(lambda call: ToolOutcome(ToolOutcomeKind.NOT_SENT))
    bench.tools = refusing
    asked_at: list[int] = []
    refusing.play = lambda call: asked_at.append(bench.clock.now()) or ToolOutcome(ToolOutcomeKind.NOT_SENT)
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    await step_by_step(bench, runtime)

    planned = await records_of(bench.journal, r.RetryScheduled)
    [failed] = await records_of(bench.journal, r.ToolFailed)
    ended = await runtime.run_snapshot("run-1")

    assert asked_at[1:] == [plan.not_before for plan in planned]
    assert asked_at[-1] < planned[0].give_up_at == planned[-1].give_up_at
    assert failed.reason is ErrorReason.EXECUTOR_UNAVAILABLE
    assert ended.text == "The tool could not be reached; the call was not made."
    assert len(asked_at) == 11, "0.2 s, doubling up to 10 s, within a minute"


async def test_a_place_is_not_asked_for_before_its_time_however_short_the_executor_is_waited_for(
    bench: b.Bench,
) -> None:
    requested: list[int] = []

    class Tools(FunctionTools):
        def take_place(self, wanted: PlaceRequest) -> Place | None:
            requested.append(bench.clock.now())
            return super().take_place(wanted)

    async def lost(arguments: object) -> ToolOutcome:
        return ToolOutcome(ToolOutcomeKind.LOST)

    spec = b.tool("look", unavailable_timeout_ms=1)
    bench.packages = (b.package(b.asks("look"), b.says("done"), tools=(spec,)),)
    bench.tools = Tools({"look": lost})
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    await step_by_step(bench, runtime)

    planned = await records_of(bench.journal, r.RetryScheduled)
    assert requested[1:] == [plan.not_before for plan in planned]
    assert len(planned) == 2


async def test_a_server_that_starts_after_the_wait_was_over_does_not_ask_on(bench: b.Bench) -> None:
    refusing = PlayedTools(lambda call: ToolOutcome(ToolOutcomeKind.NOT_SENT))
    bench.tools = refusing
    async with abandoned():
        await waiting(bench)
    bench.manual_clock.advance(600 * b.SECOND)

    second = bench.runtime()
    await second.recover()
    await step_by_step(bench, second)

    assert [call.attempt for call in refusing.calls] == [1, 2]
    [failed] = await records_of(bench.journal, r.ToolFailed)
    assert failed.reason is ErrorReason.EXECUTOR_UNAVAILABLE


async def test_the_model_is_told_when_the_wait_is_given_up(bench: b.Bench) -> None:
    runtime = await waiting(bench)

    bench.manual_clock.advance(b.SECOND)
    await quiet()
    bench.manual_clock.advance(60 * b.SECOND)
    ended = await stood_still(runtime)

    assert (ended.status, ended.text) == (
        RunStatus.COMPLETED,
        "The tool could not be reached; the call was not made.",
    )
    [failed] = await records_of(bench.journal, r.ToolFailed)
    assert failed.reason is ErrorReason.EXECUTOR_UNAVAILABLE
    assert bench.function_tools.ledger == []


async def test_a_restart_while_waiting_parks_nothing(bench: b.Bench) -> None:
    async with abandoned():
        await waiting(bench)
    before = await kinds(bench.journal)

    second = bench.runtime()
    await second.recover()
    await quiet()
    statuses = await second.run_snapshot("run-1")
    bench.function_tools.reach("tools")
    bench.manual_clock.advance(b.SECOND)
    ended = await stood_still(second)

    assert statuses.status is RunStatus.WAITING
    assert (await kinds(bench.journal))[: len(before)] == before
    assert EventKind.TOOL_RECOVERY_REQUIRED not in await kinds(bench.journal)
    assert ended.status is RunStatus.COMPLETED


async def test_the_time_to_give_up_survives_a_restart(bench: b.Bench) -> None:
    async with abandoned():
        await waiting(bench)
    bench.manual_clock.advance(61 * b.SECOND)

    second = bench.runtime()
    await second.recover()
    await quiet()
    bench.manual_clock.advance(10 * b.SECOND)  # it is asked once more, but not for long
    ended = await stood_still(second)

    assert ended.text == "The tool could not be reached; the call was not made."


async def test_other_calls_of_the_round_go_on_meanwhile(bench: b.Bench) -> None:
    script = b.asks("look", "glance"), b.says("{results}")
    away = b.tool("look", unavailable_timeout_ms=60_000)
    bench.packages = (b.package(*script, tools=(away, b.tool("glance", executor="near"))),)
    bench.tools = FunctionTools({"look": b.look, "glance": b.look}, unreachable={"tools"})

    runtime = await waiting(bench)
    await reached(runtime, EventKind.TOOL_COMPLETED)
    statuses = await runtime.run_snapshot("run-1")
    bench.function_tools.reach("tools")
    bench.manual_clock.advance(b.SECOND)

    assert [entry.tool for entry in bench.function_tools.ledger] == ["glance"]
    assert statuses.status is RunStatus.WAITING
    assert (await stood_still(runtime)).text == '"a lamp" | "a lamp"'


async def test_an_executor_lost_in_a_call_is_tried_again_only_where_that_is_safe(bench: b.Bench) -> None:
    async def lost(arguments: object) -> ToolOutcome:
        return ToolOutcome(ToolOutcomeKind.LOST)

    bench.tools = FunctionTools({"look": lost})
    repeatable = bench.packages[0].tools[0].idempotent
    runtime = bench.runtime()
    await runtime.start_run(b.request())

    for number in (1, 2) if repeatable else ():
        await reached(runtime, EventKind.RETRY_SCHEDULED, times=number)
        await quiet()
        bench.manual_clock.advance(b.SECOND)
    ended = await stood_still(runtime)

    if repeatable:
        assert ended.text == "The tool was lost during the call, every time it was tried."
    else:
        assert ended.status is RunStatus.REPAIR_NEEDED
    assert [entry.attempt for entry in bench.function_tools.ledger] == ([1, 2, 3] if repeatable else [1])
