"""Answers with anything in place of anything: each is used or refused for a reason, whole and streamed alike.

What goes back of it, beside results of its calls, is what the strict vendors take.
"""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
from msgspec import structs
from runwright.adapters.providers.models import ModelsProvider
from runwright.core.errors import AgentError, ErrorReason
from runwright.ports.provider import (
    AssistantMessage,
    Message,
    ModelReply,
    ToolCallPart,
    ToolResultMessage,
    UserMessage,
)

from tests.adapters.models.asking import provider_at, request
from tests.adapters.models.fake_vendor import Answer, Fields, fake_vendor
from tests.adapters.models.seeds import seeds
from tests.adapters.models.wires import ANTHROPIC, OPENAI, Wire, chunks, events

USABLE = {ErrorReason.MODEL_OUTPUT_INVALID} | {reason for reason in ErrorReason if reason.name.startswith("PROVIDER_")}
ODD: list[Any] = [
    None, True, False, 0, -1, 1.5, 1e308, 2**70, "", " ", "\n", "null", "stop", "\ud83d", "<think>", "</think>x", "🙂",
    10**400, [[[[[[[["x"]]]]]]]],
    [], [None], [[]], ["a", "b"], {}, {"text": "t"}, {"type": "text", "text": 7}, {"index": "x"}, {"error": None},
]  # fmt: skip


@pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
async def test_anything_is_used_or_refused_and_both_forms_agree(wire: Wire) -> None:
    async with fake_vendor() as vendor, provider_at(vendor, wire.kind) as provider:
        vendor.minds_echoes = False
        for number in seeds(120, 5_000):
            body = mutated(wire, random.Random(f"{wire.kind} {number}"))
            ends = []
            for stream in (True, False):
                vendor.answers.append(Answer(body, stream=streamed(wire, body)))
                ends.append(await end(provider, stream=stream))
            assert ends[0] == ends[1], f"seed {number}: {body}"
            if isinstance(ends[0], ModelReply) and ends[0].calls:
                vendor.answers.append(wire.answer("so"))
                assert await end(provider, stream=False, messages=message(ends[0])), number
                assert vendor.refused == [], f"seed {number}: {body}"


def message(reply: ModelReply) -> tuple[Message, ...]:
    """The next request after this reply, in which each call has its result."""
    calls = [ToolCallPart(f"c1.{at}", *structs.astuple(call)) for at, call in enumerate(reply.calls, start=1)]
    results = [ToolResultMessage(call.call_id, call.provider_call_id, call.tool, "seen", False) for call in calls]
    return UserMessage(("What?",)), AssistantMessage(reply.text, tuple(calls), reply.opaque or b""), *results


async def end(provider: ModelsProvider, *, stream: bool, **fields: Any) -> ModelReply | ErrorReason:
    """What became of one request; anything but a reply or a classified error is raised."""
    try:
        return await provider.complete(request(parameters={"stream": stream}, **fields), lambda text: None)
    except AgentError as error:
        assert error.reason in USABLE, error
        return error.reason


def mutated(wire: Wire, seed: random.Random) -> Fields:
    """An answer in which one to three things are something else, or missing."""
    calls = [(f"id-{n}", seed.choice(["look", "peek"]), {"n": n}) for n in range(seed.randint(0, 3))]
    body: Any = copy.deepcopy(wire.answer(seed.choice([None, "so", "<think>hm</think>so"]), calls).body)
    if seed.random() < 0.5:
        think(wire, body)
    for _ in range(seed.randint(1, 3)):
        places = list(_places(body))
        holder, key = seed.choice(places)
        if isinstance(holder, dict) and seed.random() < 0.2:
            del holder[key]
        else:
            holder[key] = copy.deepcopy(seed.choice(ODD))
    return body


def think(wire: Wire, body: Fields) -> None:
    """Adds what its vendor needs back."""
    if wire.kind == "openai":
        message = body["choices"][0]["message"]
        message |= {
            "reasoning_content": "hm",
            "reasoning_details": [{"type": "reasoning.text", "text": "hm", "index": 0}],
        }
        for call in message.get("tool_calls", []):
            call["extra_content"] = {"google": {"thought_signature": "s=="}}
    else:
        body["content"].insert(0, {"type": "thinking", "thinking": "hm", "signature": "s=="})
        body["content"].append({"type": "redacted_thinking", "data": "x=="})


def _places(value: Any) -> Any:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(entries):
        yield value, key
        yield from _places(inner)


def streamed(wire: Wire, body: Fields) -> bytes:
    """The same answer as a server of that dialect would stream it."""
    if wire.kind == "openai":
        choices = body.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else choices
        if not isinstance(first, dict):
            return chunks(body)
        message = first.get("message")
        calls = message.get("tool_calls") if isinstance(message, dict) else None
        if isinstance(calls, list):
            numbered = [
                {**call, "index": at} if isinstance(call, dict) else {"index": at} for at, call in enumerate(calls)
            ]
            message = {**message, "tool_calls": numbered}
        choice = {**{key: value for key, value in first.items() if key != "message"}, "delta": message}
        return chunks({**body, "choices": [choice]})
    content = body.get("content")
    if body.get("type") == "error" or not isinstance(content, list | str):
        return events({"type": "odd", **body})
    sent: list[Fields] = [{"type": "message_start", "message": {**body, "content": []}}]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    for at, block in enumerate(blocks):
        values = {"type": "text", "text": block} if isinstance(block, str) else block
        sent.append({"type": "content_block_start", "index": at, "content_block": values})
    sent.append({"type": "message_delta", "delta": {"stop_reason": body.get("stop_reason")}})
    return events(*sent, {"type": "message_stop"})
