"""Anthropic's answers of unknown length come as a stream: whole ones are whole, and broken ones fail."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from runwright.core.errors import AgentError, ErrorReason
from runwright.core.outcomes import FinishReason
from runwright.ports.provider import ModelReply, ProviderCall

from tests.adapters.models.asking import BODY_SECRET, ask, failing
from tests.adapters.models.fake_vendor import Answer, Fields
from tests.adapters.models.wires import ANTHROPIC, events

MODEL = "claude-sonnet-5"  # one whose longest answer is known, and long
START: Fields = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "output_tokens": 1},
    },
}
STOP: Fields = {"type": "message_stop"}


def ended(said: str | None) -> Fields:
    """Why it ended."""
    delta = {"stop_reason": said, "stop_sequence": None}
    return {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 11}}


def block(index: int, start: Fields, *deltas: Fields) -> list[Fields]:
    """One block of content."""
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


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
    assert vendor.asked[0].body["stream"] is True
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
    overloaded = {"type": "error", "error": {"type": "overloaded_error", "message": BODY_SECRET}}

    error = await broken([*text(0, "A la"), overloaded])

    assert (error.reason, error.metadata["class"]) == (ErrorReason.PROVIDER_FAILED, "server_error")


async def test_an_unknown_reason_in_a_stream_fails() -> None:
    assert (await broken([*text(0, "so"), ended("gone"), STOP])).reason is ErrorReason.MODEL_OUTPUT_INVALID
