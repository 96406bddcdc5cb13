"""Tools and providers that wait for the test, keep what they were told, or play what no script can."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runwright.adapters.providers.scripted import ScriptedProvider
from runwright.core.callbacks import UnusedTool
from runwright.core.content import JSON
from runwright.ports.provider import EmitText, ModelReply, ModelRequest, Provider
from runwright.ports.tools import Granted, Place, PlaceRequest, PlaceWait, ToolInvocation, ToolOutcome, ToolOutcomeKind
from runwright.testing import FunctionTools


@dataclass
class HeldTool:
    """A tool that answers when it is let go. `begun` is set by its first call, `given_up` counts cancelled ones."""

    answer: Any = "done"
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    running: int = 0
    most_at_once: int = 0
    given_up: int = 0

    async def __call__(self, arguments: Mapping[str, Any]) -> Any:
        """One call."""
        self.begun.set()
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        finally:
            self.running -= 1
        return self.answer


class HeldProvider:
    """A scripted provider that answers when it is let go."""

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        self.let_go = asyncio.Event()
        self.given_up = 0

    async def complete(self, request: ModelRequest, emit: EmitText) -> ModelReply:
        """See the class."""
        self.requested.set()
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        return await ScriptedProvider().complete(request, emit)


@dataclass
class RecordingProvider:
    """Keeps what the model was told, and lets another provider answer."""

    inner: Provider = field(default_factory=ScriptedProvider)
    requests: list[ModelRequest] = field(default_factory=list)

    async def complete(self, request: ModelRequest, emit: EmitText) -> ModelReply:
        """See the class."""
        self.requests.append(request)
        return await self.inner.complete(request, emit)


class PlayedProvider:
    """Gives the replies in turn, the same ones to every run; an exception among them is raised."""

    def __init__(self, *replies: ModelReply | BaseException) -> None:
        self._replies: Sequence[ModelReply | BaseException] = replies
        self.requests: list[ModelRequest] = []

    async def complete(self, request: ModelRequest, emit: EmitText) -> ModelReply:
        """See the class."""
        self.requests.append(request)
        reply = self._replies[request.round - 1]
        if isinstance(reply, BaseException):
            raise reply
        return reply


class FreePlace:
    """A place where there is no end of them."""

    def release(self) -> None:
        """See the port."""


@dataclass
class PlayedTools:
    """ToolExecutors that answer by a function of the attempt; `calls` keeps the attempts."""

    play: Callable[[ToolInvocation], ToolOutcome]
    calls: list[ToolInvocation] = field(default_factory=list)

    def knows(self, namespace: str, executor: str) -> bool:
        """See the port."""
        return True

    def is_reachable(self, wanted: PlaceRequest) -> bool:
        """See the port."""
        return True

    def unused(self, wanted: PlaceRequest) -> Sequence[UnusedTool]:
        """See the port."""
        return ()

    def take_place(self, wanted: PlaceRequest) -> Place:
        """See the port."""
        return FreePlace()

    def wait_for_place(self, wanted: PlaceRequest, granted: Granted) -> PlaceWait:
        """See the port."""
        raise AssertionError("a place is always free")

    async def execute(self, place: Place, call: ToolInvocation) -> ToolOutcome:
        """See the class."""
        self.calls.append(call)
        return self.play(call)

    async def close(self) -> None:
        """See the port."""


class LeakyTools(FunctionTools):
    """A tools port that breaks its word: what its functions raise comes out of it."""

    async def execute(self, place: Place, call: ToolInvocation) -> ToolOutcome:
        """See the class."""
        answer = await self.tools[call.tool](json.loads(call.arguments_json))  # type: ignore[misc]
        return ToolOutcome(ToolOutcomeKind.RESULT, json.dumps(answer).encode(), JSON)
