"""Streams over a session, an agent or everything: one order over runs, filters, cursors of their own, no end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from runwright.core.cursor import CursorMaker, run_scope
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import DEFAULT_NAMESPACE, Namespace, RunKey
from runwright.core.kinds import TERMINAL, EventKind
from runwright.core.selection import EventFilter, Scope, ScopeKind, Selection
from runwright.ports.journal import Appended, EventPage, Journal, StoredEvent
from runwright.runtime import AgentRuntime, StreamItem
from runwright.runtime.streams import subscriptions
from runwright.runtime.streams.journal_tail import CACHED_EVENTS, JournalTail
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.journals import JournalWrapper
from tests.runtime.parts import HeldTool
from tests.runtime.test_subscriptions import IDLE, long_package
from tests.runtime.watching import CAP_SECONDS, events, eventually, key, quiet, streamed

K = EventKind
EVERYTHING = Selection(Scope(DEFAULT_NAMESPACE, ScopeKind.ALL))


def of(kind: ScopeKind, scope_id: str = "", **wanted: Any) -> Selection:
    """A stream of the default namespace."""
    return Selection(Scope(DEFAULT_NAMESPACE, kind, scope_id), EventFilter(**wanted))


async def on_record(journal: Journal, selection: Selection = EVERYTHING) -> list[StoredEvent]:
    """The whole stream, from the journal."""
    seen: list[StoredEvent] = []
    after = 0
    while True:
        page = await journal.select(selection, after=after, limit=1000)
        seen += page.events
        after = page.reached
        if not page.more:
            return seen


async def take(batches: AsyncIterator[list[StreamItem]], count: int) -> list[StoredEvent]:
    """So many events, and no more than come with them."""
    seen: list[StoredEvent] = []
    async with asyncio.timeout(CAP_SECONDS):
        while len(seen) < count:
            seen += [item.event for item in await anext(batches) if item.event]
    return seen


class PublishesLate(JournalWrapper):
    """Tells its callers of their appends in another order than that of positions, each some while after it."""

    def __init__(self, inner: Journal) -> None:
        super().__init__(inner)
        self.appends = 0

    async def written(self, run: RunKey, records: Any, **rest: Any) -> Appended:
        """See the class."""
        stored = await self.inner.append(run, records, **rest)
        self.appends += 1
        for _ in range(self.appends * 7 % 20):
            await asyncio.sleep(0)
        return stored


@pytest.mark.parametrize("late", [False, True])
async def test_fifty_runs_at_once_are_seen_live_in_the_order_of_positions(any_journal: Journal, late: bool) -> None:
    runtime = b.Bench().runtime(journal=PublishesLate(any_journal) if late else any_journal)
    live: list[StoredEvent] = []

    async def watch() -> None:
        async for batch in await runtime.subscribe(EVERYTHING):
            live.extend(item.event for item in batch if item.event)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(runtime.run_text(b.request(f"run-{number}")) for number in range(50)))
    await eventually(lambda: len(live) >= any_journal.head)
    watching.cancel()

    assert [event.position for event in live] == list(range(1, any_journal.head + 1))
    assert live == await on_record(any_journal)
    assert len({event.run for event in live}) == 50


async def test_each_scope_shows_its_own_runs(any_journal: Journal) -> None:
    clerk = b.package(b.says("done"), id="clerks", agent={"id": "clerk", "instructions": "Write."})
    runtime = b.Bench(journal=any_journal).runtime(b.one_call_package(), clerk)
    morning = of(ScopeKind.SESSION, "morning")
    watched = await runtime.subscribe(morning)  # before there is such a session
    await anext(watched)
    for run_id, session, package in (("a", "morning", ""), ("b", "evening", "clerks"), ("c", "morning", "clerks")):
        request = b.request(run_id, session_id=session, package_id=package or "helper-package")
        await (await runtime.start_run(request))[0].wait()
    foreign, _ = await runtime.start_run(
        b.request("a", session_id="morning", package_id="clerks"), namespace=Namespace("theirs")
    )
    await foreign.wait()

    async def run_ids(selection: Selection) -> list[str]:
        return sorted({event.run.run_id for event in await on_record(any_journal, selection)})

    mine = await on_record(any_journal, morning)
    assert await take(watched, len(mine)) == mine
    assert await run_ids(morning) == ["a", "c"]
    assert await run_ids(of(ScopeKind.AGENT, "clerk")) == ["b", "c"]
    assert await run_ids(EVERYTHING) == ["a", "b", "c"]
    assert all(event.run.namespace == DEFAULT_NAMESPACE for event in mine)


async def test_a_stream_of_many_runs_does_not_end_by_itself(bench: b.Bench) -> None:
    runtime = bench.runtime()
    await runtime.run_text(b.request())
    batches = await runtime.subscribe(EVERYTHING)
    await take(batches, bench.journal.head)
    waiting = asyncio.ensure_future(anext(batches))
    await quiet()

    assert not waiting.done()
    runtime.stop_streams()
    with pytest.raises(AgentError) as caught:
        await waiting
    assert caught.value.reason is ErrorReason.DRAINING


async def test_live_only_begins_at_the_head(bench: b.Bench) -> None:
    runtime = bench.runtime()
    await runtime.run_text(b.request("before"))
    batches = await runtime.subscribe(EVERYTHING, live_only=True)
    head = bench.journal.head

    [opening] = await anext(batches)
    await runtime.run_text(b.request("after"))

    assert (opening.event, opening.position) == (None, head)
    assert {event.run.run_id for event in await take(batches, 1)} == {"after"}


@pytest.mark.parametrize("wanted", [{"terminal_only": True}, {"kinds": frozenset({K.TURN_STARTED})}])
@pytest.mark.parametrize("live", [True, False])
async def test_the_stream_of_a_run_ends_also_when_its_end_is_hidden(
    any_journal: Journal, wanted: dict[str, Any], live: bool
) -> None:
    tool = HeldTool()
    runtime = b.Bench(journal=any_journal, tools=FunctionTools({"look": tool})).runtime()
    handle, _ = await runtime.start_run(b.request())
    tool.let_go.set()
    if not live:
        await handle.wait()

    async with asyncio.timeout(CAP_SECONDS):
        batches = await runtime.subscribe(Selection.of_run(key(), EventFilter(**wanted)))
        items = [item async for batch in batches for item in batch]

    seen = [item.event for item in items if item.event]
    assert seen == [
        event for event in await events(any_journal) if EventFilter(**wanted).passes("", "", "", event.kind)
    ]
    assert len(seen) == 1
    again = await runtime.subscribe(Selection.of_run(key(), EventFilter(**wanted)), after_cursor=items[-1].cursor)
    assert [item.event async for batch in again for item in batch] == [None]


async def test_ends_of_runs_are_enough_to_watch_for_ends(any_journal: Journal) -> None:
    runtime = b.Bench(journal=any_journal).runtime()
    ends = of(ScopeKind.ALL, terminal_only=True)
    batches = await runtime.subscribe(ends)
    await asyncio.gather(*(runtime.run_text(b.request(f"run-{number}")) for number in range(5)))

    seen = await take(batches, 5)

    assert seen == [event for event in await on_record(any_journal) if event.kind in TERMINAL]
    paged: list[StreamItem] = []
    token = ""
    while True:
        page = await runtime.list_selected(ends, after_cursor=token, limit=2)
        paged += page.items
        token = page.next_cursor
        if not token:
            break
    assert [item.event for item in paged] == seen


async def test_a_cursor_is_good_for_its_own_scope_and_filter_only(bench: b.Bench) -> None:
    runtime = bench.runtime()
    ended = await runtime.run_text(b.request(session_id="s"))
    kinds = frozenset({K.RUN_STARTED, K.RUN_COMPLETED})
    streams = [
        EVERYTHING,
        of(ScopeKind.ALL, terminal_only=True),
        of(ScopeKind.ALL, kinds=kinds),
        of(ScopeKind.SESSION, "s"),
        of(ScopeKind.AGENT, "s"),
        Selection.of_run(key()),
        Selection.of_run(key(), EventFilter(kinds=kinds)),
        Selection(Scope(Namespace("theirs"), ScopeKind.ALL)),
    ]
    cursors = [(await anext(await runtime.subscribe(stream)))[0].cursor for stream in streams[:-1]]

    for number, stream in enumerate(streams):
        for other, cursor in enumerate(cursors):
            if number == other:
                await runtime.subscribe(stream, after_cursor=cursor)
                continue
            for call in (runtime.subscribe(stream, after_cursor=cursor), listed(runtime, stream, cursor)):
                with pytest.raises(AgentError) as caught:
                    await call
                assert caught.value.reason is ErrorReason.CURSOR_SCOPE_MISMATCH
    await runtime.subscribe(Selection.of_run(key()), after_cursor=ended.last_cursor)
    same = of(ScopeKind.ALL, kinds=frozenset(sorted(kinds, key=str, reverse=True)))
    await runtime.subscribe(same, after_cursor=cursors[2])


async def listed(runtime: AgentRuntime, stream: Selection, cursor: str) -> object:
    """A page after the cursor."""
    return await runtime.list_selected(stream, after_cursor=cursor)


def test_a_run_keeps_the_cursors_it_had_before_there_were_filters() -> None:
    assert Selection.of_run(key()).cursor_scope() == run_scope(key()) == "run\0default\0run-1"


async def test_what_a_filter_hides_is_not_passed_twice(any_journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "HIDDEN_BOOKMARK", 100)
    await b.Bench(journal=any_journal).runtime(long_package()).run_text(b.request())
    runtime = b.Bench(journal=any_journal).runtime()  # after a restart: everything is read from the journal
    hidden = of(ScopeKind.ALL, kinds=frozenset({K.TOOL_DENIED}))

    batches = await runtime.subscribe(hidden)
    [opening], [bookmark] = await anext(batches), await anext(batches)

    maker = CursorMaker(any_journal.incarnation, any_journal.cursor_key, any_journal.epochs)
    reached = maker.read(hidden.cursor_scope(), bookmark.cursor, any_journal.head).position
    assert (opening.event, bookmark.event) == (None, None)
    assert reached >= 100


async def test_bookmarks_come_also_while_others_are_busy(bench: b.Bench) -> None:
    runtime = bench.runtime()
    hidden = of(ScopeKind.SESSION, "nobody's")
    batches = await runtime.subscribe(hidden)
    await anext(batches)
    waiting = asyncio.ensure_future(anext(batches))
    for number in range(4):  # something happens every 4 s, none of it for this reader
        await runtime.run_text(b.request(f"run-{number}"))
        await quiet()
        too_early = waiting.done()
        bench.manual_clock.advance(IDLE // 4)
        await quiet()

    [bookmark] = await asyncio.wait_for(waiting, CAP_SECONDS)

    assert not too_early
    maker = CursorMaker(bench.journal.incarnation, bench.journal.cursor_key, bench.journal.epochs)
    assert maker.read(hidden.cursor_scope(), bookmark.cursor, bench.journal.head).position == bench.journal.head


async def test_a_frozen_reader_holds_up_nobody_and_loses_nothing(any_journal: Journal) -> None:
    runtime = b.Bench(journal=any_journal).runtime(long_package())
    frozen, swift = await runtime.subscribe(EVERYTHING), await runtime.subscribe(EVERYTHING)
    await anext(frozen)
    await anext(swift)

    for number in range(5):
        await runtime.run_text(b.request(f"run-{number}"))
        await take(swift, 1)

    everything = await on_record(any_journal)
    assert len(everything) > CACHED_EVENTS
    assert await take(frozen, len(everything)) == everything


async def test_the_tail_holds_one_unbroken_stretch() -> None:
    def event(position: int) -> StoredEvent:
        return StoredEvent(position, 1, K.TURN_STARTED, b"", b"", b"", key(), "", "")

    def positions(page: EventPage | None) -> Sequence[int] | None:
        return None if page is None else [each.position for each in page.events]

    tail = JournalTail()
    assert tail.select(EVERYTHING, after=0, limit=10) is None
    tail.publish([event(5), event(6)])
    assert positions(tail.select(EVERYTHING, after=3, limit=10)) is None
    assert positions(tail.select(EVERYTHING, after=4, limit=10)) == [5, 6]
    assert positions(tail.select(EVERYTHING, after=4, limit=1)) == [5]
    tail.publish([event(9)])  # 7 and 8 were never announced: only the journal has them
    assert tail.select(EVERYTHING, after=6, limit=10) is None
    assert positions(tail.select(EVERYTHING, after=8, limit=10)) == [9]
    ahead = tail.select(EVERYTHING, after=12, limit=10)
    assert ahead == EventPage([], 12, False)


async def test_a_runs_own_stream_is_as_it_was(bench: b.Bench) -> None:
    runtime = bench.runtime()
    await runtime.run_text(b.request())

    assert [item.event for item in await streamed(runtime)][1:] == await events(bench.journal)
