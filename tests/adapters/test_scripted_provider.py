"""The scripted provider: answers by the script, from the conversation alone, and fails as a provider fails."""

from __future__ import annotations

from typing import Any

import pytest
from runwright.adapters.providers import scripted
from runwright.adapters.providers.scripted import ScriptedProvider
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.outcomes import FinishReason
from runwright.ports.provider import AssistantMessage, Message, ModelReply, ModelRequest, ToolResultMessage, UserMessage

USER = UserMessage(("hello",))
ANSWERED = AssistantMessage("before", ())


async def reply(
    *script: Any, messages: tuple[Message, ...] = (USER,), attempt: int = 1, **parameters: Any
) -> ModelReply:
    """The provider's answer in a conversation."""
    requested = request(parameters or {"script": list(script)}, messages, attempt)
    return await ScriptedProvider().complete(requested, [].append)


def request(parameters: dict[str, Any], messages: tuple[Message, ...] = (USER,), attempt: int = 1) -> ModelRequest:
    """A request with these parameters."""
    return ModelRequest(
        run_id="run-1",
        round=1,
        attempt=attempt,
        model="none",
        parameters=parameters,
        instructions="",
        messages=messages,
        tools=(),
    )


async def test_the_number_of_answers_in_the_conversation_chooses_the_line() -> None:
    script = {"text": "one"}, {"text": "two"}, {"text": "three"}

    said = [(await reply(*script, messages=(USER, *[ANSWERED] * count))).text for count in range(3)]

    assert said == ["one", "two", "three"]


async def test_a_line_with_calls_asks_for_tools() -> None:
    calls = [
        {"tool": "look"},
        {"tool": "read", "arguments": {"n": 1}, "id": "mine"},
        {"tool": "x", "arguments_json": "{"},
    ]

    made = await reply({"calls": calls, "input_tokens": 3, "output_tokens": 4})

    assert made.finish is FinishReason.TOOL_CALLS
    assert [(call.provider_call_id, call.tool, call.arguments_json) for call in made.calls] == [
        ("call-1-1", "look", "{}"),
        ("mine", "read", '{"n": 1}'),
        ("call-1-3", "x", "{"),
    ]
    assert (made.text, made.input_tokens, made.output_tokens) == (None, 3, 4)


async def test_results_are_filled_in() -> None:
    results = [ToolResultMessage(f"c1.{n}", "", "look", text, False) for n, text in enumerate(("a", "b"), 1)]

    made = await reply({"calls": []}, {"text": "{results}!"}, messages=(USER, ANSWERED, *results))

    assert made.text == "a | b!"


@pytest.mark.parametrize("finish", list(FinishReason))
async def test_a_line_may_say_how_it_finished(finish: FinishReason) -> None:
    assert (await reply({"text": "so", "finish": finish.name.lower()})).finish is finish


@pytest.mark.parametrize(
    "parameters",
    [
        {"script": []},
        {"script": "hello"},
        {"script": [{"txt": "a typing error"}]},
        {"script": [{"text": "so", "finish": "gone"}]},
        {"another": 1},
    ],
    ids=["past the end", "no list", "an unknown key", "an unknown finish", "no script"],
)
async def test_what_is_no_answer_is_refused_for_good(parameters: dict[str, Any]) -> None:
    with pytest.raises(AgentError) as caught:
        await reply(**parameters)

    assert caught.value.reason is ErrorReason.PROVIDER_REFUSED
    assert caught.value.metadata == {"adapter": "scripted"}


async def test_a_failure_repeats_unless_it_is_one_of_the_first_attempts() -> None:
    for line, attempt in [({"fail": True}, 99), ({"text": "so", "fail_attempts": 2}, 2)]:
        with pytest.raises(AgentError) as caught:
            await reply(line, attempt=attempt)
        assert caught.value.reason is ErrorReason.PROVIDER_FAILED

    assert (await reply({"text": "so", "fail_attempts": 2}, attempt=3)).text == "so"


async def emitted(line: Any, provider: ScriptedProvider | None = None) -> tuple[list[str], ModelReply | None]:
    """What is emitted of a line, and its reply; None if it fails."""
    pieces: list[str] = []
    request = ModelRequest(
        run_id="run-1",
        round=1,
        attempt=1,
        model="none",
        parameters={"script": [line]},
        instructions="",
        messages=(USER,),
        tools=(),
    )
    try:
        return pieces, await (provider or ScriptedProvider()).complete(request, pieces.append)
    except AgentError:
        return pieces, None


async def test_chunks_are_the_text_in_pieces() -> None:
    pieces, answer = await emitted({"chunks": ["A ", "lamp."], "calls": [{"tool": "look"}]})

    assert pieces == ["A ", "lamp."]
    assert answer is not None
    assert (answer.text, answer.finish) == ("A lamp.", FinishReason.TOOL_CALLS)
    assert (await emitted({"text": "A lamp."}))[0] == ["A lamp."]
    assert await emitted({"chunks": ["A la"], "fail": True}) == (["A la"], None)


async def test_a_gate_says_when_each_piece_comes() -> None:
    passed: list[int] = []

    async def gate(request: ModelRequest, number: int) -> None:
        passed.append(number)

    await emitted({"chunks": ["A ", "lamp."]}, ScriptedProvider(gate))

    assert passed == [0, 1, 2]


async def test_a_script_is_checked_once_and_not_in_every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[object] = []
    read = scripted._read
    monkeypatch.setattr(scripted, "_read", lambda parameters: checked.append(parameters) or read(parameters))
    provider, one, other = ScriptedProvider(), {"script": [{"text": "a"}]}, {"script": [{"text": "b"}]}

    message = [(await provider.complete(request(parameters), str)).text for parameters in (one, other, one, other, one)]

    assert message == ["a", "b", "a", "b", "a"]
    assert checked == [one, other]
