"""Servers that speak a vendor's format differ: what each of them means is understood, whole and streamed alike."""

from __future__ import annotations

import json
from typing import Any

import pytest
from runwright.core.errors import ErrorReason
from runwright.core.outcomes import FinishReason
from runwright.ports.provider import ModelReply

from tests.adapters.models.asking import ask, failing, listen, provider_at, request
from tests.adapters.models.fake_vendor import Answer, Fields, fake_vendor
from tests.adapters.models.wires import (
    ANTHROPIC,
    OPENAI,
    Wire,
    chunk,
    chunks,
    events,
    finished,
    text_chunks,
    usage,
    whole,
)

both = pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
WHOLE: Fields = {"stream": False}


async def alike(wire: Wire, answer: Answer) -> ModelReply:
    """The reply, which is the same whether the answer is streamed or comes in one piece."""
    streamed, _ = await ask(wire, answer)
    in_one, _ = await ask(wire, answer, parameters=WHOLE)
    assert streamed == in_one
    return streamed


@both
@pytest.mark.parametrize("said", ["error", "ABORT", "internal_error", "server-error", "Finish.ERROR", "cancelled"])
async def test_any_word_for_a_failure_is_one(wire: Wire, said: str) -> None:
    for stream in (True, False):
        error = await failing(wire, wire.answer("so", finish=said), parameters={"stream": stream})
        assert error.reason is ErrorReason.MODEL_OUTPUT_INVALID


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"error": "model overloaded"}, "PROVIDER_FAILED"),
        ({"error": {"message": "Rate limit exceeded"}}, "PROVIDER_RATE_LIMITED"),
        ({"detail": "Too many_requests: quota"}, "PROVIDER_RATE_LIMITED"),
        ({"object": "error", "message": "The model does not exist", "code": 404}, "PROVIDER_REFUSED"),
        ([{"error": {"code": 429, "message": "later", "status": "RESOURCE_EXHAUSTED"}}], "PROVIDER_RATE_LIMITED"),
        ({"choices": [], "error": {"message": "bad", "type": "invalid_request_error"}}, "PROVIDER_REFUSED"),
        ({"error": {"message": "invalid state, come again"}}, "PROVIDER_FAILED"),
    ],
)
async def test_an_error_that_came_as_an_answer_is_classified_by_what_it_says(body: Any, reason: str) -> None:
    for stream in (True, False):
        answer = Answer(json.dumps(body).encode(), stream=b"data: " + json.dumps(body).encode() + b"\n\n")
        whole_error = await failing(OPENAI, Answer(answer.body), parameters={"stream": stream})
        assert whole_error.reason.name == reason
    if isinstance(body, dict) and "detail" not in body:
        assert (await failing(OPENAI, answer)).reason.name == reason, "and within a stream"


async def complete(wire: Wire, answer: Answer, *, stream: bool) -> ModelReply:
    """The reply alone, whatever text was told before."""
    async with fake_vendor(answer) as vendor, provider_at(vendor, wire.kind) as provider:
        return await provider.complete(request(parameters={"stream": stream}), lambda text: None)


def openai(message: Fields, finish: Any = "stop", used: Any = None, **more: Any) -> Answer:
    """An answer of an OpenAI-style server, with the same delta streamed in one chunk."""
    counted = {"prompt_tokens": 7, "completion_tokens": 11} if used is None else used
    choice = {"index": 0, "message": message, "finish_reason": finish, **more}
    piece = {**chunk(message), "usage": counted}
    piece["choices"][0].update({"finish_reason": finish, **more})
    return Answer({"id": "x", "choices": [choice], "usage": counted}, stream=chunks(piece))


def anthropic(*blocks: Fields, stop: Any = "end_turn", used: Any = None) -> Answer:
    """An answer of an Anthropic-style server, with its blocks streamed whole."""
    counted = {"input_tokens": 7, "output_tokens": 11} if used is None else used
    body = {"type": "message", "role": "assistant", "content": list(blocks), "stop_reason": stop, "usage": counted}
    sent: list[Fields] = [{"type": "message_start", "message": {**body, "content": [], "stop_reason": None}}]
    sent += [{"type": "content_block_start", "index": at, "content_block": block} for at, block in enumerate(blocks)]
    sent.append({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": counted})
    return Answer(body, stream=events(*sent, {"type": "message_stop"}))


@both
@pytest.mark.parametrize(
    "said", ["end", "eos", "STOP", "end_turn", "stop", "tool_call", "function_call", "gone_fishing"]
)
async def test_any_word_for_an_end_is_one(wire: Wire, said: str) -> None:
    alone = await alike(wire, wire.answer("so", finish=said))
    calling = await alike(wire, wire.answer(None, [("a", "look", {})], finish=said))

    assert (alone.finish, alone.text) == (FinishReason.STOP, "so")
    assert (calling.finish, calling.calls[0].tool) == (FinishReason.TOOL_CALLS, "look")


@both
@pytest.mark.parametrize(
    "said",
    [
        "length", "max_tokens", "MAX_TOKENS", "max_length", "model_length", "MAX-TOKENS", "max tokens reached",
        "FinishReason.MAX_TOKENS", "FINISH_REASON_MAX_TOKENS", "max_output_tokens", "length_limit_exceeded",
    ],
)  # fmt: skip
async def test_any_word_for_length_means_length(wire: Wire, said: str) -> None:
    assert (await alike(wire, wire.answer("so", finish=said))).finish is FinishReason.LENGTH


@both
@pytest.mark.parametrize("said", ["content_filter", "SAFETY", "refusal", "prohibited_content"])
async def test_any_word_for_withholding_means_that(wire: Wire, said: str) -> None:
    assert (await alike(wire, wire.answer("so", finish=said))).finish is FinishReason.CONTENT_FILTER


NUMBERS = [
    (7.4, 11.5, (7, 12)),
    ("7", "11", (7, 11)),
    (None, True, (0, 0)),
    (-7, [11], (0, 0)),
    (1e300, {"n": 1}, (2**40, 0)),
    ("many", "1e3", (0, 1000)),
]


@both
@pytest.mark.parametrize(("requested", "answered", "counted"), NUMBERS)
async def test_tokens_are_counted_whatever_form_their_number_has(
    wire: Wire, requested: Any, answered: Any, counted: tuple[int, int]
) -> None:
    if wire.kind == "openai":
        answer = openai({"content": "so"}, used={"prompt_tokens": requested, "completion_tokens": answered})
    else:
        answer = anthropic({"type": "text", "text": "so"}, used={"input_tokens": requested, "output_tokens": answered})

    reply = await alike(wire, answer)

    assert (reply.text, (reply.input_tokens, reply.output_tokens)) == ("so", counted)


MESSAGES: dict[str, tuple[Fields, str | None, list[tuple[str, str, str]]]] = {
    "a list of parts": (
        {"content": [{"type": "text", "text": "so "}, {"type": "text", "text": "it is"}]},
        "so it is",
        [],
    ),
    "a list of texts": ({"content": ["so ", "it is"]}, "so it is", []),
    "a number": ({"content": 42}, "42", []),
    "a legacy call": ({"function_call": {"name": "look", "arguments": "{}"}}, None, [("call_1", "look", "{}")]),
    "a call without a list": (
        {"tool_calls": {"id": "a", "function": {"name": "look", "arguments": "{}"}}},
        None,
        [("a", "look", "{}")],
    ),
    "arguments as an object": (
        {"tool_calls": [{"id": "a", "index": 0, "function": {"name": "look", "arguments": {"n": 1}}}]},
        None,
        [("a", "look", '{"n": 1}')],
    ),
    "no arguments": (
        {"tool_calls": [{"id": "a", "index": 0, "function": {"name": "look"}}]},
        None,
        [("a", "look", "")],
    ),
    "an id that is a number": (
        {"tool_calls": [{"id": 7, "index": 0, "function": {"name": "look", "arguments": "{}"}}]},
        None,
        [("7", "look", "{}")],
    ),
    "one index for two calls": (
        {
            "tool_calls": [
                {"id": "a", "index": 0, "function": {"name": "look", "arguments": "{}"}},
                {"id": "b", "index": 0, "function": {"name": "look", "arguments": '{"n": 2}'}},
            ]
        },
        None,
        [("a", "look", "{}"), ("b", "look", '{"n": 2}')],
    ),
    "one id for two calls": (
        {
            "tool_calls": [
                {"id": "a", "index": 0, "function": {"name": "look", "arguments": "{}"}},
                {"id": "a", "index": 1, "function": {"name": "peek", "arguments": "{}"}},
            ]
        },
        None,
        [("a", "look", "{}"), ("a", "peek", "{}")],
    ),
    "a name of nothing": (
        {"tool_calls": [{"id": "a", "index": 0, "function": {"name": None, "arguments": "{}"}}]},
        None,
        [("a", "", "{}")],
    ),
    "thoughts in a field": ({"reasoning_content": "hm", "content": "so"}, "so", []),
    "thoughts in a field of another name": ({"reasoning": "hm", "content": "so"}, "so", []),
    "thoughts in the text": ({"content": "<think>hm, </thin or </think>\n\nso"}, "so", []),
    "a tag that is written about": ({"content": "The tag <think> opens, </think> closes."}, None, []),
}  # fmt: skip


@pytest.mark.parametrize(("message", "text", "calls"), MESSAGES.values(), ids=MESSAGES.keys())
async def test_messages_of_openai_style_servers(
    message: Fields, text: str | None, calls: list[tuple[str, str, str]]
) -> None:
    reply = await alike(OPENAI, openai(message))

    wanted = message["content"] if text is None and not calls else text
    assert reply.text == wanted
    assert [(call.provider_call_id, call.tool, call.arguments_json) for call in reply.calls] == calls


def _use(**fields: Any) -> Fields:
    return {"type": "tool_use", "id": "a", "name": "look", "input": {"n": 1}, **fields}


BLOCKS: dict[str, tuple[Fields, str | None, list[tuple[str, str, str]]]] = {
    "a text that is a number": ({"type": "text", "text": 42}, "42", []),
    "an input that is text": (_use(input="{}"), None, [("a", "look", "{}")]),
    "no input": (_use(input=None), None, [("a", "look", "{}")]),
    "no id": (_use(id=None), None, [("call_1", "look", '{"n": 1}')]),
    "an id that is a number": (_use(id=7), None, [("7", "look", '{"n": 1}')]),
    "no name": (_use(name=None), None, [("a", "", '{"n": 1}')]),
    "thoughts in the text": ({"type": "text", "text": "<think>hm</think>so"}, "so", []),
}


@pytest.mark.parametrize(("block", "text", "calls"), BLOCKS.values(), ids=BLOCKS.keys())
async def test_blocks_of_anthropic_style_servers(
    block: Fields, text: str | None, calls: list[tuple[str, str, str]]
) -> None:
    reply = await alike(ANTHROPIC, anthropic(block))

    assert reply.text == text
    assert [(call.provider_call_id, call.tool, call.arguments_json or "") for call in reply.calls] == calls


@both
async def test_what_follows_a_closing_tag_without_an_opening_one_is_the_answer(wire: Wire) -> None:
    """Some servers put the opening tag into the prompt: what was told before is known for thoughts too late."""
    replies = [await complete(wire, wire.answer("hm</think>\nso"), stream=stream) for stream in (True, False)]

    assert [reply.text for reply in replies] == ["so", "so"]


THOUGHT = "<think>Is it <here>? </thin… no.</think>\n\nIt is here."


@pytest.mark.parametrize("size", range(1, len(THOUGHT) + 1))
async def test_what_follows_the_thoughts_is_the_answer_in_any_pieces(size: int) -> None:
    pieces = [THOUGHT[at : at + size] for at in range(0, len(THOUGHT), size)]
    answer = Answer(stream=chunks(*text_chunks(*pieces), finished("stop"), usage()))

    reply, message, _ = await listen(OPENAI, answer)

    assert reply.text == "It is here."
    assert "".join(message) == "It is here."


@both
@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (["\ud83d", "\ude00!"], "\U0001f600!"),
        (["a\ud83d\ude00"], "a\U0001f600"),
        (["\ud83d", "b"], "\ufffdb"),
        (["\ude00"], "\ufffd"),
        (["x", "\ud83d"], "x\ufffd"),
    ],
)
async def test_halves_of_a_character_are_joined(wire: Wire, pieces: list[str], text: str) -> None:
    if wire.kind == "openai":
        stream = chunks(*text_chunks(*pieces), finished("stop"), usage())
    else:
        deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
        blocks = whole([{"type": "text", "text": ""}], "end_turn")
        at = next(number for number, event in enumerate(blocks) if event["type"] == "content_block_stop")
        blocks[at:at] = [{"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas]
        stream = events(*blocks)

    reply, message, _ = await listen(wire, Answer(stream=stream))

    assert reply.text == text
    assert "".join(message) == text


@both
async def test_events_without_data_are_none(wire: Wire) -> None:
    sent = wire.answer("so").stream
    assert sent is not None
    noise = b": hello\n\nid: 7\n: a comment after it\n\nevent: ping\n\nretry: 10\n\n"
    odd = noise + sent.replace(b"\n\n", b"\n\nid: 8\n: again\n\n").replace(b"data: ", b"data:")

    assert (await ask(wire, Answer(stream=odd)))[0].text == "so"


@both
async def test_lines_may_end_as_they_like(wire: Wire) -> None:
    sent = wire.answer("so").stream
    assert sent is not None

    for end in (b"\r\n", b"\r"):
        assert (await ask(wire, Answer(stream=sent.replace(b"\n", end))))[0].text == "so"


@both
async def test_an_answer_in_one_piece_to_who_asked_for_a_stream(wire: Wire) -> None:
    answer = wire.answer("so", [("a", "look", {"n": 1})])

    reply, _ = await ask(wire, Answer(answer.body))

    assert (reply.text, reply.calls[0].tool, reply.input_tokens) == ("so", "look", 7)


ERRORS = [
    ({"error": {"message": "slow down", "type": "rate_limit_error"}}, ErrorReason.PROVIDER_RATE_LIMITED),
    ({"error": {"message": "no", "code": 429}}, ErrorReason.PROVIDER_RATE_LIMITED),
    ({"error": {"message": "no", "code": "invalid_api_key"}}, ErrorReason.PROVIDER_KEY_REFUSED),
    ({"error": {"message": "no", "type": "invalid_request_error"}}, ErrorReason.PROVIDER_REFUSED),
    ({"error": {"message": "no", "code": 503}}, ErrorReason.PROVIDER_FAILED),
    ({"error": "model crashed"}, ErrorReason.PROVIDER_FAILED),
    ({"type": "error", "error": {"type": "overloaded_error", "message": "no"}}, ErrorReason.PROVIDER_FAILED),
]


@both
@pytest.mark.parametrize(("body", "reason"), ERRORS)
async def test_an_error_that_comes_as_an_answer_is_an_error(wire: Wire, body: Fields, reason: ErrorReason) -> None:
    streamed = Answer(body, stream=f"data: {json.dumps(body)}\n\n".encode())

    assert (await failing(wire, streamed)).reason is reason
    assert (await failing(wire, streamed, parameters=WHOLE)).reason is reason


@both
async def test_a_number_larger_than_any_other_is_bounded_and_the_answer_kept(wire: Wire) -> None:
    body = wire.answer("so").body
    assert isinstance(body, dict)
    body["usage"] = dict.fromkeys(("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens"), 10**400)

    reply, _ = await ask(wire, Answer(body), parameters=WHOLE)

    assert (reply.text, reply.input_tokens, reply.output_tokens) == ("so", 2**40, 2**40)


async def test_parts_within_parts_without_end_say_nothing() -> None:
    content: Any = "so"
    for _ in range(400):
        content = [content]

    reply, _ = await ask(OPENAI, openai({"content": content, "refusal": content}), parameters=WHOLE)

    assert reply.text is None


async def test_texts_are_told_in_their_order_also_when_one_is_blank() -> None:
    message = [{"type": "text", "text": "\n"}, {"type": "text", "text": "<th"}, {"type": "text", "text": "so"}]

    assert (await alike(ANTHROPIC, anthropic(*message))).text == "\n<thso"
