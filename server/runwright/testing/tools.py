"""Tool executors as Python functions, with a ledger of what was really performed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping

from msgspec import Struct, field
from pydantic import JsonValue

from runwright.core.content import JSON
from runwright.core.ids import Namespace
from runwright.ports.tools import ToolInvocation, ToolOutcome, ToolOutcomeKind

Tool = Callable[[dict[str, JsonValue]], Awaitable[JsonValue | ToolOutcome]]


class Performed(Struct, frozen=True):
    """One attempt that reached a function."""

    idempotency_key: str
    tool: str
    attempt: int
    arguments: str


class FunctionTools(Struct):
    """ToolExecutors for tests and for library users: `{tool name: async function}` under every executor name.

    A function gets the arguments and returns JSON, or a ToolOutcome to play a
    failure. `ledger` lists every attempt that began, `cancelled` every one whose
    caller gave up. Executors in `unreachable` cannot be reached until `reach`.
    """

    tools: Mapping[str, Tool]
    unreachable: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    ledger: list[Performed] = field(default_factory=list)
    cancelled: list[Performed] = field(default_factory=list)
    _reached: asyncio.Event = field(default_factory=asyncio.Event)

    def knows(self, namespace: Namespace, executor: str) -> bool:
        """True unless the name is in `unknown`."""
        return executor not in self.unknown

    def reach(self, executor: str) -> None:
        """Lets an executor be reached from now on."""
        self.unreachable.discard(executor)
        self._reached.set()
        self._reached = asyncio.Event()

    async def reachable(self, namespace: Namespace, executor: str, tool: str) -> None:
        """Returns once the executor is not in `unreachable`."""
        while executor in self.unreachable:
            await self._reached.wait()

    async def execute(self, executor: str, call: ToolInvocation) -> ToolOutcome:
        """Calls the function and notes it."""
        if executor in self.unreachable or not call.may_begin():
            return ToolOutcome(ToolOutcomeKind.NOT_SENT)
        entry = Performed(call.idempotency_key, call.tool, call.attempt, call.arguments_json.decode())
        self.ledger.append(entry)
        try:
            answer = await self.tools[call.tool](json.loads(call.arguments_json))
        except asyncio.CancelledError:
            self.cancelled.append(entry)
            raise
        if isinstance(answer, ToolOutcome):
            return answer
        return ToolOutcome(ToolOutcomeKind.RESULT, json.dumps(answer, sort_keys=True).encode(), JSON)

    async def close(self) -> None:
        """Nothing to let go of."""
