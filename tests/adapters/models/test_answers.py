"""What a vendor answers is what the runtime gets: text, calls, tokens and why it ended, on both wire formats."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from runwright.core.outcomes import FinishReason
from runwright.ports.provider import ProviderCall

from tests.adapters.models.asking import ask
from tests.adapters.models.fake_vendor import Answer, Fields
from tests.adapters.models.wires import ANTHROPIC, OPENAI, Wire, chunk, chunks, events, finished, usage, whole

both = pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
streams = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "in one piece"])


def fields_of(answer: Answer) -> Fields:
    """The body of an answer in one piece."""
    assert isinstance(answer.body, dict)
    return answer.body


@both
async def test_text_and_tokens(wire: Wire) -> None:
    reply, _ = await ask(wire, wire.answer("A lamp — ĝis."))

    assert (reply.text, reply.calls, reply.finish) == ("A lamp — ĝis.", (), FinishReason.STOP)
    assert (reply.input_tokens, reply.output_tokens) == (7, 11)


@both
async def test_one_call_keeps_the_vendors_id(wire: Wire) -> None:
    reply, _ = await ask(wire, wire.answer(None, [("call-a", "look", {"where": "here"})]))

    assert (reply.text, reply.finish) == (None, FinishReason.TOOL_CALLS)
    assert [(call.provider_call_id, call.tool, json.loads(call.arguments_json)) for call in reply.calls] == [
        ("call-a", "look", {"where": "here"})
    ]


@both
async def test_parallel_calls_keep_their_order_beside_text(wire: Wire) -> None:
    reply, _ = await ask(wire, wire.answer("Looking.", [("a", "look", {"n": 1}), ("b", "peek", {}), ("c", "look", {})]))

    assert reply.text == "Looking."
    assert [(call.provider_call_id, call.tool) for call in reply.calls] == [("a", "look"), ("b", "peek"), ("c", "look")]


@both
async def test_an_answer_in_one_piece_is_the_same(wire: Wire) -> None:
    answer = wire.answer("Looking.", [("a", "look", {"n": 1}), ("b", "peek", {})])

    streamed, requested = await ask(wire, answer)
    whole, asked_whole = await ask(wire, answer, parameters={"stream": False})

    assert requested.requested[0].body["stream"] is True
    assert not asked_whole.requested[0].body.get("stream")
    assert (streamed.text, streamed.finish, streamed.input_tokens, streamed.output_tokens) == (
        whole.text,
        whole.finish,
        whole.input_tokens,
        whole.output_tokens,
    )
    made = [
        [(call.provider_call_id, call.tool, json.loads(call.arguments_json)) for call in reply.calls]
        for reply in (streamed, whole)
    ]
    assert made[0] == made[1]


@streams
async def test_text_blocks_are_joined(stream: bool) -> None:
    blocks = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    body = {**fields_of(ANTHROPIC.answer("")), "content": blocks}
    answer = Answer(body, stream=events(*whole(blocks, "end_turn")))

    reply, _ = await ask(ANTHROPIC, answer, parameters={"stream": stream})

    assert reply.text == "one two"


@pytest.mark.parametrize("made", ["{", '{"n": 1, }', "[1]", '"text"', '{"n": 1e999}', " {}"])
async def test_arguments_come_through_as_they_are(made: str) -> None:
    reply, _ = await ask(OPENAI, OPENAI.answer(None, [("a", "look", made)]))

    assert reply.calls == (ProviderCall("a", "look", made),)


@pytest.mark.parametrize("made", [[1, 2], 3, {"a": {"b": [None, True, 1.5, "ĝ"]}}])
async def test_an_input_that_is_no_object_comes_through_too(made: object) -> None:
    reply, _ = await ask(ANTHROPIC, ANTHROPIC.answer(None, [("a", "look", made)]))

    assert json.loads(reply.calls[0].arguments_json) == made


@both
@pytest.mark.parametrize("finish", list(FinishReason), ids=lambda finish: finish.name.lower())
async def test_every_finish_reason_is_told(wire: Wire, finish: FinishReason) -> None:
    calls = [("a", "look", {})] if finish is FinishReason.TOOL_CALLS else []

    reply, _ = await ask(wire, wire.answer("so", calls, finish=wire.words[finish.name]))

    assert (reply.finish, reply.text) == (finish, "so")


@pytest.mark.parametrize(
    ("said", "finish"),
    [("stop_sequence", FinishReason.STOP), ("model_context_window_exceeded", FinishReason.LENGTH)],
)
async def test_what_anthropic_says_beside_them(said: str, finish: FinishReason) -> None:
    assert (await ask(ANTHROPIC, ANTHROPIC.answer("so", finish=said)))[0].finish is finish


@streams
async def test_a_refusal_is_a_filtered_answer(stream: bool) -> None:
    body = fields_of(OPENAI.answer(None))
    body["choices"][0]["message"]["refusal"] = "I will not."
    pieces = chunk({"role": "assistant", "content": None}), chunk({"refusal": "I will "}), chunk({"refusal": "not."})
    answer = Answer(body, stream=chunks(*pieces, finished("stop"), usage()))

    reply, _ = await ask(OPENAI, answer, parameters={"stream": stream})

    assert (reply.finish, reply.text) == (FinishReason.CONTENT_FILTER, None)


async def test_ollama_speaks_the_wire_format_of_openai() -> None:
    reply, vendor = await ask(replace(OPENAI, kind="ollama"), OPENAI.answer("hello", [("a", "look", {})]))

    assert (reply.text, reply.calls[0].tool, reply.finish) == ("hello", "look", FinishReason.TOOL_CALLS)
    assert vendor.requested[0].path == OPENAI.path
