"""Old runs go: what a caller, a reader under way and a reader with an old cursor are told then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from runwright.adapters.memory.audit import MemoryAudit
from runwright.adapters.memory.journal import MemoryJournal
from runwright.adapters.sqlite.journal import SqliteJournal
from runwright.core.audit import AuditKind
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import DEFAULT_NAMESPACE
from runwright.core.outcomes import RunStatus
from runwright.core.request import RunRequest
from runwright.core.selection import Scope, ScopeKind, Selection
from runwright.runtime import AgentRuntime, StreamItem
from runwright.runtime.housekeeping.retention import Retention
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.parts import HeldTool
from tests.runtime.watching import CAP_SECONDS, eventually, stood_still, streamed

DAY = 24 * 3600 * b.SECOND
EVERYTHING = Selection(Scope(DEFAULT_NAMESPACE, ScopeKind.ALL))
MORNING = Selection(Scope(DEFAULT_NAMESPACE, ScopeKind.SESSION, "morning"))
AnyJournal = MemoryJournal | SqliteJournal


class House:
    """A runtime whose ended runs are kept for a day."""

    def __init__(self, journal: AnyJournal, tool: HeldTool | None = None) -> None:
        self.bench = b.Bench(journal=journal, tools=FunctionTools({"look": tool or b.look}))
        self.bench.packages = (b.one_call_package(), b.package(b.says("hello"), id="talker"))
        self.bench.audit = self.audit = MemoryAudit(self.bench.clock)
        self.runtime = self.bench.runtime()
        self.retention = Retention(self.runtime, DAY)

    async def ended(self, *names: str, **fields: str) -> None:
        """Runs that have ended."""
        for name in names:
            await self.runtime.start_run(b.request(name, **fields))
            await stood_still(self.runtime, name)

    async def days_later(self, days: int = 2) -> int:
        """How many runs are removed then."""
        self.bench.manual_clock.advance(days * DAY)
        return await self.retention.remove()


@pytest.fixture
def house(any_journal: AnyJournal) -> House:
    return House(any_journal)


def refusal(raised: pytest.ExceptionInfo[AgentError]) -> ErrorReason:
    """Why."""
    return raised.value.reason


async def pages(runtime: AgentRuntime, selection: Selection, cursor: str = "", limit: int = 2) -> list[StreamItem]:
    """A stream page by page, from a cursor on."""
    seen: list[StreamItem] = []
    while True:
        page = await runtime.list_selected(selection, after_cursor=cursor, limit=limit)
        seen += page.items
        cursor = page.next_cursor
        if not cursor:
            return seen


async def test_a_removed_run_still_answers_its_request_and_says_how_it_ended(house: House) -> None:
    await house.ended("old")
    before = await house.runtime.run_snapshot("old")
    await house.ended("new")

    assert await house.days_later() == 1

    handle, created = await house.runtime.start_run(b.request("old"))
    left = await handle.snapshot()
    assert created is False
    assert (left.status, left.state.stop, left.state.seq) == (RunStatus.COMPLETED, before.state.stop, before.state.seq)
    assert left.state.removed_at == house.bench.clock.now()
    assert before.text
    assert left.result is None
    assert (await house.runtime.wait_run("old"))[1] is True
    with pytest.raises(AgentError) as other:
        await house.runtime.start_run(RunRequest(run_id="old", input=("Something else?",)))
    assert refusal(other) is ErrorReason.RUN_ID_CONFLICT
    listed = await house.runtime.list_runs()
    assert [run.state.key.run_id for run in listed.runs] == ["new"]


async def test_the_events_of_a_removed_run_are_refused_by_name(house: House) -> None:
    await house.ended("old", "new")
    await house.days_later()

    for call in (house.runtime.subscribe_run("old"), house.runtime.list_events("old"), house.runtime.run_head("old")):
        with pytest.raises(AgentError) as refused:
            await call
        assert refusal(refused) is ErrorReason.RUN_REMOVED
    with pytest.raises(AgentError) as stranger:
        await house.runtime.subscribe_run("nobody")
    assert refusal(stranger) is ErrorReason.RUN_NOT_FOUND
    assert [item.event for item in await streamed(house.runtime, "new")][-1] is not None


async def test_what_is_open_or_needs_repair_is_never_removed(any_journal: AnyJournal) -> None:
    tool = HeldTool()
    house = House(any_journal, tool)
    await house.runtime.start_run(b.request("open"))
    await tool.begun.wait()

    assert await house.days_later(1000) == 0

    tool.let_go.set()
    assert (await stood_still(house.runtime, "open")).status is RunStatus.COMPLETED
    assert await house.runtime.drain(0)


async def test_an_old_cursor_is_told_where_to_go_on_and_skips_nothing_in_silence(house: House) -> None:
    await house.ended("first", session_id="morning")
    early = (await house.runtime.list_selected(EVERYTHING, limit=2)).next_cursor
    morning = (await house.runtime.list_selected(MORNING, limit=1000)).items[-1].cursor
    await house.ended("second", "last")

    assert await house.days_later() == 2

    for opened in (house.runtime.subscribe, house.runtime.list_selected):
        with pytest.raises(AgentError) as refused:
            await opened(EVERYTHING, after_cursor=early)
        assert refusal(refused) is ErrorReason.CURSOR_EXPIRED
    oldest = refused.value.metadata["oldest"]
    left = await pages(house.runtime, EVERYTHING, oldest)
    assert {item.event.run.run_id for item in left if item.event} == {"last"}
    assert left[0].event is not None
    assert left[0].event.seq == 1
    # Nothing was removed after the place of this one, which is in another stream.
    assert await pages(house.runtime, MORNING, morning) == []


async def test_below_the_horizon_a_reader_from_the_beginning_is_safe_until_more_is_removed(
    any_journal: AnyJournal,
) -> None:
    tool = HeldTool()
    house = House(any_journal, tool)
    await house.runtime.start_run(b.request("open"))
    await tool.begun.wait()
    below = any_journal.head
    await house.ended("first", "second", "last", package_id="talker")
    house.bench.manual_clock.advance(2 * DAY)
    now = house.bench.clock.now()
    first = await any_journal.remove_ended(before=now, now=now, limit=1)
    assert [run.run_id for run in first.runs] == ["first"]
    house.runtime.forget(first.runs, first.horizon)

    page = await house.runtime.list_selected(EVERYTHING, limit=2)
    again = await house.runtime.list_selected(EVERYTHING, after_cursor=page.items[-1].cursor, limit=2)
    left = await pages(house.runtime, EVERYTHING)

    assert [item.position for item in [*page.items, *again.items]] == [1, 2, 3, 4]
    assert [item.position for item in left][:below] == list(range(1, below + 1))
    assert left[below].position == first.horizon + 1
    assert await house.retention.remove() == 1
    with pytest.raises(AgentError) as refused:
        await house.runtime.list_selected(EVERYTHING, after_cursor=again.items[-1].cursor)
    assert refusal(refused) is ErrorReason.CURSOR_EXPIRED
    tool.let_go.set()
    await stood_still(house.runtime, "open")


async def next_batch(batches: AsyncIterator[list[StreamItem]]) -> list[StreamItem]:
    """One more batch, with a cap."""
    async with asyncio.timeout(CAP_SECONDS):
        return await anext(batches)


async def test_streams_under_way_are_told_and_never_skip(house: House) -> None:
    for name in "abcdefghij":  # more than one batch of events, so that a reader can be in the middle
        await house.ended(name)
    await house.ended("last")
    behind = await house.runtime.subscribe(EVERYTHING)
    assert (await next_batch(behind))[0].event is None
    assert len(await next_batch(behind)) == 64
    of_run = await house.runtime.subscribe_run("a")
    assert (await next_batch(of_run))[0].event is None
    ahead = await house.runtime.subscribe(EVERYTHING, live_only=True)
    await next_batch(ahead)

    await house.days_later()

    with pytest.raises(AgentError) as expired:
        await next_batch(behind)
    assert refusal(expired) is ErrorReason.CURSOR_EXPIRED
    with pytest.raises(AgentError) as removed:
        await next_batch(of_run)
    assert refusal(removed) is ErrorReason.RUN_REMOVED
    await house.ended("next")
    batch = await next_batch(ahead)
    assert batch[0].event is not None
    assert batch[0].event.run.run_id == "next"


async def test_it_is_done_from_time_to_time_and_written_down(house: House) -> None:
    await house.ended("old", "new")
    task = asyncio.create_task(house.retention.run())
    clock = house.bench.manual_clock
    await eventually(lambda: bool(clock.waiting))

    clock.advance(2 * DAY)
    await eventually(lambda: any(line.event == "old runs were removed" for line in house.bench.log.lines))
    task.cancel()

    (entry,) = (await house.audit.page(["default"], before=None, limit=9)).entries
    assert (entry.kind, entry.count, entry.reason) == (AuditKind.RUNS_REMOVED, 1, "retention_days")


async def test_a_cancel_of_what_has_ended_is_in_the_audit(house: House) -> None:
    await house.ended("done")

    await house.runtime.cancel_run("done", principal="eve")

    (entry,) = (await house.audit.page(["default"], before=None, limit=9)).entries
    assert (entry.kind, entry.principal, entry.subjects) == (AuditKind.CANCEL_IGNORED, "eve", ("done",))
