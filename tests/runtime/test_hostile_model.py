"""Nothing a model says is trusted: it fails its own run or is told, and nobody else notices."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from runwright.core import records as r
from runwright.core.errors import ErrorReason
from runwright.core.outcomes import FinishReason, RunStatus, StopReason
from runwright.ports.provider import AssistantMessage, ModelReply, ProviderCall, ToolResultMessage
from runwright.runtime import RunSnapshot

from tests import builders as b
from tests.runtime.parts import PlayedProvider
from tests.runtime.watching import records, records_of, stood_still

RECURSIVE = {"type": "object", "properties": {"a": {"$ref": "#"}}}
DONE = ModelReply(text="done")
HOSTILE = b.package(
    id="hostile",
    tools=(b.tool(parameters=RECURSIVE),),
    provider={"adapter": "hostile", "model": "m", "max_attempts": 1},
    budget={"tool_calls": 1000},
)


def call(identifier: str = "p-1", tool: str = "look", arguments: str = "{}") -> ProviderCall:
    return ProviderCall(identifier, tool, arguments)


def asking(*calls: ProviderCall, **fields: object) -> ModelReply:
    return ModelReply(calls=calls, finish=FinishReason.TOOL_CALLS, **fields)  # type: ignore[arg-type]


UNUSABLE = {
    "nothing at all": ModelReply(),
    "an empty text": ModelReply(text=""),
    "tool_calls without calls": ModelReply(text="hm", finish=FinishReason.TOOL_CALLS),
    "65 calls": asking(*(call(f"p-{number}") for number in range(65))),
    "an endless text": ModelReply(text="x" * (4 * 1024 * 1024 + 1)),
    "an endless text beside a call": asking(call(), text="ä" * (2 * 1024 * 1024 + 1)),
}


def bench_of(*replies: ModelReply | BaseException) -> tuple[b.Bench, PlayedProvider]:
    """A bench with a hostile model beside a well-behaved one."""
    bench = b.Bench(packages=(HOSTILE, b.one_call_package()))
    provider = PlayedProvider(*replies)
    bench.providers = {"hostile": provider, **bench.providers}
    return bench, provider


async def play(bench: b.Bench) -> RunSnapshot:
    """Runs the hostile package beside a well-behaved one, which must not notice. Returns how the first ended."""
    runtime = bench.runtime()
    await runtime.start_run(b.request("run-1", package_id="hostile"))
    await runtime.start_run(b.request("run-2", package_id="helper-package"))
    neighbour = await stood_still(runtime, "run-2")
    assert (neighbour.status, neighbour.text) == (RunStatus.COMPLETED, 'found "a lamp"')
    ended = await stood_still(runtime, "run-1")
    assert runtime.registered_run_count() == 0
    return ended


@pytest.mark.parametrize("name", UNUSABLE)
async def test_an_answer_that_breaks_the_protocol_fails_its_run_only(name: str) -> None:
    bench, _ = bench_of(UNUSABLE[name], DONE)

    ended = await play(bench)

    assert (ended.status, ended.state.stop) == (RunStatus.FAILED, StopReason.PROVIDER_FAILURE)
    assert ended.state.error is not None
    assert ended.state.error.reason is ErrorReason.MODEL_OUTPUT_INVALID
    assert set(dict(ended.state.error.metadata)) == {"adapter", "rule"}
    assert len(await records(bench.journal)) == 6


NAMES = {
    "": "(no name)",
    "look\n": "look?",
    "look\ud800": "look?",
    "r" * 65: "r" * 63 + "…",
    "x" * 100_000: "x" * 63 + "…",
    "Look": "Look",
    " look": " look",
}


@pytest.mark.parametrize(("name", "shown"), NAMES.items(), ids=range(len(NAMES)))
async def test_a_name_that_no_tool_has_is_told_to_the_model_whatever_its_form(name: str, shown: str) -> None:
    bench, provider = bench_of(asking(call(tool=name)), DONE)

    ended = await play(bench)

    assert ended.status is RunStatus.COMPLETED
    [result] = [message for message in provider.requests[-1].messages if isinstance(message, ToolResultMessage)]
    assert (result.tool, result.is_error) == (shown, True)
    assert f"There is no tool called {shown}." in result.content


@pytest.mark.parametrize("identifier", ["p-1", "p\x07-1", "p\n1", "p\ud800", "p" * 513, ""])
async def test_calls_are_made_and_told_apart_whatever_their_ids(identifier: str) -> None:
    bench, provider = bench_of(
        asking(call(identifier, arguments='{"n":1}'), call(identifier, arguments='{"n":2}')), DONE
    )

    ended = await play(bench)

    assert ended.status is RunStatus.COMPLETED
    results = [message for message in provider.requests[-1].messages if isinstance(message, ToolResultMessage)]
    [requested] = [message for message in provider.requests[-1].messages if isinstance(message, AssistantMessage)]
    assert [result.call_id for result in results] == [made.call_id for made in requested.calls] == ["c1.1", "c1.2"]
    assert len({made.provider_call_id or made.call_id for made in requested.calls}) == 2


@pytest.mark.parametrize("nothing", ["", " ", "\n", "null", " null\n"])
async def test_arguments_that_are_nothing_are_none(nothing: str) -> None:
    bench, provider = bench_of(asking(call(arguments=nothing)), DONE)

    await play(bench)

    [requested] = [message for message in provider.requests[-1].messages if isinstance(message, AssistantMessage)]
    assert [made.arguments_json for made in requested.calls] == ["{}"]


@pytest.mark.parametrize(
    ("tokens", "retained"),
    [(2**64, 2**40), (-1, 0), (1.5, 2), (float("nan"), 0), (float("inf"), 0), (None, 0), ("7", 0), (True, 0)],
)
async def test_tokens_are_counted_whatever_a_provider_says(tokens: Any, retained: int) -> None:
    bench, _ = bench_of(ModelReply(text="hi", input_tokens=tokens))

    ended = await play(bench)

    assert (ended.status, ended.state.usage.input_tokens) == (RunStatus.COMPLETED, retained)


@pytest.mark.parametrize(("said", "retained"), [("hi \ud800", "hi \ufffd"), ("\ud83d\ude00", "\U0001f600")])
async def test_halves_of_characters_are_joined_or_replaced(said: str, retained: str) -> None:
    bench, _ = bench_of(ModelReply(text=said))

    assert (await play(bench)).text == retained


def deep(levels: int) -> str:
    return '{"a":' * levels + "{}" + "}" * levels


BAD_ARGUMENTS = {
    "a list": "[1]",
    "a text": '"text"',
    "a number": "1",
    "half an object": '{"a":',
    "no JSON at all": "look at me",
    "a byte order mark": "\ufeff{}",
    "a zero byte": "\0",
    "NaN": '{"n":NaN}',
    "infinity": '{"n":1e999}',
    "an integer beyond 2^53": '{"n":9007199254740993}',
    "an integer without an end": '{"n":' + "9" * 5000 + "}",
    "half a character": '{"a":"\ud800"}',
    "half a character, escaped": '{"a":"\\ud800"}',
    "half a character in a key": '{"\\ud800":1}',
    "more than 256 KiB": '{"a":"' + "x" * (256 * 1024) + '"}',
    "nested without an end": deep(100_000),
    "nested lists without an end": "[" * 100_000,
}


@pytest.mark.parametrize("name", BAD_ARGUMENTS)
async def test_arguments_that_cannot_be_used_are_told_to_the_model(name: str) -> None:
    bench, provider = bench_of(asking(call(arguments=BAD_ARGUMENTS[name])), DONE)

    ended = await play(bench)

    assert (ended.status, ended.text) == (RunStatus.COMPLETED, "done")
    message = provider.requests[-1].messages[-1]
    assert isinstance(message, ToolResultMessage)
    assert message.is_error and message.content.startswith("The arguments were not accepted")
    [failed] = await records_of(bench.journal, r.ToolFailed)
    assert failed.reason is ErrorReason.TOOL_ARGUMENTS_INVALID
    assert [entry.tool for entry in bench.function_tools.ledger] == ["look"], "only the neighbour's"


@pytest.mark.parametrize("name", ["rm -rf", "../look", "look()", "ünknown", "x" * 64])
async def test_a_name_no_tool_can_have_is_told_as_unknown(name: str) -> None:
    bench, provider = bench_of(asking(call(tool=name)), DONE)

    ended = await play(bench)

    assert (ended.status, ended.text) == (RunStatus.COMPLETED, "done")
    message = provider.requests[-1].messages[-1]
    assert isinstance(message, ToolResultMessage)
    assert message.is_error and message.content.startswith("There is no tool called")


async def test_no_depth_of_arguments_is_a_fault_of_the_server() -> None:
    calls = [call(f"p-{levels}", arguments=deep(levels)) for levels in range(10, 1290, 20)]
    bench, _ = bench_of(asking(*calls), DONE)

    ended = await play(bench)

    assert (ended.status, ended.text) == (RunStatus.COMPLETED, "done")
    assert bench.log.lines == []


async def test_empty_arguments_are_an_empty_object() -> None:
    bench, _ = bench_of(asking(call(arguments="")), DONE)

    await play(bench)

    assert {entry.arguments for entry in bench.function_tools.ledger} == {"{}"}


async def test_calls_of_a_truncated_answer_are_never_made() -> None:
    cut = ModelReply(text="so", calls=(call(),), finish=FinishReason.LENGTH)
    bench, _ = bench_of(cut, DONE)

    ended = await play(bench)

    assert (ended.status, ended.state.stop, ended.text) == (RunStatus.FAILED, StopReason.MAX_TOKENS, "so")
    assert len(bench.function_tools.ledger) == 1, "only the neighbour's"


async def test_negative_token_counts_count_as_none() -> None:
    bench, _ = bench_of(ModelReply(text="hi", input_tokens=-5, output_tokens=-1))

    ended = await play(bench)

    assert ended.status is RunStatus.COMPLETED
    assert (ended.state.usage.input_tokens, ended.state.usage.output_tokens) == (0, 0)


async def test_token_counts_that_add_up_to_too_much_do_not_stick_the_run() -> None:
    much = {"input_tokens": 2**63, "output_tokens": 2**63}
    bench, _ = bench_of(asking(call("p-1"), **much), asking(call("p-2"), **much), DONE)

    ended = await play(bench)

    assert (ended.status, ended.state.usage.input_tokens) == (RunStatus.COMPLETED, 2 * 2**40)


async def test_a_provider_whose_own_task_was_cancelled_fails_its_run() -> None:
    bench, _ = bench_of(asyncio.CancelledError())

    ended = await play(bench)

    assert ended.status is RunStatus.FAILED


LIST = {"type": "array", "items": {"$ref": "#/$defs/f"}}
FILTERS = {"anyOf": [{"properties": {"and": LIST}}, {"properties": {"and": LIST, "or": LIST}}]}
FILTERED = {"type": "object", "properties": {"f": {"$ref": "#/$defs/f"}}, "$defs": {"f": FILTERS}}


def filtered(levels: int) -> str:
    return '{"f":' + '{"and":[' * levels + '{"and":3}' + "]}" * levels + "}"


@pytest.mark.parametrize("levels", [14, 16, 30])
async def test_a_filter_of_many_levels_is_told_to_the_model_and_nobody_else_notices(levels: int) -> None:
    bench, provider = bench_of(asking(call(arguments=filtered(levels))), asking(call()), DONE)
    hostile = HOSTILE.model_copy(update={"tools": (HOSTILE.tools[0].model_copy(update={"parameters": FILTERED}),)})
    bench.packages = (hostile, b.one_call_package())

    ended = await play(bench)

    assert (ended.status, ended.text) == (RunStatus.COMPLETED, "done")
    message = provider.requests[1].messages[-1]
    assert isinstance(message, ToolResultMessage)
    assert message.is_error and "simpler" in message.content
    await bench.schemas.close()
