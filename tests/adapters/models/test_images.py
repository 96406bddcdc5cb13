"""Images on the wire: what a vendor receives is the picture that was given, byte by byte."""

from __future__ import annotations

import base64
import json

import httpx2
import pytest
from runwright.adapters.providers import model_images
from runwright.core.images import IMAGE_TYPES, Image
from runwright.core.outcomes import RunStatus
from runwright.ports.provider import UserMessage

from tests import builders as b
from tests.adapters.models.asking import ask, provider_at
from tests.adapters.models.fake_vendor import fake_vendor
from tests.adapters.models.wires import ANTHROPIC, OPENAI, Wire

both = pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
SHOWN = base64.b64encode(b.PIXEL).decode()
OPENAI_IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{SHOWN}"}}
ANTHROPIC_IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": SHOWN}}
PICTURE = Image("image/png", b.PIXEL)
SIZES = (5 * 1024 * 1024, 1, 1000, model_images.PIECE_BYTES)


def parts(wire: Wire, content: list[dict[str, object]]) -> list[dict[str, object]]:
    """The parts of a message, without what the wire adds to any of them."""
    return [{key: value for key, value in part.items() if key != "cache_control"} for part in content]


@both
async def test_a_picture_beside_words(wire: Wire) -> None:
    _, vendor = await ask(wire, wire.answer("A dot."), messages=(UserMessage(("What is this?", PICTURE)),))

    [message] = [each for each in vendor.requested[0].body["messages"] if each["role"] == "user"]
    image = OPENAI_IMAGE if wire is OPENAI else ANTHROPIC_IMAGE
    assert parts(wire, message["content"]) == [{"type": "text", "text": "What is this?"}, image]


@both
async def test_a_picture_alone(wire: Wire) -> None:
    _, vendor = await ask(wire, wire.answer("A dot."), messages=(UserMessage((PICTURE,)),))

    [message] = [each for each in vendor.requested[0].body["messages"] if each["role"] == "user"]
    assert parts(wire, message["content"]) == [OPENAI_IMAGE if wire is OPENAI else ANTHROPIC_IMAGE]


@both
@pytest.mark.parametrize("media_type", IMAGE_TYPES)
async def test_every_kind_of_image_goes_out_as_what_it_is(wire: Wire, media_type: str) -> None:
    picture = Image(media_type, b.PIXEL)

    _, vendor = await ask(wire, wire.answer("A dot."), messages=(UserMessage(("What is this?", picture)),))

    message = str(vendor.requested[0].body["messages"])
    assert SHOWN in message
    assert media_type in message


@both
async def test_photos_arrive_whole_and_no_library_had_them_in_its_hands(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = [Image("image/jpeg", b"\xff\xd8\xff" + bytes([number]) * size) for number, size in enumerate(SIZES)]
    seen: list[int] = []

    async def noted(request: httpx2.Request) -> None:
        seen.append(len(request.content))
        await model_images.put_in(request)

    monkeypatch.setattr("runwright.adapters.providers.model_vendor.put_in", noted)

    _, vendor = await ask(wire, wire.answer("Dots."), messages=(UserMessage(("Which?", *photos, "Say.")),))

    [message] = [each for each in vendor.requested[0].body["messages"] if each["role"] == "user"]
    shown = [str(part) for part in message["content"] if "image" in part["type"]]
    assert len(shown) == len(photos)
    assert all(base64.b64encode(photo.data).decode() in part for photo, part in zip(photos, shown, strict=True))
    assert seen == [pytest.approx(1000, abs=900)]


async def test_an_image_is_written_a_piece_at_a_time() -> None:
    images = model_images.ShownImages()
    token = images.token(b"x" * (3 * model_images.PIECE_BYTES + 1))
    body = b'{"data":"' + base64.b64encode(token) + b'"}'
    request = httpx2.Request("POST", "http://127.0.0.1/", content=body)
    shown = model_images.shown.set(images.by_token)

    await model_images.put_in(request)
    model_images.shown.reset(shown)

    assert isinstance(request.stream, httpx2.AsyncByteStream)
    pieces = [piece async for piece in request.stream]
    assert max(map(len, pieces)) == model_images.PIECE_BYTES // 3 * 4
    assert len(b"".join(pieces)) == int(request.headers["content-length"])
    assert base64.b64decode(json.loads(b"".join(pieces))["data"]) == b"x" * (3 * model_images.PIECE_BYTES + 1)


@both
async def test_every_round_of_a_run_shows_the_picture(wire: Wire) -> None:
    answers = wire.answer(None, [("v-1", "look", {})]), wire.answer("A dot.")
    async with fake_vendor(*answers) as vendor, provider_at(vendor, wire.kind) as provider:
        bench = b.Bench(providers={wire.kind: provider})
        runtime = bench.runtime(b.package(provider={"adapter": wire.kind, "model": "m"}, tools=(b.tool(),)))
        ended = await runtime.run_text(b.request("run-1", "What is this?", PICTURE))
        await runtime.close()

    assert (ended.status, ended.text) == (RunStatus.COMPLETED, "A dot.")
    assert [SHOWN in str(requested.body["messages"]) for requested in vendor.requested] == [True, True]
