"""What a vendor needs back of its own answers goes back to it, unchanged and in place; nobody else gets it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from runwright.adapters.providers.model_opaque import Collected
from runwright.adapters.providers.models import ModelsProvider
from runwright.core import records as r
from runwright.core.kinds import EventKind
from runwright.core.outcomes import RunStatus
from runwright.ports.provider import MAX_OPAQUE_BYTES, ModelReply, ProviderCall, ToolSpecification
from runwright.testing import FunctionTools

from tests import builders as b
from tests.adapters.models.asking import ask, provider_at, request
from tests.adapters.models.fake_vendor import Answer, FakeVendor, Fields, fake_vendor
from tests.adapters.models.thoughts import anthropic_thinks, openai_thinks, thinks
from tests.adapters.models.wires import ANTHROPIC, OPENAI, Wire
from tests.runtime.parts import PlayedProvider
from tests.runtime.watching import key, reached, records_of, stood_still

both = pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
in_both_forms = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
CALL = ("id-1", "look", "{}")
USE: Fields = {"type": "tool_use", "id": "id-1", "name": "look", "input": {}}
USE_2: Fields = {**USE, "id": "id-2"}
SAID: Fields = {"type": "text", "text": "I look. "}
THOUGHT: Fields = {"type": "thinking", "thinking": "where? ", "signature": "sig=="}
HIDDEN: Fields = {"type": "redacted_thinking", "data": "EmwK"}
SIGNED: Fields = {"extra_content": {"google": {"thought_signature": "Cs=="}}}
DETAILS: list[Fields] = [
    {"reasoning": "I ", "reasoning_details": [{"type": "reasoning.text", "text": "I ", "index": 0, "format": "a-v1"}]},
    {"reasoning": "see", "reasoning_details": [{"type": "reasoning.text", "text": "see", "index": 0, "id": None}]},
    {"reasoning_details": [{"type": "reasoning.text", "text": "", "signature": "s==", "index": 0}]},
    {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x==", "index": 1, "id": "rs_1"}]},
]
NOT_REMOVED: list[Fields] = [
    {"reasoning": "I see", "reasoning_details": [
        {"type": "reasoning.text", "text": "I see", "index": 0, "format": "a-v1", "signature": "s=="},
        {"type": "reasoning.encrypted", "data": "x==", "index": 1, "id": "rs_1"},
    ]},
]  # fmt: skip


async def play(vendor: FakeVendor, kind: str, *, stream: bool = True) -> b.Bench:
    """A run with one tool, to its end."""
    async with provider_at(vendor, kind) as provider:  # type: ignore[arg-type]
        bench = b.Bench(providers={kind: provider})
        route = {"adapter": kind, "model": "m", "max_attempts": 1, "parameters": {"stream": stream}}
        runtime = bench.runtime(b.package(provider=route, tools=(b.tool(),)))
        ended = await runtime.run_text(b.request())
        await runtime.drain(0)
    assert ended.status is RunStatus.COMPLETED, ended.state.error
    return bench


def answers(vendor: FakeVendor, number: int = -1) -> list[Fields]:
    """What a request told of the model's own answers."""
    return [each for each in vendor.requested[number].body["messages"] if each["role"] == "assistant"]


@in_both_forms
@pytest.mark.parametrize("kind", ["openai", "ollama"])
@pytest.mark.parametrize(
    ("sent", "calls"),
    [
        ([{"reasoning_content": "I "}, {"reasoning_content": "look"}], {}),
        ([{"reasoning": "I look"}], {}),
        ([], {"id-1": SIGNED}),
        (DETAILS, {}),
        ([{"reasoning_opaque": "abc"}, {"thinking_blocks": [{"type": "thinking", "thinking": "x", "index": 0}]}], {}),
        ([{"provider_specific_fields": "{}"}], {"id-1": {"provider_specific_fields": {"thought_signature": "s"}}}),
    ],
    ids=["reasoning_content", "reasoning", "extra_content", "reasoning_details", "others", "provider_specific_fields"],
)
async def test_fields_of_a_message_and_of_a_call_go_back(
    sent: list[Fields], calls: dict[str, Fields], kind: str, stream: bool
) -> None:
    async with fake_vendor(openai_thinks(sent, [CALL], text="hm", **calls), OPENAI.answer("so")) as vendor:
        await play(vendor, kind, stream=stream)

    assert len(vendor.requested) == 2, "and the strict vendor has found them whole"
    if sent is DETAILS:
        assert [{name: each[name] for name in NOT_REMOVED[0]} for each in answers(vendor)] == NOT_REMOVED


@in_both_forms
@pytest.mark.parametrize(
    "blocks",
    [
        [THOUGHT, USE],
        [{**THOUGHT, "thinking": ""}, SAID, USE],
        [THOUGHT, HIDDEN, SAID, USE, USE_2],
        [HIDDEN, USE, {**THOUGHT, "signature": "other"}, SAID, USE_2],
        [SAID, THOUGHT, {**SAID, "text": "And there."}, USE],
    ],
    ids=["thought", "thought without words", "hidden", "between calls", "between texts"],
)
async def test_blocks_go_back_in_their_places(blocks: list[Fields], stream: bool) -> None:
    async with fake_vendor(anthropic_thinks(*blocks), ANTHROPIC.answer("so")) as vendor:
        await play(vendor, "anthropic", stream=stream)

    assert len(vendor.requested) == 2, "and the strict vendor has found them"
    message = answers(vendor)[0]["content"]
    assert [block["type"] for block in message] == [block["type"] for block in blocks]


async def test_a_thought_that_was_not_signed_stays_here() -> None:
    unsigned = {"type": "thinking", "thinking": "hm", "signature": ""}
    answer = Answer(anthropic_thinks(unsigned, USE).body)
    async with fake_vendor(answer, ANTHROPIC.answer("so")) as vendor:
        await play(vendor, "anthropic", stream=False)

    assert [block["type"] for block in answers(vendor)[0]["content"]] == ["tool_use"]


@in_both_forms
async def test_thoughts_within_the_text_go_back_before_it(stream: bool) -> None:
    said = "<think>I look</think>\n\nHm."
    async with fake_vendor(OPENAI.answer(said, [CALL]), OPENAI.answer("so")) as vendor:
        await play(vendor, "openai", stream=stream)

    assert [each["content"] for each in answers(vendor)] == [said]


async def test_parts_before_the_text_go_back_before_it() -> None:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    body = openai_thinks([], [CALL]).body
    assert isinstance(body, dict)
    body["choices"][0]["message"]["content"] = [thought, {"type": "text", "text": "I look."}]

    reply, _ = await ask(OPENAI, Answer(body), parameters={"stream": False})

    assert reply.text == "I look."
    assert json.loads(reply.opaque or b"")["parts"]["before"] == [thought]


@both
async def test_they_go_back_after_a_restart(wire: Wire) -> None:
    calls: Any = [("id-1", "look", "{}" if wire.kind == "openai" else {})]
    never = asyncio.Event()

    async def stuck(arguments: Mapping[str, Any]) -> str:
        await never.wait()
        return ""

    async with (
        fake_vendor(thinks(wire, 1, calls), wire.answer("so")) as vendor,
        provider_at(vendor, wire.kind) as provider,
    ):
        package = b.package(provider={"adapter": wire.kind, "model": "m"}, tools=(b.tool(),))
        bench = b.Bench(providers={wire.kind: provider}, tools=FunctionTools({"look": stuck}), packages=(package,))
        first = bench.runtime()
        await first.start_run(b.request())
        await reached(first, EventKind.TOOL_STARTED)
        await first.drain(0)
        bench.tools = FunctionTools({"look": b.look})
        second = bench.runtime()
        await second.recover()
        ended = await stood_still(second)
        await second.close()

    assert (ended.status, len(vendor.requested)) == (RunStatus.COMPLETED, 2)


@pytest.mark.parametrize(("first", "then"), [(OPENAI, ANTHROPIC), (ANTHROPIC, OPENAI)], ids=["to a", "to o"])
async def test_they_go_to_no_other_vendor(first: Wire, then: Wire) -> None:
    calls: Any = [(each, "look", "{}" if first.kind == "openai" else {}) for each in ("functions.look:0", "id-2")]
    down = Answer({"type": "error", "error": {"message": "no"}}, status=401)
    async with (
        fake_vendor(thinks(first, 1, calls, "I look."), down) as vendor,
        fake_vendor(then.answer("so")) as other,
        provider_at(vendor, first.kind) as provider,
        provider_at(other, then.kind) as fallback,
    ):
        ended = await run_over([(first.kind, provider), (then.kind, fallback)])

    assert ended is RunStatus.COMPLETED
    assert "think" not in json.dumps(answers(other))
    message = other.requested[0]
    assert then.calls(message) == [each["id"] for each in then.results(message)], "ids are mapped in pairs"
    assert len(set(then.calls(message))) == 2


async def test_they_go_to_no_other_model_of_the_same_vendor() -> None:
    down = Answer({"error": {"message": "no such model"}}, status=404)
    async with (
        fake_vendor(thinks(OPENAI, 1, [CALL]), down, OPENAI.answer("so")) as vendor,
        provider_at(vendor, "openai") as provider,
    ):
        assert await run_over([("openai", provider), ("openai", provider)]) is RunStatus.COMPLETED

    assert "reasoning_content" in answers(vendor, 1)[0]
    assert "reasoning_content" not in answers(vendor, 2)[0]


async def run_over(routes: Sequence[tuple[str, ModelsProvider]]) -> RunStatus:
    """A run over these routes, in one attempt each."""
    bench = b.Bench(providers=dict(routes))
    (adapter, _), *others = routes
    runtime = bench.runtime(
        b.package(
            provider={"adapter": adapter, "model": "m-0", "max_attempts": 1},
            fallbacks=[{"adapter": each, "model": f"m-{at}"} for at, (each, _) in enumerate(others, start=1)],
            tools=(b.tool(),),
        )
    )
    ended = await runtime.run_text(b.request())
    await runtime.close()
    return ended.status


async def test_they_are_a_content_of_the_message_and_of_no_answer() -> None:
    async with fake_vendor(thinks(OPENAI, 1, [CALL]), OPENAI.answer("<think>hm</think>so")) as vendor:
        bench = await play(vendor, "openai")

    first, last = await records_of(bench.journal, r.ModelMessageCompleted)
    assert first.opaque is not None
    stored = await bench.journal.content(key().namespace, [first.opaque.digest])
    assert b"I think 1" in stored[first.opaque.digest]
    assert last.opaque is None, "what nobody will ask for is not kept"


async def test_what_is_too_large_is_left_out_and_said() -> None:
    large = [{"reasoning_content": "x" * 1000}] * (MAX_OPAQUE_BYTES // 1000 + 1)
    answer = Answer(stream=openai_thinks(large, [CALL]).stream)
    async with fake_vendor(answer, OPENAI.answer("so")) as vendor:
        bench = await play(vendor, "openai")

    assert "reasoning_content" not in answers(vendor)[0]
    assert [line.fields["adapter"] for line in bench.log.lines if "too large" in line.event] == ["openai"]


def test_pieces_of_a_list_are_put_together_by_their_index_or_their_order() -> None:
    collected = Collected()
    for items in (
        [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        [{"type": "text", "text": "c"}],
        [{"type": "text", "text": "", "signature": "s"}],
        [{"type": "text", "text": "d"}, {"type": "data", "data": "x"}],
        [{"type": "data", "data": "y", "id": "2"}],
    ):
        collected.take({"reasoning_details": items})  # type: ignore[dict-item]

    assert collected.fields() == {
        "reasoning_details": [
            {"type": "text", "text": "a"},
            {"type": "text", "text": "bc", "signature": "s"},
            {"type": "text", "text": "d"},
            {"type": "data", "data": "x"},
            {"type": "data", "data": "y", "id": "2"},
        ]
    }


@pytest.mark.parametrize(
    "odd", [float("nan"), "\ud83d", {"\udc00": [float("inf")]}, [[[]]], 2**80, {"text": None}, True, ["a", ["b"]]]
)
async def test_whatever_a_part_holds_can_be_sent_back(odd: Any) -> None:
    answer = openai_thinks([], [CALL]).body
    assert isinstance(answer, dict)
    answer["choices"][0]["message"]["reasoning_details"] = odd
    async with fake_vendor(Answer(answer), OPENAI.answer("so")) as vendor:
        vendor.minds_echoes = False
        await play(vendor, "openai", stream=False)

    assert len(vendor.requested) == 2


async def test_what_is_nested_too_deep_is_left_out() -> None:
    deep: Any = "x"
    for _ in range(500):
        deep = [deep]
    body = openai_thinks([], [CALL]).body
    assert isinstance(body, dict)
    body["choices"][0]["message"]["reasoning_details"] = deep

    reply, _ = await ask(OPENAI, Answer(body), parameters={"stream": False})

    assert (reply.opaque, len(reply.calls)) == (None, 1)


async def test_a_schema_that_speaks_of_streams_asks_for_none() -> None:
    schema = {"type": "object", "properties": {"stream": True}}
    requested = request(tools=(ToolSpecification("look", "", schema),), parameters={"stream": False})
    async with fake_vendor(OPENAI.answer("so")) as vendor, provider_at(vendor, "openai") as provider:
        assert (await provider.complete(requested, lambda text: None)).text == "so"


def test_items_with_an_index_go_on_by_it_in_whatever_order_their_pieces_come() -> None:
    collected = Collected()
    for index, text in ((0, "a"), (1, "b"), (0, "c"), (1, "d")):
        collected.take({"reasoning_details": [{"type": "text", "text": text, "index": index}]})

    assert collected.fields() == {
        "reasoning_details": [{"type": "text", "text": "ac", "index": 0}, {"type": "text", "text": "bd", "index": 1}]
    }


async def test_whatever_a_provider_gives_is_bounded() -> None:
    call = ProviderCall("p-1", "look", "{}")
    provider = PlayedProvider(ModelReply(calls=(call,), opaque=bytes(MAX_OPAQUE_BYTES + 1)), ModelReply(text="so"))
    bench = b.Bench(providers={"scripted": provider})

    ended = await bench.runtime().run_text(b.request())

    assert ended.status is RunStatus.COMPLETED
    assert [line.event for line in bench.log.lines if "too large" in line.event]
    [first, _] = await records_of(bench.journal, r.ModelMessageCompleted)
    assert first.opaque is None
