"""Sessions over the wire: what a client gets to see of a run's context."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from runwright._gen.runwright.v1 import content_pb2, event_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.core.ids import RunId, derived_turn_id

from tests import builders as b
from tests.transport.conftest import Serve
from tests.transport.serving import CALL_SECONDS, Served, run_request, subscription

PART = 60_000


async def turn(served: Served, run_id: str, text: str) -> run_pb2.RunSnapshot:
    """One turn of the session, to its end."""
    run = run_request(run_id, session_id="s", input=[content_pb2.InputPart(text=text)])
    await served.stub.StartRun(pb.StartRunRequest(run=run), timeout=CALL_SECONDS)
    request = pb.WaitRequest(run_id=run_id, timeout=Duration(seconds=60))
    return (await served.stub.Wait(request, timeout=90)).run


async def context(served: Served, run_id: str, view: pb.EventView.ValueType) -> event_pb2.EventFrame:
    """The frame of the run's context."""
    responses = served.stub.Subscribe(subscription(run_id, view=view), timeout=CALL_SECONDS)
    frames = [frame async for response in responses for frame in response.frames]
    [found] = [frame for frame in frames if frame.event.HasField("context_assembled")]
    return found


async def test_the_full_view_shows_what_the_model_saw(serve: Serve) -> None:
    served = await serve(b.Bench(packages=(b.package(b.says("heard")),)))
    await turn(served, "one", "I am Ada.")
    await turn(served, "two", "Who am I?")

    frame = await context(served, "two", pb.EVENT_VIEW_FULL)
    bare = await context(served, "two", pb.EVENT_VIEW_SUMMARY)

    [seen] = frame.event.context_assembled.included
    assert (seen.run_id, seen.turn_id) == ("one", derived_turn_id(RunId("one")))
    assert seen.bytes == len("I am Ada.") + len("heard")
    said = {content.ref.digest: content.text for content in frame.contents}
    assert [said[ref.digest] for ref in (*seen.input, seen.answer)] == ["I am Ada.", "heard"]
    assert (bare.event, len(bare.contents)) == (frame.event, 0)


async def test_the_largest_context_fits_into_a_frame_of_a_plain_client(serve: Serve) -> None:
    policy = {"session_turns": 100, "session_bytes": 1_048_576}
    served = await serve(b.Bench(packages=(b.package(b.says("heard"), context=policy),)))
    for number in range(19):
        await turn(served, f"run-{number}", str(number % 10) * PART)
        await turn(served, f"small-{number}", "hm")

    frame = await context(served, "small-18", pb.EVENT_VIEW_FULL)

    seen = frame.event.context_assembled
    assert 1_048_576 - PART - 100 < sum(each.bytes for each in seen.included) <= 1_048_576
    assert {run.why for run in seen.omitted} == {event_pb2.CONTEXT_OMISSION_BYTES}
    assert len(seen.included) + seen.omitted_count == 37
    assert frame.ByteSize() < 4 * 1024 * 1024
