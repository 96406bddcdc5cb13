"""Streams and lists over many runs, as a client sees them."""

from __future__ import annotations

import asyncio

import pytest
from runwright._gen.runwright.v1 import event_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.transport import runtime_service

from tests.transport.serving import CALL_SECONDS, Served, refused

ALL = pb.StreamScope(all=pb.AllRuns())


async def listed(served: Served, **fields: object) -> list[event_pb2.EventFrame]:
    """Every page of a stream."""
    request = pb.ListEventsRequest(**fields)  # type: ignore[arg-type]
    frames: list[event_pb2.EventFrame] = []
    while True:
        page = await served.stub.ListEvents(request, timeout=CALL_SECONDS)
        frames += page.frames
        if not page.next_page_token:
            return frames
        request.page_token = page.next_page_token


async def test_a_stream_of_everything_carries_contents_of_every_run(served: Served) -> None:
    for number in range(3):
        await served.ended(f"run-{number}", session_id=f"s{number}")
    expected = await listed(served, scope=ALL, view=pb.EVENT_VIEW_FULL, page_size=7)
    request = pb.SubscribeRequest(scope=ALL, view=pb.EVENT_VIEW_FULL)

    seen: list[event_pb2.EventFrame] = []
    call = served.stub.Subscribe(request, timeout=CALL_SECONDS)
    async for response in call:
        seen += [frame for frame in response.frames if frame.WhichOneof("item") == "event"]
        if len(seen) == len(expected):
            break
    call.cancel()

    assert seen == expected
    assert [frame.position for frame in seen] == list(range(1, served.bench.journal.head + 1))
    ends = [frame for frame in seen if frame.event.kind == event_pb2.EVENT_KIND_RUN_COMPLETED]
    assert [frame.contents[0].text for frame in ends] == ['found "a lamp"'] * 3
    mine = await listed(served, scope=pb.StreamScope(session_id="s1"), view=pb.EVENT_VIEW_FULL)
    assert [frame.event for frame in mine] == [frame.event for frame in seen if frame.event.session_id == "s1"]
    assert not {frame.cursor for frame in mine} & {frame.cursor for frame in seen}


async def test_a_frozen_reader_of_everything_holds_up_nobody(served: Served) -> None:
    frozen = served.stub.Subscribe(pb.SubscribeRequest(scope=ALL))
    await frozen.read()
    request = pb.SubscribeRequest(scope=ALL, filter=pb.EventFilter(terminal_only=True))
    swift = served.stub.Subscribe(request, timeout=CALL_SECONDS)
    await swift.read()

    await asyncio.gather(*(served.ended(f"run-{number}") for number in range(20)))
    ends = 0
    while ends < 20:
        ends += len((await swift.read()).frames)

    assert ends == 20
    frozen.cancel()
    swift.cancel()


async def test_a_cursor_of_another_scope_or_filter_is_refused(served: Served) -> None:
    ended = await served.ended()
    for fields in (
        {"scope": ALL},
        {"scope": pb.StreamScope(run_id="run-1"), "filter": pb.EventFilter(terminal_only=True)},
    ):
        request = pb.SubscribeRequest(after_cursor=ended.last_cursor, **fields)  # type: ignore[arg-type]
        refusal = await refused(served.stub.Subscribe(request, timeout=CALL_SECONDS))
        assert refusal.info.reason == "CURSOR_SCOPE_MISMATCH"
        assert refusal.info.metadata["expected"] == "a cursor of the same scope and filter"
    empty = pb.SubscribeRequest(
        scope=pb.StreamScope(run_id="run-1"), filter=pb.EventFilter(), after_cursor=ended.last_cursor
    )
    assert [len(response.frames) async for response in served.stub.Subscribe(empty, timeout=CALL_SECONDS)] == [1]


@pytest.mark.parametrize("room", [1, 1_000_000])
async def test_runs_are_listed_in_pages_that_fit_in_a_message(
    served: Served, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_service, "PAGE_BYTES", room)
    for number in range(7):
        await served.ended(f"run-{number}", labels={"n": str(number % 2)})
    request = pb.ListRunsRequest(page_size=3, filter=pb.RunFilter(statuses=[run_pb2.RUN_STATUS_COMPLETED]))

    pages: list[list[str]] = []
    while True:
        page = await served.stub.ListRuns(request, timeout=CALL_SECONDS)
        pages.append([run.run_id for run in page.runs])
        assert not any(run.HasField("result") for run in page.runs)
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break

    assert [run_id for ids in pages for run_id in ids] == [f"run-{number}" for number in range(6, -1, -1)]
    assert {len(ids) for ids in pages} == ({1} if room == 1 else {3, 1})
    monkeypatch.undo()
    odd = await served.stub.ListRuns(pb.ListRunsRequest(filter=pb.RunFilter(labels={"n": "1"})), timeout=CALL_SECONDS)
    assert [run.run_id for run in odd.runs] == ["run-5", "run-3", "run-1"]
