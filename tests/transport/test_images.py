"""An image as a part of the input: over the wire, into the journal, and back in the FULL view."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from runwright._gen.runwright.v1 import content_pb2, error_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.adapters.providers.demo import DemoProvider
from runwright.adapters.sqlite import SqliteJournal
from runwright.core.content import digest
from runwright.core.images import MAX_IMAGE_BYTES, Image
from runwright.core.kinds import EventKind
from runwright.ports.provider import UserMessage

from tests import builders as b
from tests.runtime.parts import RecordingProvider
from tests.runtime.watching import pass_time, reached
from tests.transport.conftest import Serve
from tests.transport.serving import CALL_SECONDS, refused, run_request

REQUESTED = [
    content_pb2.InputPart(text="What is this?"),
    content_pb2.InputPart(data=content_pb2.InputData(media_type="image/png", data=b.PIXEL)),
]
SHOWN = (UserMessage(("What is this?", Image("image/png", b.PIXEL))),)


def photo(size: int, number: int = 0) -> content_pb2.InputPart:
    """A JPEG of that size, as far as anybody here looks at it."""
    data = b"\xff\xd8\xff\xe0" + bytes([number]) * (size - 4)
    return content_pb2.InputPart(data=content_pb2.InputData(media_type="image/jpeg", data=data))


async def test_an_image_reaches_the_model_and_every_reader_of_the_full_view(serve: Serve) -> None:
    provider = RecordingProvider()
    served = await serve(b.Bench(packages=(b.package(b.says("A dot.")),), providers={"scripted": provider}))

    run = await served.ended(input=REQUESTED)

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
    await served.start(input=REQUESTED)
    other = content_pb2.InputPart(data=content_pb2.InputData(media_type="image/png", data=b.PIXEL + b"\0"))

    again = await served.stub.StartRun(pb.StartRunRequest(run=run_request(input=REQUESTED)), timeout=CALL_SECONDS)
    refusal = await refused(
        served.stub.StartRun(pb.StartRunRequest(run=run_request(input=[REQUESTED[0], other])), timeout=CALL_SECONDS)
    )

    assert not again.created
    assert refusal.error.reason == error_pb2.ERROR_REASON_RUN_ID_CONFLICT
    assert refusal.error.metadata["fields"] == "input"


async def test_photos_up_to_the_limit_reach_the_model_and_are_stored_once(serve: Serve, tmp_path: Path) -> None:
    provider = RecordingProvider()
    bench = b.Bench(packages=(b.package(b.says("A field.")),), providers={"scripted": provider})
    journal = SqliteJournal.open(tmp_path / "data")
    served = await serve(bench, journal=journal)
    photos = [photo(MAX_IMAGE_BYTES, number) for number in (1, 2)]

    for run_id in ("run-1", "run-2"):
        assert (await served.ended(run_id, input=[REQUESTED[0], *photos])).status == run_pb2.RUN_STATUS_COMPLETED

    shown = [Image("image/jpeg", part.data.data) for part in photos]
    assert [request.messages for request in provider.requests] == [(UserMessage(("What is this?", *shown)),)] * 2
    full = await served.frames(view=pb.EVENT_VIEW_FULL)
    [contents] = [frame.contents for frame in full if frame.event.HasField("turn_started")]
    assert [content.omitted for content in contents] == [False, True, True]
    exported = [r async for r in served.stub.ExportRun(pb.ExportRunRequest(run_id="run-1"), timeout=CALL_SECONDS)]
    parts = [r.content.data for r in exported if r.content.digest == digest(photos[1].data.data)]
    assert b"".join(parts) == photos[1].data.data
    await served.close()
    await journal.close()
    assert (tmp_path / "data" / "journal.db").stat().st_size < 3 * MAX_IMAGE_BYTES


async def test_large_images_are_digested_on_another_thread(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[tuple[int, threading.Thread]] = []

    def noted(data: bytes) -> str:
        threads.append((len(data), threading.current_thread()))
        return digest(data)

    monkeypatch.setattr("runwright.core.request.digest", noted)
    served = await serve()

    await served.ended(input=[photo(1024 * 1024)])

    assert [thread for size, thread in threads if size >= 1024 * 1024] != []
    assert threading.main_thread() not in {thread for size, thread in threads if size >= 1024 * 1024}


async def test_a_provider_without_eyes_says_so(serve: Serve) -> None:
    package = b.package(provider={"adapter": "demo", "model": "demo-1"})
    served = await serve(b.Bench(packages=(package,), providers={"demo": DemoProvider()}))

    run = await served.ended(input=REQUESTED)

    assert run.status == run_pb2.RUN_STATUS_FAILED
    assert run.error.reason == error_pb2.ERROR_REASON_PROVIDER_REFUSED
    assert "images" in run.error.message


@pytest.mark.parametrize("parts", [REQUESTED, REQUESTED[1:]], ids=["with words", "alone"])
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
