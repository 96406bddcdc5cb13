"""Lists of runs: newest first, by what they are, and stable while runs begin and end."""

from __future__ import annotations

import asyncio

import pytest
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import Namespace
from runwright.core.outcomes import RunStatus
from runwright.core.selection import RunFilter
from runwright.ports.journal import Journal
from runwright.runtime import AgentRuntime, RunSnapshot
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.parts import HeldTool
from tests.runtime.watching import CAP_SECONDS


async def every_page(runtime: AgentRuntime, wanted: RunFilter, limit: int) -> list[list[str]]:
    """The ids, page by page."""
    pages, token = [], ""
    while True:
        page = await runtime.list_runs(wanted, page_token=token, limit=limit)
        pages.append([run.state.key.run_id for run in page.runs])
        token = page.next_token
        if not token:
            return pages


async def test_a_listed_run_is_its_snapshot_without_the_result(any_journal: Journal) -> None:
    runtime = b.Bench(journal=any_journal).runtime()
    for number in range(3):
        await runtime.run_text(b.request(f"run-{number}", labels={"n": str(number)}))
    await runtime.start_run(b.request("foreign"), namespace=Namespace("theirs"))

    listed = (await runtime.list_runs()).runs

    for number, run in enumerate(reversed(listed)):
        whole = await runtime.run_snapshot(f"run-{number}")
        assert whole.result is not None
        assert run == RunSnapshot(whole.state, whole.last_cursor, None)
    assert len(listed) == 3


async def test_runs_are_found_by_where_they_stand_while_they_move(any_journal: Journal) -> None:
    tool = HeldTool()
    runtime = b.Bench(journal=any_journal, tools=FunctionTools({"look": tool})).runtime()
    handle, _ = await runtime.start_run(b.request())
    await asyncio.wait_for(tool.begun.wait(), CAP_SECONDS)
    running = RunFilter(statuses=frozenset({RunStatus.RUNNING}))
    completed = RunFilter(statuses=frozenset({RunStatus.COMPLETED}))

    before = [await every_page(runtime, wanted, 5) for wanted in (running, completed)]
    tool.let_go.set()
    await handle.wait()
    after = [await every_page(runtime, wanted, 5) for wanted in (running, completed)]

    assert before == [[["run-1"]], [[]]]
    assert after == [[[]], [["run-1"]]]


async def test_pages_stay_as_they_are_while_runs_begin_and_end(any_journal: Journal) -> None:
    runtime = b.Bench(journal=any_journal).runtime()
    for number in range(20):
        await runtime.start_run(b.request(f"run-{number:02}"))  # they end while the pages are read
    seen: list[str] = []
    token = ""
    late = 0
    while True:
        page = await runtime.list_runs(page_token=token, limit=3)
        seen += [run.state.key.run_id for run in page.runs]
        token = page.next_token
        if not token:
            break
        late += 1
        await runtime.run_text(b.request(f"late-{late}"))

    assert seen == [f"run-{number:02}" for number in range(19, -1, -1)]
    assert late >= 6


async def test_a_token_is_good_for_its_own_list_only(bench: b.Bench) -> None:
    runtime = bench.runtime()
    for number in range(3):
        ended = await runtime.run_text(b.request(f"run-{number}"))
    token = (await runtime.list_runs(limit=1)).next_token

    refused = [
        (token, RunFilter(agent_id="helper"), ErrorReason.CURSOR_SCOPE_MISMATCH),
        (ended.last_cursor, RunFilter(), ErrorReason.CURSOR_SCOPE_MISMATCH),
        ("garbage", RunFilter(), ErrorReason.CURSOR_MALFORMED),
    ]
    for value, wanted, reason in refused:
        with pytest.raises(AgentError) as caught:
            await runtime.list_runs(wanted, page_token=value)
        assert caught.value.reason is reason
    with pytest.raises(AgentError) as caught:
        await runtime.list_runs(page_token=token, namespace=Namespace("theirs"))
    assert caught.value.reason is ErrorReason.CURSOR_SCOPE_MISMATCH
