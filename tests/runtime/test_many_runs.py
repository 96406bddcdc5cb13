"""Many runs at once, of every shape, and nothing left of them afterwards."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping
from random import Random
from typing import Any

from runwright.core.kinds import TERMINAL
from runwright.core.outcomes import RunStatus
from runwright.core.package import RuntimePackage
from runwright.ports.journal import Journal
from runwright.ports.tools import ToolOutcome, ToolOutcomeKind
from runwright.runtime.conversations.conversation import Conversation
from runwright.runtime.runs.driver import RunDriver
from runwright.runtime.runs.performer import Performer
from runwright.runtime.runs.tail import RunTail
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.watching import events, quiet, streamed

RUNS = 50
TOOLS = (b.tool("quick"), b.tool("slow"), b.tool("broken"), b.writing_tool("note"))


def random_package(rng: Random, number: int) -> RuntimePackage:
    """Up to four rounds with up to five calls each."""
    names = [tool["name"] for tool in TOOLS] + ["nowhere"]
    script = [b.asks(*rng.choices(names, k=rng.randint(1, 5))) for _ in range(rng.randint(0, 4))]
    budget = {"parallel_calls": rng.randint(1, 4)}
    return b.package(*script, b.says("done {results}"), id=f"package-{number}", tools=TOOLS, budget=budget)


async def slow(arguments: Mapping[str, Any]) -> str:
    await quiet()
    return "at last"


async def broken(arguments: Mapping[str, Any]) -> ToolOutcome:
    return ToolOutcome(ToolOutcomeKind.ERROR, b"broken")


PARTS = (RunDriver, RunTail, Conversation, Performer)


def alive() -> list[object]:
    """Every part of a live run that somebody still holds."""
    gc.collect()
    return [thing for thing in gc.get_objects() if type(thing) in PARTS]


async def test_fifty_random_runs_end_each_with_a_whole_history(any_journal: Journal) -> None:
    rng = Random(20)
    packages = [random_package(rng, number) for number in range(RUNS)]
    tools = FunctionTools({"quick": b.look, "slow": slow, "broken": broken, "note": b.look})
    runtime = b.Bench(journal=any_journal, tools=tools).runtime(*packages)
    requests = [b.request(f"run-{number}", package_id=f"package-{number}") for number in range(RUNS)]

    ended = await asyncio.gather(*(runtime.run_text(request) for request in requests))

    assert {snapshot.status for snapshot in ended} == {RunStatus.COMPLETED}
    assert runtime.registered_run_count() == 0
    assert await any_journal.open_runs() == []
    for number in range(RUNS):
        history = await events(any_journal, f"run-{number}")
        assert [event.seq for event in history] == list(range(1, len(history) + 1))
        assert [event.kind in TERMINAL for event in history] == [False] * (len(history) - 1) + [True]
    writes = [entry.idempotency_key for entry in tools.ledger if entry.tool == "note"]
    assert len(writes) == len(set(writes))


async def test_nothing_is_left_of_runs_that_have_ended(any_journal: Journal) -> None:
    tasks_before, alive_before = asyncio.all_tasks(), alive()
    parts = b.Bench(journal=any_journal)
    runtime = parts.runtime()

    for number in range(RUNS):
        await runtime.start_run(b.request(f"run-{number}"))
    await asyncio.gather(*(streamed(runtime, f"run-{number}") for number in range(RUNS)))
    await asyncio.gather(*(runtime.wait_run(f"run-{number}") for number in range(RUNS)))
    await quiet()

    assert [thing for thing in alive() if thing not in alive_before] == []
    assert asyncio.all_tasks() == tasks_before
    assert parts.manual_clock.waiting == []
    assert runtime.registered_run_count() == 0


async def test_a_reader_that_left_leaves_nothing_behind(bench: b.Bench) -> None:
    runtime = bench.runtime()
    await runtime.run_text(b.request())
    tasks_before, alive_before = asyncio.all_tasks(), alive()

    for _ in range(20):
        batches = await runtime.subscribe_run("run-1")
        await anext(batches)
        await batches.aclose()  # type: ignore[attr-defined]

    assert [thing for thing in alive() if thing not in alive_before] == []
    assert asyncio.all_tasks() == tasks_before


async def test_an_ended_run_is_let_go_at_once(bench: b.Bench) -> None:
    alive_before = alive()
    gc.disable()  # what only the collector can free piles up between its rounds
    try:
        await bench.runtime().run_text(b.request())
        await quiet()
        left = [type(thing) for thing in gc.get_objects() if type(thing) in PARTS and thing not in alive_before]
    finally:
        gc.enable()

    assert left == []
