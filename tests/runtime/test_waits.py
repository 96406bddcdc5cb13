"""The index of waits, and what is under way beside it: each effect once, and nothing sent without an intent."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace
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
from runwright.runtime.runs.waits import LEFT_AT_ONCE, Waits, Wake
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


MANY = 3 * LEFT_AT_ONCE + 1


def many_waits(bench: b.Bench, state: RunState, wakes: list[Wake]) -> Waits:
    """The waits of many runs, one each, for an executor that is away."""
    waits = Waits(bench.runtime().ports, wakes.append)
    for number in range(MANY):
        enter_one(state, waits, f"many-{number}")
    return waits


def enter_one(state: RunState, waits: Waits, run_id: str) -> None:
    """Enters the one wait of a run that stands like `state`."""
    [effect] = pending(state).values()
    assert effect.parks
    waits.enter(replace(state, key=key(run_id)), effect, PACKAGE)


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


async def test_leaving_many_waits_takes_turns_with_everybody_else(bench: b.Bench) -> None:
    waits = many_waits(bench, await waiting(bench), [])
    left_in_a_turn: list[int] = []

    draining = asyncio.create_task(waits.drain())
    while not draining.done():  # one turn of the loop each, which are counted
        before = len(waits)
        await asyncio.sleep(0)
        left_in_a_turn.append(before - len(waits))

    assert len(waits) == 0
    assert max(left_in_a_turn) == LEFT_AT_ONCE
    assert sum(left_in_a_turn) == MANY


async def test_while_they_are_left_nobody_is_woken_and_no_place_is_taken(bench: b.Bench) -> None:
    state, wakes = await waiting(bench), list[Wake]()
    waits = many_waits(bench, state, wakes)

    draining = asyncio.create_task(waits.drain())
    await asyncio.sleep(0)
    still_waiting = len(waits)
    bench.function_tools.reach("tools")
    bench.manual_clock.advance(3600 * b.SECOND)
    await draining
    await quiet()

    assert still_waiting > LEFT_AT_ONCE, "the executor comes back while most of them still wait"
    assert (len(waits), wakes) == (0, [])
    assert bench.function_tools.held["tools"] == 0


async def test_nothing_is_waited_for_any_more_once_a_stop_has_begun(bench: b.Bench) -> None:
    state = await waiting(bench)
    waits = many_waits(bench, state, [])

    draining = asyncio.create_task(waits.drain())
    await asyncio.sleep(0)
    enter_one(state, waits, "late")
    await draining

    assert len(waits) == 0
