"""An image as a part of the input: over the wire, into the journal, and back in the FULL view."""

from __future__ import annotations

import pytest
from runwright._gen.runwright.v1 import content_pb2, error_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.adapters.providers.demo import DemoProvider
from runwright.core.content import digest
from runwright.core.events import EventKind
from runwright.core.images import Image
from runwright.ports.provider import UserMessage

from tests import builders as b
from tests.runtime.parts import RecordingProvider
from tests.runtime.watching import pass_time, reached
from tests.transport.conftest import Serve
from tests.transport.serving import CALL_SECONDS, refused, run_request

ASKED = [
    content_pb2.InputPart(text="What is this?"),
    content_pb2.InputPart(data=content_pb2.InputData(media_type="image/png", data=b.PIXEL)),
]
SHOWN = (UserMessage(("What is this?", Image("image/png", b.PIXEL))),)


async def test_an_image_reaches_the_model_and_every_reader_of_the_full_view(serve: Serve) -> None:
    provider = RecordingProvider()
    served = await serve(b.Bench(packages=(b.package(b.says("A dot.")),), providers={"scripted": provider}))

    run = await served.ended(input=ASKED)

    assert run.status == run_pb2.RUN_STATUS_COMPLETED
    assert provider.requests[0].messages == SHOWN
    [refs] = [f.event.turn_started.input for f in await served.frames() if f.event.HasField("turn_started")]
    assert [ref.media_type for ref in refs] == ["text/plain; charset=utf-8", "image/png"]
    assert (refs[1].digest, refs[1].size) == (digest(b.PIXEL), len(b.PIXEL))
    full = await served.frames(view=pb.EVENT_VIEW_FULL)
    [contents] = [frame.contents for frame in full if frame.event.HasField("turn_started")]
    assert [content.text or content.data for content in contents] == ["What is this?", b.PIXEL]
    assert contents[1].WhichOneof("body") == "data"


async def test_the_same_image_is_the_same_request_and_another_is_not(serve: Serve) -> None:
    served = await serve()
    await served.start(input=ASKED)
    other = content_pb2.InputPart(data=content_pb2.InputData(media_type="image/png", data=b.PIXEL + b"\0"))

    again = await served.stub.StartRun(pb.StartRunRequest(run=run_request(input=ASKED)), timeout=CALL_SECONDS)
    refusal = await refused(
        served.stub.StartRun(pb.StartRunRequest(run=run_request(input=[ASKED[0], other])), timeout=CALL_SECONDS)
    )

    assert not again.created
    assert refusal.error.reason == error_pb2.ERROR_REASON_RUN_ID_CONFLICT
    assert refusal.error.metadata["fields"] == "input"


async def test_a_provider_without_eyes_says_so(serve: Serve) -> None:
    package = b.package(provider={"adapter": "demo", "model": "demo-1"})
    served = await serve(b.Bench(packages=(package,), providers={"demo": DemoProvider()}))

    run = await served.ended(input=ASKED)

    assert run.status == run_pb2.RUN_STATUS_FAILED
    assert run.error.reason == error_pb2.ERROR_REASON_PROVIDER_REFUSED
    assert "images" in run.error.message


@pytest.mark.parametrize("parts", [ASKED, ASKED[1:]], ids=["with words", "alone"])
async def test_an_image_is_shown_again_after_a_restart(serve: Serve, parts: list[content_pb2.InputPart]) -> None:
    provider = RecordingProvider()
    bench = b.Bench(packages=(b.package({**b.says("A dot."), "fail_attempts": 1}),), providers={"scripted": provider})
    first = await serve(bench)
    await first.start(input=parts)
    await reached(first.runtime, EventKind.RETRY_SCHEDULED)
    await first.runtime.drain(0)

    second = bench.runtime()
    await second.recover()
    await pass_time(bench, second)

    assert len(provider.requests) == 2
    assert provider.requests[0].messages == provider.requests[1].messages
    assert Image("image/png", b.PIXEL) in provider.requests[1].messages[0].parts  # type: ignore[union-attr]
