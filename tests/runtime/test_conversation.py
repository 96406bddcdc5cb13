"""What the model sees: typed parts, every result with its call and its real content."""

from __future__ import annotations

import json

from runwright.core.outcomes import FinishReason, RunStatus
from runwright.core.schema_digests import schema_digest
from runwright.ports.provider import (
    AssistantMessage,
    Message,
    ModelReply,
    ProviderCall,
    ToolCallPart,
    ToolResultMessage,
    UserMessage,
)
from runwright.ports.tools import ToolOutcome, ToolOutcomeKind
from runwright.testing import FunctionTools

from tests import builders as b
from tests.runtime.parts import HeldTool, PlayedProvider, RecordingProvider
from tests.runtime.watching import stood_still

STRICT = {"type": "object", "properties": {"path": {"type": "string"}}, "additionalProperties": False}


async def messages_of_model(
    bench: b.Bench, *script: b.Fields, tools: tuple[b.Fields, ...], **fields: object
) -> tuple[Message, ...]:
    """The conversation as the model saw it last."""
    recorder = RecordingProvider()
    bench.providers = {"scripted": recorder}
    ended = await bench.runtime(b.package(*script, tools=tools, **fields)).run_text(b.request())
    assert ended.status is RunStatus.COMPLETED
    return recorder.requests[-1].messages


async def told_of_call(bench: b.Bench, call: str | b.Fields, tool: b.Fields, **fields: object) -> tuple[str, bool]:
    """What the model was told came of one call: the text, and whether as an error."""
    result = (await messages_of_model(bench, b.asks(call), b.says("done"), tools=(tool,), **fields))[-1]
    assert isinstance(result, ToolResultMessage)
    return result.content, result.is_error


async def test_instructions_parts_model_and_tools_reach_the_model(bench: b.Bench) -> None:
    recorder = RecordingProvider()
    bench.providers = {"scripted": recorder}
    tool = b.tool(description="Looks.", parameters=STRICT)

    await bench.runtime(b.package(b.says("hi"), tools=(tool,))).run_text(b.request("run-1", "one", "two"))

    [request] = recorder.requests
    assert (request.instructions, request.model, request.run_id) == ("Help.", "model-1", "run-1")
    assert (request.round, request.attempt) == (1, 1)
    assert request.messages == (UserMessage(("one", "two")),)
    [spec] = request.tools
    assert (spec.name, spec.description, dict(spec.parameters_schema)) == ("look", "Looks.", STRICT)


async def test_results_follow_their_calls_in_the_models_order(bench: b.Bench) -> None:
    slow, quick = HeldTool("slow"), HeldTool("quick")
    quick.let_go.set()

    async def quickly(arguments: object) -> object:
        answer = await quick(arguments)
        slow.let_go.set()
        return answer

    bench.tools = FunctionTools({"slow": slow, "quick": quickly})
    calls = {"tool": "slow", "arguments": {"n": 1}, "id": "p-1"}, {"tool": "quick", "arguments": {"n": 2}, "id": "p-2"}

    messages = await messages_of_model(
        bench, b.asks(*calls, text="Let me see."), b.says("done"), tools=(b.tool("slow"), b.tool("quick"))
    )

    assert messages == (
        UserMessage(("What is there?",)),
        AssistantMessage(
            "Let me see.",
            (ToolCallPart("c1.1", "p-1", "slow", '{"n":1}'), ToolCallPart("c1.2", "p-2", "quick", '{"n":2}')),
        ),
        ToolResultMessage("c1.1", "p-1", "slow", '"slow"', False),
        ToolResultMessage("c1.2", "p-2", "quick", '"quick"', False),
    )


async def test_the_conversation_is_the_same_after_a_restart(bench: b.Bench) -> None:
    script = b.asks("look", text="First."), b.asks("hold", "look"), b.says("done")
    bench.packages = (b.package(*script, tools=(b.tool(), b.tool("hold"))),)
    tool = HeldTool({"deep": ["ä", 1]})
    bench.tools = FunctionTools({"look": b.look, "hold": tool})
    undisturbed, disturbed = RecordingProvider(), RecordingProvider()
    bench.providers = {"scripted": disturbed}
    first = bench.runtime()
    await first.start_run(b.request())
    await tool.begun.wait()
    await first.drain(0)
    tool.let_go.set()

    second = bench.runtime()
    await second.recover()
    await stood_still(second)
    other = b.Bench(tools=bench.tools, packages=bench.packages, providers={"scripted": undisturbed})
    await other.runtime().run_text(b.request())

    assert disturbed.requests[-1] == undisturbed.requests[-1]
    assert len(disturbed.requests) == len(undisturbed.requests)


async def test_the_same_provider_id_in_two_rounds_stands_for_two_calls(bench: b.Bench) -> None:
    again = {"tool": "look", "id": "call-1"}

    messages = await messages_of_model(bench, b.asks(again), b.asks(again), b.says("done"), tools=(b.tool(),))

    results = [message for message in messages if isinstance(message, ToolResultMessage)]
    assert [(result.call_id, result.provider_call_id) for result in results] == [("c1.1", "call-1"), ("c2.1", "call-1")]
    assert [entry.idempotency_key for entry in bench.function_tools.ledger] == [
        bench.key("c1.1"),
        bench.key("c2.1"),
    ]


async def test_a_tools_own_failure_is_told_in_its_words(bench: b.Bench) -> None:
    async def fails(arguments: object) -> ToolOutcome:
        return ToolOutcome(ToolOutcomeKind.ERROR, "no such färbe".encode())

    bench.tools = FunctionTools({"look": fails})

    assert await told_of_call(bench, "look", b.tool()) == ("no such färbe", True)


async def test_a_denied_call_is_told_with_the_rule_and_never_made(bench: b.Bench) -> None:
    tool = HeldTool()
    bench.tools = FunctionTools({"write": tool})

    text, is_error = await told_of_call(bench, "write", b.writing_tool(), policy="builtin:read-only")

    assert (text, is_error) == ("Denied by policy builtin:read-only (effect.above_read).", True)
    assert not tool.begun.is_set()


async def test_an_unknown_tool_is_told_with_the_known_ones(bench: b.Bench) -> None:
    text, is_error = await told_of_call(bench, "teleport", b.tool())

    assert (text, is_error) == ("There is no tool called teleport. The tools are: look.", True)


async def test_bad_arguments_are_told_with_the_rule_and_without_the_value(bench: b.Bench) -> None:
    call = {"tool": "look", "arguments": {"path": 4711}}

    text, is_error = await told_of_call(bench, call, b.tool(parameters=STRICT))

    assert is_error
    assert "path" in text and "type" in text
    assert "4711" not in text
    assert bench.function_tools.ledger == []


async def test_a_tool_that_does_not_answer_in_time_is_told(bench: b.Bench) -> None:
    async def late(arguments: object) -> ToolOutcome:
        return ToolOutcome(ToolOutcomeKind.TIMED_OUT)

    bench.tools = FunctionTools({"look": late})

    assert await told_of_call(bench, "look", b.tool(max_attempts=1)) == ("The tool did not answer in time.", True)


async def test_a_result_too_large_is_told_as_made(bench: b.Bench) -> None:
    async def huge(arguments: object) -> str:
        return "x" * (1024 * 1024)

    bench.tools = FunctionTools({"look": huge})

    text, is_error = await told_of_call(bench, "look", b.tool())

    assert is_error
    assert "The call was made" in text and len(text) < 200


async def test_a_result_too_large_to_be_received_is_told_as_made_with_its_size(bench: b.Bench) -> None:
    async def larger(arguments: object) -> ToolOutcome:
        return ToolOutcome(ToolOutcomeKind.TOO_LARGE, size=5_000_017)

    bench.tools = FunctionTools({"look": larger})

    messages_of_model = await told_of_call(bench, "look", b.tool())

    assert messages_of_model == ("The call was made; its result of 5000017 bytes is above 1048576.", True)
    assert len(bench.function_tools.ledger) == 1


async def test_an_answer_that_cannot_be_read_is_told_once_the_attempts_are_used_up(bench: b.Bench) -> None:
    async def garbled(arguments: object) -> ToolOutcome:
        return ToolOutcome(ToolOutcomeKind.UNREADABLE)

    bench.tools = FunctionTools({"look": garbled})

    text, is_error = await told_of_call(bench, "look", b.tool(max_attempts=1))

    assert is_error
    assert text == "The executor answered, and its answer cannot be read; the call may have had its effect."


async def test_a_result_that_is_no_text_does_not_break_the_next_request(bench: b.Bench) -> None:
    async def binary(arguments: object) -> ToolOutcome:
        return ToolOutcome(ToolOutcomeKind.RESULT, b"\xff\xfe\x00ok", "application/octet-stream")

    bench.tools = FunctionTools({"look": binary})

    text, is_error = await told_of_call(bench, "look", b.tool())

    assert (text[-2:], is_error) == ("ok", False)


async def test_what_the_model_said_while_asking_for_tools_is_not_the_answer(bench: b.Bench) -> None:
    call = ProviderCall("p-1", "look", "{}")
    provider = PlayedProvider(
        ModelReply(text="Thinking aloud.", calls=(call,), finish=FinishReason.TOOL_CALLS),
        ModelReply(text="The answer."),
    )
    bench.providers = {"scripted": provider}

    ended = await bench.runtime().run_text(b.request())

    assert ended.text == "The answer."


async def test_the_model_is_shown_the_view_and_the_schema_checks_the_arguments(bench: b.Bench) -> None:
    recorder = RecordingProvider()
    bench.providers = {"scripted": recorder}
    schema = {"type": "object", "properties": {"step": {"type": "integer", "maximum": 1}}}
    view = {"type": "object", "properties": {"step": {"type": "integer"}}}
    tool = {key: value for key, value in b.tool().items() if key != "parameters"}
    package = b.package(
        b.asks({"tool": "look", "arguments": {"step": 2}}),
        b.asks({"tool": "look", "arguments": {"step": 1}}),
        b.says("{results}"),
        tools=({**tool, "schema_digest": schema_digest(schema), "model_view": view},),
        sidecars={schema_digest(schema): schema},
    )

    await bench.runtime(package).run_text(b.request("one"))

    assert [request.tools[0].parameters_schema for request in recorder.requests] == [view] * 3
    assert [json.loads(performed.arguments) for performed in bench.function_tools.ledger] == [{"step": 1}]
