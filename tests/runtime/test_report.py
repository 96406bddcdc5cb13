"""The report: how runs stand and how far readers have got, while both move."""

from __future__ import annotations

import asyncio

from runwright.core.ids import DEFAULT_NAMESPACE
from runwright.core.kinds import EventKind
from runwright.core.selection import Scope, ScopeKind, Selection
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.approving import ANN, HAND_OVER, WRITES, asking, decide, separated, waiting
from tests.runtime.parts import HeldTool
from tests.runtime.watching import abandoned, eventually, reached, stood_still

HOUR, MINUTE = 3600 * b.SECOND, 60 * b.SECOND
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


async def test_pending_approvals_are_counted_by_age_until_nobody_can_decide(bench: b.Bench) -> None:
    runtime, _ = await waiting(separated(bench), asking(approval={**HAND_OVER, "expires": "2d"}))
    bench.manual_clock.advance(2 * HOUR)
    await runtime.start_run(b.request("run-2"))
    await reached(runtime, EventKind.APPROVAL_REQUESTED, "run-2")
    await reached(runtime, EventKind.APPROVAL_ESCALATED)
    await eventually(lambda: sum(runtime.report().pending_approvals.values()) == 2)
    both = runtime.report()
    await decide(runtime, who=ANN)
    await stood_still(runtime)
    one = runtime.report()
    await runtime.cancel_run("run-2")
    await stood_still(runtime, "run-2")
    none = runtime.report()

    assert both.pending_approvals == {"5m": 1, "1h": 0, "8h": 1, "1d": 0, "longer": 0}
    assert 2 * HOUR <= both.oldest_approval_us < 2 * HOUR + MINUTE
    assert one.pending_approvals == {"5m": 1, "1h": 0, "8h": 0, "1d": 0, "longer": 0}
    assert (sum(none.pending_approvals.values()), none.oldest_approval_us) == (0, 0)


async def test_pending_approvals_are_counted_after_a_restart_with_their_age(bench: b.Bench) -> None:
    async with abandoned():
        await waiting(separated(bench), asking(approval={**WRITES, "expires": "5d"}))
    bench.manual_clock.advance(48 * HOUR)

    runtime = bench.runtime()
    await runtime.recover()

    assert runtime.report().pending_approvals["longer"] == 1
    assert runtime.report().oldest_approval_us >= 48 * HOUR
