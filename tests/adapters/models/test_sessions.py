"""What a vendor really gets to read of a session: the body of turn two holds turn one."""

from __future__ import annotations

from typing import Any

import pytest

from tests import builders as b
from tests.adapters.models.asking import provider_at
from tests.adapters.models.fake_vendor import StartCaller, fake_vendor
from tests.adapters.models.wires import ANTHROPIC, OPENAI, Wire


def conversation(requested: StartCaller) -> list[tuple[str, str]]:
    """Role and text of each message of the body, without the system's."""
    return [(each["role"], _text(each["content"])) for each in requested.body["messages"] if each["role"] != "system"]


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


@pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
async def test_the_body_of_the_second_turn_holds_the_first(wire: Wire) -> None:
    route = {"adapter": wire.kind, "model": "test-model"}
    async with (
        fake_vendor(wire.answer("Hello, Ada."), wire.answer("You are Ada."), wire.answer("Who?")) as vendor,
        provider_at(vendor, wire.kind) as provider,
    ):
        runtime = b.Bench(providers={wire.kind: provider}).runtime(b.package(provider=route))
        await runtime.recover()
        await runtime.run_text(b.request("one", "I am Ada.", session_id="s"))
        await runtime.run_text(b.request("two", "Who am I?", session_id="s"))
        await runtime.run_text(b.request("three", "Who am I?"))
        await runtime.close()

    first, second, alone = map(conversation, vendor.requested)
    assert first == [("user", "I am Ada.")]
    assert second == [("user", "I am Ada."), ("assistant", "Hello, Ada."), ("user", "Who am I?")]
    assert alone == [("user", "Who am I?")]
