"""Frames carry the journal's own bytes; two readers of the wire form agree on every one of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from runwright._gen.runwright.v1 import event_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.core.content import INLINE_LIMIT_BYTES, OPAQUE, digest
from runwright.ports.provider import ModelReply, ProviderCall
from runwright.ports.tools import ToolOutcome, ToolOutcomeKind
from runwright.testing import FunctionTools
from runwright.wire.frames import RawSubscribeResponse
from runwright.wire.snapshots import inline_bytes

from tests import builders as b
from tests.runtime.parts import PlayedProvider
from tests.runtime.watching import events
from tests.transport.conftest import Serve
from tests.transport.serving import CALL_SECONDS, SERVICE, Served, scope, subscription

MANY = b.package(*[b.asks(*["look"] * 8)] * 10, b.says("done"), tools=(b.tool(),), budget={"tool_calls": 1000})
LENGTH_DELIMITED = {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_MESSAGE}


def talking(size: int) -> FunctionTools:
    """A tool that answers with so many bytes, different ones each time."""
    calls = 0

    async def talk(arguments: Mapping[str, Any]) -> ToolOutcome:
        nonlocal calls
        calls += 1
        return ToolOutcome(ToolOutcomeKind.RESULT, str(calls).encode().zfill(size), "text/plain")

    return FunctionTools({"look": talk})


async def raw_responses(served: Served, view: int = 0) -> list[bytes]:
    """What Subscribe puts on the wire."""
    method = served.channel().unary_stream(SERVICE + "Subscribe")
    request = subscription(view=view).SerializeToString()
    return [response async for response in method(request, timeout=CALL_SECONDS)]


async def listed(served: Served, view: int = 0, page_size: int = 7) -> list[event_pb2.EventFrame]:
    """What ListEvents says, page by page."""
    frames: list[event_pb2.EventFrame] = []
    token = ""
    while True:
        request = pb.ListEventsRequest(scope=scope(), page_token=token, page_size=page_size, view=view)
        page = await served.stub.ListEvents(request, timeout=CALL_SECONDS)
        if not page.frames:
            assert page.next_page_token == ""
            return frames
        assert len(page.frames) <= page_size
        frames, token = [*frames, *page.frames], page.next_page_token


def test_the_twin_has_the_fields_of_a_frame() -> None:
    twin = RawSubscribeResponse.DESCRIPTOR.fields_by_name["frames"].message_type

    numbers = {field.name: field.number for field in event_pb2.EventFrame.DESCRIPTOR.fields}
    assert {field.name: field.number for field in twin.fields} == numbers
    for field in event_pb2.EventFrame.DESCRIPTOR.fields:
        own = twin.fields_by_name[field.name]
        same = own.type == field.type or {own.type, field.type} <= LENGTH_DELIMITED
        assert same and own.is_repeated == field.is_repeated, field.name


@pytest.mark.parametrize("view", [pb.EVENT_VIEW_UNSPECIFIED, pb.EVENT_VIEW_SUMMARY, pb.EVENT_VIEW_FULL])
async def test_a_stream_and_a_list_are_the_same_frames(served: Served, view: int) -> None:
    await served.ended()

    bookmark, *streamed = await served.frames(view=view)

    assert bookmark.WhichOneof("item") == "bookmark"
    assert streamed == await listed(served, view)
    assert [frame.event.seq for frame in streamed] == list(range(1, len(streamed) + 1))


async def test_the_bytes_of_an_event_are_those_of_the_journal(served: Served) -> None:
    await served.ended()

    raw = [frame for data in await raw_responses(served) for frame in RawSubscribeResponse.FromString(data).frames]

    assert raw[0].WhichOneof("item") == "bookmark"
    on_record = await events(served.bench.journal)
    assert [(frame.event, frame.position, frame.previous_hash, frame.hash) for frame in raw[1:]] == [
        (event.data, event.position, event.previous_hash, event.hash) for event in on_record
    ]
    decoded = [frame for data in await raw_responses(served) for frame in pb.SubscribeResponse.FromString(data).frames]
    assert [frame.event for frame in decoded[1:]] == [event_pb2.Event.FromString(event.data) for event in on_record]
    assert [frame.cursor for frame in decoded] == [frame.cursor for frame in raw]


async def test_the_chain_can_be_checked_from_the_frames_alone(served: Served) -> None:
    await served.ended()
    await served.ended("run-2")

    raw = [frame for data in await raw_responses(served) for frame in RawSubscribeResponse.FromString(data).frames]

    previous = hashlib.sha256(b"runwright-chain-v1\0default\0run-1").digest()
    for frame in raw[1:]:
        assert frame.previous_hash == previous
        previous = hashlib.sha256(previous + frame.event).digest()
        assert frame.hash == previous


@pytest.mark.parametrize(("view", "size"), [(0, 5), (pb.EVENT_VIEW_FULL, 3_000), (pb.EVENT_VIEW_FULL, 40_000)])
async def test_a_response_is_bounded_in_frames_and_bytes(serve: Serve, view: int, size: int) -> None:
    served = await serve(b.Bench(tools=talking(size), packages=(MANY,)))
    await served.ended()

    responses = [pb.SubscribeResponse.FromString(data) for data in await raw_responses(served, view)]

    assert max(len(response.frames) for response in responses) <= 64
    beyond_the_first = [sum(frame.ByteSize() for frame in response.frames[1:]) for response in responses]
    assert max(beyond_the_first) <= 64 * 1024
    assert sum(len(response.frames) for response in responses) == served.bench.journal.head + 1


async def test_batches_are_used(serve: Serve) -> None:
    served = await serve(b.Bench(packages=(MANY,)))
    await served.ended()

    responses = [pb.SubscribeResponse.FromString(data) for data in await raw_responses(served)]

    assert len(responses) <= 2 + served.bench.journal.head // 64


@pytest.mark.parametrize(("size", "omitted"), [(INLINE_LIMIT_BYTES, False), (INLINE_LIMIT_BYTES + 1, True)])
async def test_the_full_view_holds_contents_up_to_a_limit(serve: Serve, size: int, omitted: bool) -> None:
    served = await serve(b.Bench(tools=talking(size)))
    await served.ended()

    frames = await served.frames(view=pb.EVENT_VIEW_FULL)

    [completed] = [frame for frame in frames if frame.event.HasField("tool_completed")]
    [content] = completed.contents
    assert (content.ref, content.omitted) == (completed.event.tool_completed.result, omitted)
    assert content.ref.size == size
    assert len(inline_bytes(content)) == (0 if omitted else size)
    for frame in frames:
        for content in frame.contents:
            assert content.omitted or digest(inline_bytes(content)) == content.ref.digest


async def test_the_full_view_holds_what_user_model_and_tool_said(served: Served) -> None:
    await served.ended()

    frames = await served.frames(view=pb.EVENT_VIEW_FULL)

    said = {frame.event.WhichOneof("body"): [inline_bytes(content) for content in frame.contents] for frame in frames}
    assert said["turn_started"] == [b"What is there?"]
    assert said["tool_requested"] == [b"{}"]
    assert said["tool_completed"] == [b'"a lamp"']
    assert said["run_completed"] == [b'found "a lamp"']
    assert len(said["run_started"]) == 2
    assert said["policy_decided"] == []


async def test_no_view_holds_what_goes_back_to_a_vendor_and_no_tool_can_pass_for_it(serve: Serve) -> None:
    async def sly(arguments: object) -> ToolOutcome:
        return ToolOutcome(ToolOutcomeKind.RESULT, b"a lamp", OPAQUE)

    asking = ModelReply(calls=(ProviderCall("p-1", "look", "{}"),), opaque=b"signed")
    provider = PlayedProvider(asking, ModelReply(text="There is a lamp."))
    served = await serve(b.Bench(tools=FunctionTools({"look": sly}), providers={"scripted": provider}))
    await served.ended()

    frames = await served.frames(view=pb.EVENT_VIEW_FULL)

    said = [frame for frame in frames if frame.event.HasField("model_message_completed")]
    assert said[0].event.model_message_completed.opaque.digest == digest(b"signed")
    assert list(said[0].contents) == []
    [completed] = [frame for frame in frames if frame.event.HasField("tool_completed")]
    assert [inline_bytes(content) for content in completed.contents] == [b"a lamp"]


@pytest.mark.parametrize(
    ("data", "media_type", "shown_as"),
    [
        ("Füße".encode(), "text/plain", "text"),
        (b'{"a":1}', "application/json", "text"),
        (b"\xff\xfe", "text/plain", "data"),
        (b"plain", "application/octet-stream", "data"),
    ],
)
async def test_what_is_text_is_shown_as_text(serve: Serve, data: bytes, media_type: str, shown_as: str) -> None:
    async def answer(arguments: object) -> ToolOutcome:
        return ToolOutcome(ToolOutcomeKind.RESULT, data, media_type)

    served = await serve(b.Bench(tools=FunctionTools({"look": answer})))
    await served.ended()

    frames = await served.frames(view=pb.EVENT_VIEW_FULL)

    [content] = [content for frame in frames if frame.event.HasField("tool_completed") for content in frame.contents]
    assert (content.WhichOneof("body"), inline_bytes(content)) == (shown_as, data)
    assert (content.ref.media_type, content.ref.digest) == (media_type, digest(data))


async def test_the_summary_view_holds_no_contents(served: Served) -> None:
    await served.ended()

    frames = await served.frames(view=pb.EVENT_VIEW_SUMMARY)

    assert all(not frame.contents for frame in frames)
