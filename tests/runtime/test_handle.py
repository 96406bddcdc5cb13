"""The library's own way in: a handle on a run, from start to end."""

from __future__ import annotations

import pytest
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import Namespace
from runwright.core.kinds import EventKind
from runwright.core.outcomes import RunStatus
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.parts import HeldTool
from tests.runtime.watching import events


async def test_a_handle_follows_its_run_to_the_end(bench: b.Bench) -> None:
    tool = HeldTool("a lamp")
    bench.tools = FunctionTools({"look": tool})
    handle, _ = await bench.runtime().start_run(b.request())
    await tool.begun.wait()
    meanwhile = await handle.status(), await handle.latest_terminal_event()

    tool.let_go.set()
    items = [item async for item in handle.stream()]
    ended = await handle.wait()

    assert handle.run_id == "run-1"
    assert meanwhile == (RunStatus.RUNNING, None)
    assert [item.event for item in items if item.event] == await events(bench.journal)
    assert (ended.status, ended.text) == (RunStatus.COMPLETED, 'found "a lamp"')
    terminal = await handle.latest_terminal_event()
    assert terminal is not None and terminal.kind is EventKind.RUN_COMPLETED
    assert items[-1].event == terminal
    assert ended.last_cursor == items[-1].cursor


async def test_a_handle_can_cancel_its_run(bench: b.Bench) -> None:
    bench.tools = FunctionTools({"look": HeldTool()})
    handle, _ = await bench.runtime().start_run(b.request())

    cancelled = await handle.cancel("enough")

    assert cancelled.barrier_seq > 0
    assert (await handle.wait()).status is RunStatus.CANCELLED


async def test_a_wait_that_takes_too_long_gives_the_run_as_it_stands(bench: b.Bench) -> None:
    bench.tools = FunctionTools({"look": HeldTool()})
    runtime = bench.runtime()
    handle, _ = await runtime.start_run(b.request())

    statuses, done = await runtime.wait_run("run-1", timeout_us=0)

    assert (statuses.status, done) == (RunStatus.RUNNING, False)
    assert (await handle.wait(timeout_us=0)).status is RunStatus.RUNNING


async def test_letting_go_of_a_handle_changes_nothing_for_the_run(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.tools = FunctionTools({"look": tool})
    runtime = bench.runtime()
    handle, _ = await runtime.start_run(b.request())

    del handle
    tool.let_go.set()

    assert (await runtime.wait_run("run-1"))[0].status is RunStatus.COMPLETED


async def test_a_namespace_hides_its_runs_from_all_others(bench: b.Bench) -> None:
    runtime = bench.runtime()
    theirs = Namespace("theirs")
    await runtime.start_run(b.request(), namespace=theirs)

    for look in (runtime.run_snapshot, runtime.wait_run, runtime.cancel_run, runtime.list_events):
        with pytest.raises(AgentError) as caught:
            await look("run-1")
        assert caught.value.reason is ErrorReason.RUN_NOT_FOUND

    own, created = await runtime.start_run(b.request())
    assert created
    assert (await own.wait()).status is RunStatus.COMPLETED
    assert (await runtime.wait_run("run-1", namespace=theirs))[0].status is RunStatus.COMPLETED
