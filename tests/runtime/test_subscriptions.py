"""A run's stream: the same sequence for every reader, whenever it comes and however slow it is."""

from __future__ import annotations

import asyncio

import pytest
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import Namespace
from runwright.core.kinds import EventKind
from runwright.core.package import RuntimePackage
from runwright.ports.journal import Journal
from runwright.runtime import StreamItem
from runwright.runtime.runs.tail import CACHED_EVENTS
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.parts import HeldTool
from tests.runtime.watching import events, quiet, reached, streamed

IDLE = 15 * b.SECOND


def positions(items: list[StreamItem]) -> list[int]:
    """Where the events among the items are."""
    return [item.event.position for item in items if item.event is not None]


def long_package(rounds: int = 10) -> RuntimePackage:
    """Some 34 events a round."""
    script = [b.asks(*["look"] * 8) for _ in range(rounds)]
    return b.package(*script, b.says("done"), tools=(b.tool(),), budget={"tool_calls": 1000})


async def test_a_stream_opens_with_a_bookmark_and_ends_with_the_terminal_event(bench: b.Bench) -> None:
    runtime = bench.runtime()
    await runtime.start_run(b.request())

    opening, *rest = await streamed(runtime)

    assert opening.event is None
    assert [item.event for item in rest] == await events(bench.journal)
    assert rest[-1].event is not None and rest[-1].event.kind is EventKind.RUN_COMPLETED


async def test_readers_that_come_early_late_and_afterwards_see_the_same(any_journal: Journal) -> None:
    tool = HeldTool()
    parts = b.Bench(journal=any_journal, tools=FunctionTools({"look": tool}))
    runtime = parts.runtime()
    await runtime.start_run(b.request())
    early = asyncio.create_task(streamed(runtime))
    await tool.begun.wait()
    late = asyncio.create_task(streamed(runtime))
    await quiet()

    tool.let_go.set()
    seen = [await early, await late, await streamed(runtime)]
    second = parts.runtime()
    await second.recover()
    seen.append(await streamed(second))

    on_record = [event.position for event in await events(any_journal)]
    assert [positions(items) for items in seen] == [on_record] * 4


async def test_every_cursor_is_a_place_to_come_back_to(any_journal: Journal) -> None:
    runtime = b.Bench(journal=any_journal).runtime()
    await runtime.run_text(b.request())
    everything = await streamed(runtime)

    for index, item in enumerate(everything):
        rest = await streamed(runtime, after_cursor=item.cursor)

        assert [later.event for later in rest[1:]] == [later.event for later in everything[index + 1 :]]
        assert rest[0].cursor == item.cursor


async def test_a_page_is_a_stretch_of_the_stream(bench: b.Bench) -> None:
    runtime = bench.runtime()
    await runtime.run_text(b.request())
    everything = [item for item in await streamed(runtime) if item.event]

    paged: list[StreamItem] = []
    while page := await runtime.list_events("run-1", after_cursor=paged[-1].cursor if paged else "", limit=3):
        assert len(page) <= 3
        paged += page

    assert paged == everything


async def test_a_bookmark_tells_how_far_the_stream_is(bench: b.Bench) -> None:
    runtime = bench.runtime()
    await runtime.run_text(b.request())
    head = (await events(bench.journal))[-1].position

    opening = (await streamed(runtime))[0]

    assert (opening.event, opening.position) == (None, head)


async def test_live_only_leaves_out_what_was_before(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.tools = FunctionTools({"look": tool})
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    await reached(runtime, EventKind.TOOL_STARTED)
    before = await events(bench.journal)

    batches = await runtime.subscribe_run("run-1", live_only=True)
    tool.let_go.set()
    items = [item async for batch in batches for item in batch]

    assert positions(items) == [event.position for event in await events(bench.journal)][len(before) :]
    assert items[0].event is None


async def test_live_only_and_a_cursor_exclude_each_other(bench: b.Bench) -> None:
    runtime = bench.runtime()
    ended = await runtime.run_text(b.request())

    with pytest.raises(AgentError) as caught:
        await runtime.subscribe_run("run-1", after_cursor=ended.last_cursor, live_only=True)

    assert caught.value.reason is ErrorReason.INVALID_REQUEST
    assert caught.value.metadata["field"] == "live_only"


async def test_a_reader_far_behind_loses_nothing(any_journal: Journal) -> None:
    runtime = b.Bench(journal=any_journal).runtime(long_package())
    handle, _ = await runtime.start_run(b.request())
    batches = await runtime.subscribe_run("run-1")
    opening = await anext(batches)

    await handle.wait()
    rest = [item async for batch in batches for item in batch]

    on_record = await events(any_journal)
    assert len(on_record) > CACHED_EVENTS
    assert [item.event for item in rest] == on_record
    assert opening[0].event is None


async def test_a_reader_that_stops_and_goes_on_loses_nothing(bench: b.Bench) -> None:
    runtime = bench.runtime(long_package())
    handle, _ = await runtime.start_run(b.request())
    seen: list[StreamItem] = []
    batches = await runtime.subscribe_run("run-1")

    async for batch in batches:
        seen += batch
        if len(seen) < 30:
            continue
        await handle.wait()

    assert [item.event for item in seen if item.event] == await events(bench.journal)


async def test_an_idle_stream_shows_signs_of_life(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.tools = FunctionTools({"look": tool})
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    await tool.begun.wait()
    batches = await runtime.subscribe_run("run-1")
    caught_up = [await anext(batches), await anext(batches)][-1][-1]
    idle = asyncio.ensure_future(anext(batches))
    await quiet()

    bench.manual_clock.advance(IDLE - 1)
    await quiet()
    too_early = idle.done()
    bench.manual_clock.advance(1)
    [bookmark] = await idle

    assert not too_early
    assert (bookmark.event, bookmark.cursor) == (None, caught_up.cursor)
    tool.let_go.set()
    rest = [item async for batch in batches for item in batch]
    assert positions(rest)[0] == caught_up.position + 1


async def test_an_idle_reader_is_woken_by_what_happens(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.tools = FunctionTools({"look": tool})
    runtime = bench.runtime()
    await runtime.start_run(b.request())
    reading = asyncio.create_task(streamed(runtime))
    await tool.begun.wait()
    await quiet()

    tool.let_go.set()

    assert positions(await reading) == [event.position for event in await events(bench.journal)]


async def test_a_run_of_another_namespace_is_not_there(bench: b.Bench) -> None:
    runtime = bench.runtime()
    await runtime.start_run(b.request(), namespace=Namespace("theirs"))

    with pytest.raises(AgentError) as caught:
        await runtime.subscribe_run("run-1")

    assert caught.value.reason is ErrorReason.RUN_NOT_FOUND
