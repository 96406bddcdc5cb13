"""What no reply may hold is refused while it comes, before anything is made of it."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx2
import pytest
from pydantic_ai.messages import ModelResponse, ToolCallPart
from runwright.adapters.providers import answer_bounds, model_answer
from runwright.adapters.providers.answer_bounds import BrokenAnswerError, bound_body
from runwright.core.errors import AgentError, ErrorReason
from runwright.ports.provider import MAX_CALLS, MAX_REPLY_ARGUMENT_BYTES

from tests.adapters.models.asking import ask, failing
from tests.adapters.models.fake_vendor import Answer
from tests.adapters.models.wires import ANTHROPIC, OPENAI, Wire, call_chunks, chunks, text_chunks

both = pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
PIECES = {"stream": False}


def calls(number: int) -> list[tuple[str, str, object]]:
    """So many calls."""
    return [(f"call-{index}", "look", {"n": index}) for index in range(number)]


def refused(error: AgentError, rule: str) -> None:
    """The answer was refused by that rule."""
    assert error.reason is ErrorReason.MODEL_OUTPUT_INVALID
    assert rule in error.metadata["rule"]


@both
async def test_as_many_calls_as_may_be_are_taken(wire: Wire) -> None:
    reply, _ = await ask(wire, wire.answer(None, calls(MAX_CALLS)))

    assert len(reply.calls) == MAX_CALLS


@both
async def test_of_two_thousand_calls_in_a_stream_no_more_are_read_than_may_be(wire: Wire) -> None:
    endless = replace(wire.answer(None, calls(2000)), hang=True)  # who reads on, waits for ever

    refused(await failing(wire, endless), "more than 64 calls")


@both
async def test_of_two_thousand_calls_in_one_piece_none_is_made(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(model_answer, "ProviderCall", made.append)

    error = await failing(wire, wire.answer(None, calls(2000)), parameters=PIECES)

    refused(error, "more than 64 calls")
    assert made == []


def test_calls_are_counted_before_they_are_made() -> None:
    response = ModelResponse([ToolCallPart("look", "{}")] * (MAX_CALLS + 1))

    with pytest.raises(BrokenAnswerError):
        model_answer.to_reply(response)


async def test_arguments_without_an_end_are_not_read_to_it() -> None:
    piece = "x" * (MAX_REPLY_ARGUMENT_BYTES // 16)
    sent = chunks(*call_chunks(0, "a", "look", '{"a":"', *[piece] * 17), done=False)

    refused(await failing(OPENAI, Answer(stream=sent, hang=True)), "characters of arguments")


async def test_a_stream_of_too_many_pieces_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_bounds, "MAX_PIECES", 100)
    sent = chunks(*text_chunks(*["x"] * 200), done=False)

    refused(await failing(OPENAI, Answer(stream=sent, hang=True)), "more than 100 pieces")


@both
@pytest.mark.parametrize("parameters", [{}, PIECES], ids=["streamed", "in one piece"])
async def test_a_body_that_is_too_long_is_not_read_to_its_end(
    wire: Wire, parameters: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_bounds, "MAX_BODY_BYTES", 100_000)
    monkeypatch.setattr(answer_bounds, "MAX_STREAM_BYTES", 100_000)

    error = await failing(wire, wire.answer("x" * 200_000), parameters=parameters)

    refused(error, "longer than 100000 bytes")


async def test_an_error_without_an_end_is_not_read_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_bounds, "MAX_BODY_BYTES", 100_000)

    error = await failing(OPENAI, Answer(status=500, body=b" " * 200_000))

    refused(error, "longer than 100000 bytes")


async def test_a_compressed_answer_is_refused_and_was_not_asked_for() -> None:
    answer = OPENAI.answer("hi")
    packed = replace(answer, body=gzip.compress(json.dumps(answer.body).encode()), headers={"content-encoding": "gzip"})

    refused(await failing(OPENAI, packed, parameters=PIECES), "compressed")
    _, vendor = await ask(OPENAI, answer)
    assert vendor.requested[0].headers["accept-encoding"] == "identity"


class Sent(httpx2.AsyncByteStream):
    """A body that is all there at once."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._data


async def test_the_loop_turns_while_a_large_piece_of_a_stream_is_taken_in() -> None:
    response = httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Sent(b"x" * 64 * 1024))
    await bound_body(response)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    steps = [len(data) async for data in response.aiter_raw()]
    counting.cancel()

    assert sum(steps) == 64 * 1024
    assert max(steps) <= 4096
    assert turns >= len(steps) - 1
