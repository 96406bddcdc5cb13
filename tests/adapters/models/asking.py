"""Asking a provider over real HTTP: one request, or one that fails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from runwright.adapters.providers.model_route import ModelKind, ModelRoute
from runwright.adapters.providers.models import ModelsProvider
from runwright.core.errors import AgentError
from runwright.ports.provider import EmitText, ModelReply, ModelRequest, UserMessage

from tests.adapters.models.fake_vendor import Answer, FakeVendor, fake_vendor
from tests.adapters.models.wires import Wire

KEY = "sk-the-key-itself"
VARIABLE = "THE_KEY"
BODY_WORDS = "what only the vendor's body says"


def base_url(vendor: FakeVendor, kind: str) -> str:
    """Where the SDK of that kind wants to be pointed."""
    return vendor.url if kind == "anthropic" else f"{vendor.url}/v1"


@asynccontextmanager
async def provider_at(vendor: FakeVendor, kind: ModelKind, **route: Any) -> AsyncIterator[ModelsProvider]:
    """A provider of that kind, closed afterwards."""
    fields = {"adapter": kind, "base_url": base_url(vendor, kind), "key": KEY, "key_variable": VARIABLE, **route}
    provider = ModelsProvider(ModelRoute(kind=kind, **fields))
    try:
        yield provider
    finally:
        await provider.close()


def request(**fields: Any) -> ModelRequest:
    """A request with nothing in it but a question."""
    plain: dict[str, Any] = {
        "run_id": "run-1",
        "round": 1,
        "attempt": 1,
        "model": "test-model",
        "parameters": {},
        "instructions": "",
        "messages": (UserMessage(("What is there?",)),),
        "tools": (),
    }
    return ModelRequest(**{**plain, **fields})


async def ask(wire: Wire, answer: Answer, **fields: Any) -> tuple[ModelReply, FakeVendor]:
    """The provider's reply to one request, and the vendor that answered it; it was asked exactly once."""
    reply, _, vendor = await listen(wire, answer, **fields)
    return reply, vendor


async def listen(wire: Wire, answer: Answer, **fields: Any) -> tuple[ModelReply, list[str], FakeVendor]:
    """The same, with the pieces of text as they came; together they are the text of the reply."""
    pieces: list[str] = []
    async with fake_vendor(answer) as vendor, provider_at(vendor, wire.kind) as provider:
        reply = await provider.complete(request(**fields), pieces.append)
    assert len(vendor.requested) == 1
    assert "".join(pieces) == (reply.text or "") or not vendor.requested[0].body.get("stream")
    return reply, pieces, vendor


async def failing(
    wire: Wire,
    answer: Answer,
    *,
    requested: int = 1,
    route: Any = None,
    emit: EmitText = lambda text: None,
    **fields: Any,
) -> AgentError:
    """The error of one request, which does not tell the key; the vendor was asked that often."""
    async with fake_vendor(answer) as vendor, provider_at(vendor, wire.kind, **(route or {})) as provider:
        with pytest.raises(AgentError) as caught:
            await provider.complete(request(**fields), emit)
    assert len(vendor.requested) == requested
    error = caught.value
    said = f"{error} {error.metadata}"
    assert KEY not in said
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__
    return error
