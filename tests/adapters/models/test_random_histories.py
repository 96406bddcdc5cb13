"""Whatever a conversation holds, both vendors take it: strict fakes, random histories."""

from __future__ import annotations

import random

import pytest
from runwright.core.images import Image
from runwright.ports.provider import AssistantMessage, Message, ToolCallPart, ToolResultMessage, UserMessage

from tests.adapters.models.asking import provider_at, request
from tests.adapters.models.fake_vendor import fake_vendor
from tests.adapters.models.seeds import seeds
from tests.adapters.models.wires import ANTHROPIC, OPENAI, Wire

TEXTS = ["hello", "", " ", "\n\n", "a ", "🙂", "\x00", "<think>", "x" * 5_000]
IDS = ["", "a", "call_1", "call_1", "functions.look:0", "p\n1", "x" * 41, "toolu_01", "ä", "c1.1", " "]
NAMES = ["look", "peek", "(no name)", "look?", "x" * 63 + "…", "", "äöü", "a b", "r" * 100]
ARGUMENTS = ["{}", '{"n": 1}', "", "null", "[1]", '"text"', '{"n":', "look at me", '{"a": "\\ud800"}', "{" * 100]
RESULTS = ["found", "", " ", "\n", '{"a": 1}', "x" * 5_000]
PICTURE = Image("image/png", b"\x89PNG\r\n\x1a\n" + bytes(16))


def history(seed: random.Random) -> tuple[Message, ...]:
    """Turns of a session and the rounds of the last one: failures, blanks, odd names, ids that are used twice."""
    messages: list[Message] = []
    for _ in range(seed.randint(0, 3)):  # earlier turns are told by question and answer alone
        messages += [said(seed), AssistantMessage(seed.choice(TEXTS), ())]
    messages.append(said(seed))
    for number in range(1, seed.randint(1, 5)):
        calls = tuple(
            ToolCallPart(f"c{number}.{index}", seed.choice(IDS), seed.choice(NAMES), seed.choice(ARGUMENTS))
            for index in range(1, seed.randint(2, 5))
        )
        messages.append(AssistantMessage(seed.choice([None, *TEXTS]), calls))
        messages += [
            ToolResultMessage(call.call_id, call.provider_call_id, call.tool, seed.choice(RESULTS), seed.random() < 0.3)
            for call in calls
        ]
    return tuple(messages)


def said(seed: random.Random) -> UserMessage:
    """A question of one to three parts."""
    return UserMessage(tuple(seed.choice([*TEXTS, PICTURE]) for _ in range(seed.randint(1, 3))))


@pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
async def test_no_history_is_refused(wire: Wire) -> None:
    async with fake_vendor() as vendor, provider_at(vendor, wire.kind) as provider:
        for number in seeds(100, 2_000):
            seed = random.Random(f"{wire.kind} {number}")
            vendor.answers.append(wire.answer("so"))
            instructions = seed.choice(["", " ", "Be brief."])
            requested = request(messages=history(seed), instructions=instructions, parameters={"stream": False})
            assert (await provider.complete(requested, lambda text: None)).text == "so", (number, vendor.refused)
            assert vendor.refused == [], f"seed {number}: {requested.messages}"
