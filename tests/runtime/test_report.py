"""The report: how runs stand and how far readers have got, while both move."""

from __future__ import annotations

import asyncio

from runwright.core.ids import DEFAULT_NAMESPACE
from runwright.core.selection import Scope, ScopeKind, Selection
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.parts import HeldTool
from tests.runtime.watching import eventually, stood_still

ALL = Selection(Scope(DEFAULT_NAMESPACE, ScopeKind.ALL))


async def test_runs_are_counted_by_how_they_stand() -> None:
    tool = HeldTool()
    runtime = b.Bench(tools=FunctionTools({"look": tool})).runtime()
    await runtime.recover()
    await runtime.start_run(b.request("run-1"))
    await tool.begun.wait()

    assert runtime.report().runs == {"running": 1, "waiting": 0, "cancelling": 0, "repair_needed": 0, "held": 0}
    tool.let_go.set()
    await stood_still(runtime)

    assert set(runtime.report().runs.values()) == {0}
    assert runtime.report().takes_writes


async def test_a_reader_that_takes_nothing_falls_behind_and_catches_up() -> None:
    runtime = b.Bench().runtime()
    await runtime.recover()
    stream = await runtime.subscribe(ALL)
    assert runtime.report().subscribers == 0, "a stream is open once somebody reads it"
    await anext(stream)
    await runtime.run_text(b.request("run-1"))

    behind = runtime.report()
    assert (behind.subscribers, behind.subscriber_lag) == (1, behind.journal_head)
    taken = await anext(stream)
    assert taken[-1].position == behind.journal_head
    task = asyncio.ensure_future(anext(stream))
    await eventually(lambda: runtime.report().subscriber_lag == 0)
    assert runtime.report().subscribers == 1

    task.cancel()
    await eventually(lambda: runtime.report().subscribers == 0)


async def test_a_stream_that_is_left_is_counted_no_longer() -> None:
    runtime = b.Bench().runtime()
    await runtime.recover()
    stream = await runtime.subscribe(ALL)
    await anext(stream)
    assert runtime.report().subscribers == 1

    await stream.aclose()  # type: ignore[attr-defined]

    assert runtime.report().subscribers == 0


async def test_a_fault_of_a_run_in_a_trace_is_logged_with_its_trace() -> None:
    class Broken:
        async def complete(self, request: object, emit: object) -> object:
            raise RuntimeError("a bug in an adapter")

    trace_id = "ab" * 16
    bench = b.Bench(providers={"broken": Broken()})  # type: ignore[dict-item]
    runtime = bench.runtime(b.package(provider={"adapter": "broken", "model": "m", "max_attempts": 1}))
    await runtime.recover()
    for run_id, parent in (("run-1", f"00-{trace_id}-{'cd' * 8}-01"), ("run-2", "")):
        handle, _ = await runtime.start_run(b.request(run_id), trace_parent=parent)
        await handle.wait()

    message = [
        (line.fields["run_id"], line.fields["trace_id"]) for line in bench.log.lines if line.event == "provider raised"
    ]
    assert message == [("run-1", trace_id), ("run-2", "")]
