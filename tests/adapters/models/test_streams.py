"""Answers come as a stream, in the vendors' own events: whole ones are whole, and broken ones fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.outcomes import FinishReason
from runwright.ports.provider import ModelReply, ProviderCall

from tests.adapters.models.asking import BODY_WORDS, ask, failing, listen, provider_at, request
from tests.adapters.models.fake_vendor import Answer, Fields, fake_vendor
from tests.adapters.models.wires import (
    ANTHROPIC,
    OPENAI,
    STOP,
    Wire,
    begun,
    block,
    call_chunks,
    chunks,
    ended,
    events,
    finished,
    text_chunks,
    usage,
)

MODEL = "claude-sonnet-5"  # one whose longest answer is known, and long
START = begun(MODEL)


def text(index: int, *pieces: str) -> list[Fields]:
    """Text in pieces."""
    deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
    return block(index, {"type": "text", "text": ""}, *deltas)


def call(index: int, identifier: str, *pieces: str) -> list[Fields]:
    """A call whose arguments come in pieces."""
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    return block(index, {"type": "tool_use", "id": identifier, "name": "look", "input": {}}, *deltas)


def stream(*data: Fields, cut: bool = False) -> Answer:
    """An answer of these events."""
    return Answer(events(START, *data), media_type="text/event-stream", cut=cut)


async def said(*data: Fields) -> ModelReply:
    """The reply to these events; the request did ask for a stream."""
    reply, vendor = await ask(ANTHROPIC, stream(*data), model=MODEL)
    assert vendor.requested[0].body["stream"] is True
    return reply


async def broken(data: Sequence[Fields], *, cut: bool = False, **route: Any) -> AgentError:
    """The error of these events."""
    return await failing(ANTHROPIC, stream(*data, cut=cut), model=MODEL, route=route)


async def test_pieces_become_one_text() -> None:
    reply = await said(*text(0, "A ", "lamp", "."), ended("end_turn"), STOP)

    assert (reply.text, reply.finish) == ("A lamp.", FinishReason.STOP)
    assert (reply.input_tokens, reply.output_tokens) == (7, 11)


async def test_calls_side_by_side() -> None:
    calls = [*call(1, "a", '{"n"', ": 1}"), *call(2, "b")]

    reply = await said(*text(0, "Looking."), *calls, ended("tool_use"), STOP)

    assert (reply.text, reply.finish) == ("Looking.", FinishReason.TOOL_CALLS)
    assert [made.provider_call_id for made in reply.calls] == ["a", "b"]
    assert [json.loads(made.arguments_json or "{}") for made in reply.calls] == [{"n": 1}, {}]


async def test_malformed_arguments_come_through_as_they_are() -> None:
    reply = await said(*call(0, "a", '{"n": ', "1"), ended("tool_use"), STOP)

    assert reply.calls == (ProviderCall("a", "look", '{"n": 1'),)


async def test_a_stream_that_ends_without_a_reason_fails() -> None:
    error = await broken(text(0, "A la"))

    assert (error.reason, error.metadata["rule"]) == (
        ErrorReason.MODEL_OUTPUT_INVALID,
        "it does not say why it ended",
    )


async def test_a_stream_with_a_call_cut_short_fails() -> None:
    assert (await broken(call(0, "a", '{"n": 1}')[:2])).reason is ErrorReason.MODEL_OUTPUT_INVALID


async def test_a_cut_stream_is_a_connection_failure() -> None:
    error = await broken(text(0, "A la"), cut=True)

    assert (error.reason, error.metadata["class"]) == (ErrorReason.PROVIDER_FAILED, "connection")


async def test_an_error_in_the_stream_is_classified() -> None:
    overloaded = {"type": "error", "error": {"type": "overloaded_error", "message": BODY_WORDS}}

    error = await broken([*text(0, "A la"), overloaded])

    assert (error.reason, error.metadata["class"]) == (ErrorReason.PROVIDER_FAILED, "server_error")


async def test_a_stream_that_says_it_was_broken_off_fails() -> None:
    assert (await broken([*text(0, "so"), ended("aborted"), STOP])).reason is ErrorReason.MODEL_OUTPUT_INVALID


# OpenAI's stream, which Ollama speaks too.


def sent(*data: Fields, done: bool = True, **answer: Any) -> Answer:
    """An answer of these chunks."""
    return Answer(stream=chunks(*data, done=done), **answer)


HALF = text_chunks("A ", "la")
openai_and_ollama = pytest.mark.parametrize("wire", [OPENAI, replace(OPENAI, kind="ollama")], ids=["openai", "ollama"])


@openai_and_ollama
async def test_text_is_emitted_piece_by_piece(wire: Wire) -> None:
    reply, pieces, vendor = await listen(wire, sent(*text_chunks("A ", "lamp", " — ĝis."), finished("stop"), usage()))

    assert pieces == ["A ", "lamp", " — ĝis."]
    assert (reply.text, reply.input_tokens, reply.output_tokens) == ("A lamp — ĝis.", 7, 11)
    assert vendor.requested[0].body["stream_options"] == {"include_usage": True}


async def test_anthropics_text_is_emitted_piece_by_piece_and_its_thoughts_are_not() -> None:
    thought = block(0, {"type": "thinking", "thinking": "", "signature": ""}, _thinks("Hm"), _thinks("m."))

    _, pieces, _ = await listen(ANTHROPIC, stream(*thought, *text(1, "A ", "lamp."), ended("end_turn"), STOP))

    assert pieces == ["A ", "lamp."]


def _thinks(piece: str) -> Fields:
    return {"type": "thinking_delta", "thinking": piece}


async def test_pieces_come_before_the_answer_is_whole() -> None:
    """The first piece is heard while the vendor has not sent the rest."""
    heard = asyncio.Event()
    answer = sent(*HALF, done=False, hang=True)
    async with fake_vendor(answer) as vendor, provider_at(vendor, "openai") as provider:
        asking = asyncio.create_task(provider.complete(request(), lambda _: heard.set()))
        async with asyncio.timeout(30):
            await heard.wait()
        assert not asking.done()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def test_calls_in_interleaved_pieces_are_told_apart() -> None:
    first, second = call_chunks(0, "a", "look", '{"n"', ": 1}"), call_chunks(1, "b", "peek", "{", "}")
    mixed = [piece for pair in zip(first, second, strict=True) for piece in pair]

    reply, pieces, _ = await listen(OPENAI, sent(*text_chunks("I look."), *mixed, finished("tool_calls"), usage()))

    assert pieces == ["I look."]
    assert reply.calls == (ProviderCall("a", "look", '{"n": 1}'), ProviderCall("b", "peek", "{}"))


async def test_no_usage_is_none() -> None:
    reply, _, _ = await listen(OPENAI, sent(*HALF, finished("stop")))

    assert (reply.input_tokens, reply.output_tokens) == (0, 0)


@pytest.mark.parametrize("done", [True, False])
async def test_an_openai_stream_without_a_reason_fails(done: bool) -> None:
    error = await failing(OPENAI, sent(*HALF, done=done))

    assert (error.reason, error.metadata["rule"]) == (
        ErrorReason.MODEL_OUTPUT_INVALID,
        "it does not say why it ended",
    )


async def test_a_cut_openai_stream_is_a_connection_failure() -> None:
    error = await failing(OPENAI, sent(*HALF, done=False, cut=True))

    assert (error.reason, error.metadata["class"]) == (ErrorReason.PROVIDER_FAILED, "connection")


@pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
async def test_a_stall_in_mid_stream_is_a_timeout(wire: Wire) -> None:
    half = chunks(*HALF, done=False) if wire is OPENAI else events(START, *text(0, "A la")[:2])

    error = await failing(wire, Answer(stream=half, hang=True), route={"timeout_seconds": 0.4})

    assert (error.reason, error.metadata["class"]) == (ErrorReason.PROVIDER_FAILED, "timeout")


async def test_an_error_in_an_openai_stream_is_classified() -> None:
    broken = {"error": {"type": "server_error", "code": "overloaded", "message": BODY_WORDS}}

    error = await failing(OPENAI, sent(*HALF, broken))

    assert (error.reason, error.metadata["class"]) == (ErrorReason.PROVIDER_FAILED, "server_error")


@pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
async def test_text_that_is_refused_ends_the_request(wire: Wire) -> None:
    """What `emit` raises is the outcome: a vendor that never stops is not listened to for ever."""

    def refuse(piece: str) -> None:
        raise AgentError(ErrorReason.MODEL_OUTPUT_INVALID, "Too much.", metadata={"adapter": wire.kind, "rule": "r"})

    error = await failing(wire, wire.answer("so"), emit=refuse)

    assert error.message == "Too much."
