"""The index of waits, and what is under way beside it: each effect once, and nothing sent without an intent."""

from __future__ import annotations

import asyncio

import pytest
from runwright.core.content import Content
from runwright.core.effects import CallModel, CallTool
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import EffectId
from runwright.core.inputs import ExecutorAwaited, Input
from runwright.core.machine import pending
from runwright.core.outcomes import RunStatus
from runwright.core.state import RunState
from runwright.ports.journal import LoadedRun
from runwright.runtime.runs.effects_under_way import EffectsUnderWay
from runwright.runtime.runs.live_text import LiveTexts
from runwright.runtime.runs.performer import Performer
from runwright.runtime.runs.run_on_record import RunOnRecord
from runwright.runtime.runs.tail import RunTail
from runwright.runtime.runs.waits import Waits, Wake
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.watching import key, quiet

PACKAGE = b.package(b.asks("look"), b.says("{results}"), tools=(b.tool(unavailable_timeout_ms=60_000),))


async def waiting(bench: b.Bench) -> RunState:
    """A run whose call waits for an executor."""
    bench.packages = (PACKAGE,)
    bench.tools = FunctionTools({"look": b.look}, unreachable={"tools"})
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    await quiet()
    found = await runtime.run_snapshot("run-1")
    assert found.status is RunStatus.WAITING
    await runtime.drain(0)
    return found.state


async def test_a_wait_that_is_entered_twice_is_one_and_gets_one_place(bench: b.Bench) -> None:
    state = await waiting(bench)
    wakes: list[Wake] = []
    waits = Waits(bench.runtime().ports, wakes.append)
    [effect] = pending(state).values()
    assert effect.parks

    waits.enter(state, effect, PACKAGE)
    waits.enter(state, effect, PACKAGE)
    entered = len(waits)
    bench.function_tools.reach("tools")

    assert (entered, len(waits), len(wakes)) == (1, 0, 1)
    [wake] = wakes
    assert isinstance(wake.outcome, ExecutorAwaited) and wake.outcome.has_place
    assert bench.function_tools.held["tools"] == 1
    wake.give_back()
    assert bench.function_tools.held["tools"] == 0


async def test_a_wait_that_is_left_wakes_nobody(bench: b.Bench) -> None:
    state = await waiting(bench)
    wakes: list[Wake] = []
    waits = Waits(bench.runtime().ports, wakes.append)
    [effect] = pending(state).values()
    assert effect.parks

    waits.enter(state, effect, PACKAGE)
    waits.leave(state.key, effect.key)
    waits.enter(state, effect, PACKAGE)
    waits.drop(state.key)
    bench.function_tools.reach("tools")
    bench.manual_clock.advance(3600 * b.SECOND)
    await quiet()

    assert (len(waits), wakes) == (0, [])
    assert (bench.function_tools.held["tools"], bench.manual_clock.waiting) == (0, [])


class NoDriver:
    """Takes no input: nothing is begun here."""

    def submit(self, input: Input, settles: object = None) -> None:
        """See `Driving`."""
        raise AssertionError("nothing was begun")

    def may_begin(self) -> bool:
        """See `Driving`."""
        return True


@pytest.mark.parametrize("effect", [CallModel(1, 1), "call"])
async def test_nothing_is_sent_whose_intent_was_not_made_durable_here(
    bench: b.Bench, effect: CallModel | CallTool | str
) -> None:
    arguments = Content.text("{}").ref
    if isinstance(effect, str):
        effect = CallTool(EffectId("c1.1"), "look", "tools", 1, arguments, "key", True, 0)
    ports = bench.runtime().ports
    on_record = RunOnRecord(ports, LoadedRun(RunState(key=key(), seq=3), 3), RunTail())
    performer = Performer(ports, PACKAGE, on_record.conversation, LiveTexts(ports.clock))
    under_way = EffectsUnderWay(performer, on_record, Waits(ports, lambda wake: None), PACKAGE)

    async with asyncio.TaskGroup() as group:
        with pytest.raises(AgentError) as caught:
            under_way.reconcile(NoDriver(), group, {effect.key: effect})
        under_way.stop()

    assert caught.value.reason is ErrorReason.JOURNAL_CORRUPT
    assert bench.function_tools.ledger == []
