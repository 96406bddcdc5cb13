"""What a vendor answers is what the runtime gets: text, calls, tokens and why it ended, on both wire formats."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from runwright.core.outcomes import FinishReason
from runwright.ports.provider import ProviderCall

from tests.adapters.models.asking import ask
from tests.adapters.models.wires import ANTHROPIC, OPENAI, Wire

both = pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])


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


async def test_text_blocks_are_joined() -> None:
    answer = ANTHROPIC.answer("one ")
    assert isinstance(answer.body, dict)
    answer.body["content"].append({"type": "text", "text": "two"})

    reply, _ = await ask(ANTHROPIC, answer)

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
    reply, _ = await ask(wire, wire.answer("so", finish=wire.words[finish.name]))

    assert (reply.finish, reply.text) == (finish, "so")


@pytest.mark.parametrize(
    ("said", "finish"),
    [("stop_sequence", FinishReason.STOP), ("model_context_window_exceeded", FinishReason.LENGTH)],
)
async def test_what_anthropic_says_beside_them(said: str, finish: FinishReason) -> None:
    assert (await ask(ANTHROPIC, ANTHROPIC.answer("so", finish=said)))[0].finish is finish


async def test_a_refusal_is_a_filtered_answer() -> None:
    answer = OPENAI.answer(None)
    assert isinstance(answer.body, dict)
    answer.body["choices"][0]["message"]["refusal"] = "I will not."

    reply, _ = await ask(OPENAI, answer)

    assert (reply.finish, reply.text) == (FinishReason.CONTENT_FILTER, None)


async def test_ollama_speaks_the_wire_format_of_openai() -> None:
    reply, vendor = await ask(replace(OPENAI, kind="ollama"), OPENAI.answer("hello", [("a", "look", {})]))

    assert (reply.text, reply.calls[0].tool, reply.finish) == ("hello", "look", FinishReason.TOOL_CALLS)
    assert vendor.asked[0].path == OPENAI.path
