"""A whole run on a real wire: two rounds with a tool, and failures that end it in the open."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace
from runwright.adapters.providers.model_route import ModelRoute
from runwright.adapters.providers.models import ModelsProvider
from runwright.core.errors import ErrorReason
from runwright.core.outcomes import RunStatus
from runwright.ports.provider import EmitText, ModelReply, ModelRequest
from runwright.ports.tools import ToolOutcome, ToolOutcomeKind
from runwright.testing import FunctionTools

from tests import builders as b
from tests.adapters.models.asking import base_url, provider_at
from tests.adapters.models.fake_vendor import Answer, fake_vendor
from tests.adapters.models.wires import ANTHROPIC, OPENAI, Wire

both = pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])
SCHEMA = {"type": "object", "properties": {"where": {"type": "string"}}, "required": ["where"]}


async def look(arguments: Mapping[str, Any]) -> str | ToolOutcome:
    """A tool that fails under the bed."""
    if arguments["where"] == "under the bed":
        return ToolOutcome(ToolOutcomeKind.ERROR, b"dust")
    return f"a lamp {arguments['where']}"


def package(wire: Wire) -> Any:
    """A package of that kind with one tool."""
    route = {"adapter": wire.kind, "model": "test-model", "parameters": {"temperature": 0}, "max_attempts": 1}
    return b.package(provider=route, tools=(b.tool(parameters=SCHEMA),))


@both
async def test_two_rounds_with_a_tool(wire: Wire) -> None:
    calls = [("v-1", "look", {"where": "here"}), ("v-2", "look", {"where": "under the bed"}), ("v-3", "look", {})]
    async with (
        fake_vendor(wire.answer("I look.", calls), wire.answer("There is a lamp.")) as vendor,
        provider_at(vendor, wire.kind) as provider,
    ):
        bench = b.Bench(tools=FunctionTools({"look": look}), providers={wire.kind: provider})
        runtime = bench.runtime(package(wire))
        await runtime.recover()
        answer = await runtime.run_text(b.request())
        await runtime.close()

    assert (answer.status, answer.text) == (RunStatus.COMPLETED, "There is a lamp.")
    assert len(vendor.requested) == 2, "one request a round"
    first, second = vendor.requested
    assert wire.system(first) == wire.system(second) == "Help."
    assert [tool["parameters"] for tool in wire.tools(first)] == [SCHEMA]
    assert wire.results(first) == []
    results = wire.results(second)
    assert [(each["id"], each["failed"]) for each in results] == [("v-1", False), ("v-2", True), ("v-3", True)]
    assert ["a lamp here" in results[0]["text"], results[1]["text"]] == [True, "dust"]
    assert "not accepted" in results[2]["text"], "the model is told"


@both
async def test_a_failed_request_ends_the_run_with_its_class(wire: Wire) -> None:
    async with (
        fake_vendor(Answer({"error": {"message": "slow down"}}, status=429)) as vendor,
        provider_at(vendor, wire.kind) as provider,
    ):
        bench = b.Bench(providers={wire.kind: provider})
        runtime = bench.runtime(package(wire))
        await runtime.recover()
        answer = await runtime.run_text(b.request())
        await runtime.close()

    assert answer.status is RunStatus.FAILED
    assert answer.state.error is not None
    assert answer.state.error.reason is ErrorReason.PROVIDER_RATE_LIMITED
    assert dict(answer.state.error.metadata) == {"adapter": wire.kind, "class": "rate_limited"}
    assert len(vendor.requested) == 1
    ready, line = bench.log.lines
    assert ready.event == "provider is ready"
    assert (line.event, line.error) == ("model request failed", None), "what a vendor says is no fault of ours"
    assert line.fields["said"] == answer.state.error.message
    assert [line.fields[name] for name in ("run_id", "adapter", "model", "reason")] == [
        "run-1", wire.kind, "test-model", "PROVIDER_RATE_LIMITED"
    ]  # fmt: skip


@both
async def test_connections_are_closed_with_the_runtime(wire: Wire) -> None:
    route = ModelRoute(kind=wire.kind, adapter=wire.kind, base_url="http://127.0.0.1:1", key="k")  # type: ignore[arg-type]
    async with fake_vendor(wire.answer("Here.")) as vendor:
        provider = ModelsProvider(replace(route, base_url=base_url(vendor, wire.kind)))
        bench = b.Bench(providers={"broken": Broken(), wire.kind: provider})
        runtime = bench.runtime(package(wire))
        assert (await runtime.run_text(b.request())).text == "Here."
        assert not vendor.left.is_set()

        await runtime.close()

        async with asyncio.timeout(60):
            await vendor.left.wait()
    assert [(line.event, line.fields) for line in bench.log.lines] == [
        ("provider did not close", {"adapter": "broken"})
    ], "one that cannot be closed is no reason to leave the others open"


class Broken:
    """A provider that cannot even be closed."""

    async def complete(self, request: ModelRequest, emit: EmitText) -> ModelReply:
        """Never asked."""
        raise AssertionError

    async def close(self) -> None:
        """See the class."""
        raise OSError("stuck")
