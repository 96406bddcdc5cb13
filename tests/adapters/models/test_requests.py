"""What a vendor is told is what the run knows: instructions, turns, calls, results, tools and parameters."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from runwright.adapters.providers.model_route import ModelKind
from runwright.adapters.providers.model_vendor import warm_up
from runwright.ports.provider import (
    AssistantMessage,
    ToolCallPart,
    ToolResultMessage,
    ToolSpecification,
    UserMessage,
)

from tests.adapters.models.asking import KEY, ask, provider_at, request
from tests.adapters.models.fake_vendor import Fields, StartCaller, fake_vendor
from tests.adapters.models.wires import ANTHROPIC, OPENAI, Wire

both = pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
SCHEMA: Fields = {
    "type": "object",
    "title": "Where",
    "properties": {
        "where": {"type": "string", "pattern": "^[a-z]+$", "default": "here"},
        "deep": {"$ref": "#/$defs/d"},
    },
    "required": ["where"],
    "$defs": {"d": {"type": "array", "items": {"type": "integer", "minimum": 1}, "maxItems": 3}},
    "additionalProperties": False,
}
LOOK = ToolSpecification("look", "Looks around.", SCHEMA)
PEEK = ToolSpecification("peek", "", {"type": "object"})
FIRST = ToolCallPart("c1.1", "vendor-1", "look", '{"where":"here"}')
SECOND = ToolCallPart("c1.2", "vendor-2", "look", '{"where":"there"}')
TALK = (
    UserMessage(("What is there?", "Be brief.")),
    AssistantMessage("I look.", (FIRST, SECOND)),
    ToolResultMessage("c1.1", "vendor-1", "look", '{"lamp": "<on> & ĝ"}', False),
    ToolResultMessage("c1.2", "vendor-2", "look", "It is dark.", True),
    AssistantMessage("A lamp.", ()),
    UserMessage(("And now?",)),
)


async def message(wire: Wire, **fields: Any) -> StartCaller:
    """What the vendor was told."""
    return (await ask(wire, wire.answer("so"), **fields))[1].requested[0]


@both
async def test_path_key_model_and_instructions(wire: Wire) -> None:
    requested = await message(wire, instructions="Be kind.\nAlways.", model="a-model")

    assert (requested.path, wire.key(requested), requested.body["model"]) == (wire.path, KEY, "a-model")
    assert wire.system(requested) == "Be kind.\nAlways."


@both
async def test_no_instructions_are_none(wire: Wire) -> None:
    assert wire.system(await message(wire)) == ""


@both
async def test_tools_go_out_with_the_packages_schema(wire: Wire) -> None:
    requested = await message(wire, tools=(LOOK, PEEK))

    assert wire.tools(requested) == [
        {"name": "look", "description": "Looks around.", "parameters": SCHEMA},
        {"name": "peek", "description": "", "parameters": {"type": "object"}},
    ]


@both
async def test_no_tools_are_none(wire: Wire) -> None:
    assert "tools" not in (await message(wire)).body


@both
async def test_results_are_paired_with_the_vendors_ids(wire: Wire) -> None:
    requested = await message(wire, messages=TALK, tools=(LOOK,))

    assert wire.results(requested) == [
        {"id": "vendor-1", "text": '{"lamp": "<on> & ĝ"}', "failed": False},
        {"id": "vendor-2", "text": "It is dark.", "failed": True},
    ]


async def test_the_turns_for_openai() -> None:
    messages = (await message(OPENAI, messages=TALK, tools=(LOOK,))).body["messages"]

    assert [each["role"] for each in messages] == ["user", "assistant", "tool", "tool", "assistant", "user"]
    assert [part["text"] for part in messages[0]["content"]] == ["What is there?", "Be brief."]
    assert messages[1]["content"] == "I look."
    assert [(each["id"], json.loads(each["function"]["arguments"])) for each in messages[1]["tool_calls"]] == [
        ("vendor-1", {"where": "here"}),
        ("vendor-2", {"where": "there"}),
    ]
    assert [messages[4]["content"], messages[5]["content"]] == ["A lamp.", "And now?"]


async def test_the_turns_for_anthropic() -> None:
    messages = (await message(ANTHROPIC, messages=TALK, tools=(LOOK,))).body["messages"]

    assert [each["role"] for each in messages] == ["user", "assistant", "user", "assistant", "user"]
    assert [block["type"] for block in messages[1]["content"]] == ["text", "tool_use", "tool_use"]
    assert messages[1]["content"][2] == {
        "type": "tool_use",
        "id": "vendor-2",
        "name": "look",
        "input": {"where": "there"},
    }
    assert [block["type"] for block in messages[2]["content"]] == ["tool_result", "tool_result"]


@both
async def test_a_call_without_an_id_is_paired_by_ours(wire: Wire) -> None:
    call = ToolCallPart("c1", "", "look", "{}")
    talk = (TALK[0], AssistantMessage(None, (call,)), ToolResultMessage("c1", "", "look", "dark", False))

    requested = await message(wire, messages=talk, tools=(LOOK,))

    assert [each["id"] for each in wire.results(requested)] == wire.calls(requested)


@both
async def test_a_failure_without_words_is_still_a_failure(wire: Wire) -> None:
    talk = (*TALK[:2], ToolResultMessage("c1.1", "vendor-1", "look", "", True), TALK[3])

    assert [each["failed"] for each in wire.results(await message(wire, messages=talk, tools=(LOOK,)))] == [True, True]


async def test_parameters_for_openai() -> None:
    parameters = {
        "temperature": 0.5,
        "max_tokens": 100,
        "top_p": 1,
        "stop": ["END"],
        "seed": 7,
        "presence_penalty": -0.5,
        "frequency_penalty": 0.25,
        "parallel_tool_calls": False,
    }

    body = (await message(OPENAI, parameters=parameters, tools=(LOOK,))).body

    value = {**parameters, "max_completion_tokens": parameters.pop("max_tokens")}
    del value["max_tokens"]
    assert {name: body[name] for name in value} == value


@pytest.mark.parametrize("kind", ["openai", "anthropic", "ollama"])
def test_what_is_built_at_the_first_request_is_built_before_without_asking_anybody(
    kind: ModelKind, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert warm_up.__wrapped__(kind)

    assert not [line for line in caplog.messages if "HTTP Request" in line]


async def test_the_limit_of_tokens_has_its_older_name_for_ollama() -> None:
    async with fake_vendor(OPENAI.answer("so")) as vendor, provider_at(vendor, "ollama") as provider:
        await provider.complete(request(parameters={"max_tokens": 100}), lambda text: None)

    assert vendor.requested[0].body["max_tokens"] == 100
    assert "max_completion_tokens" not in vendor.requested[0].body


async def test_parameters_for_anthropic() -> None:
    parameters = {"temperature": 0.5, "max_tokens": 100, "top_p": 1, "stop": ["END"], "top_k": 3}

    body = (await message(ANTHROPIC, parameters={**parameters, "parallel_tool_calls": False}, tools=(LOOK,))).body

    assert {name: body[name] for name in ("temperature", "max_tokens", "top_p", "top_k")} == {
        name: value for name, value in parameters.items() if name != "stop"
    }
    assert body["stop_sequences"] == ["END"]
    assert body["tool_choice"]["disable_parallel_tool_use"] is True
