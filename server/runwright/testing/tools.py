"""Tool executors as Python functions, with a ledger of what was really performed."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

from msgspec import Struct, field
from pydantic import JsonValue

from runwright.adapters.waiting_calls import WaitingCalls
from runwright.core.callbacks import UnusedTool
from runwright.core.content import JSON
from runwright.core.ids import Namespace
from runwright.core.outcomes import ReconcileAnswer
from runwright.ports.tools import (
    Granted,
    Place,
    PlaceRequest,
    PlaceWait,
    ReconcileOutcome,
    ToolInvocation,
    ToolOutcome,
    ToolOutcomeKind,
)

_log = logging.getLogger("runwright.testing")

Tool = Callable[[dict[str, JsonValue]], Awaitable[JsonValue | ToolOutcome] | JsonValue | ToolOutcome]

Reconciler = Callable[[ToolInvocation], Awaitable[ReconcileOutcome] | ReconcileOutcome]


class Performed(Struct, frozen=True):
    """One attempt that reached a function."""

    idempotency_key: str
    tool: str
    attempt: int
    arguments: str


class FunctionPlace:
    """Room for one call at one of the executors of FunctionTools."""

    def __init__(self, tools: FunctionTools, executor: str) -> None:
        self.executor = executor
        self.is_held = True
        self._tools = tools
        tools.held[executor] += 1

    def release(self) -> None:
        """See `Place`."""
        if self.is_held:
            self.is_held = False
            self._tools.held[self.executor] -= 1
            self._tools.serve(self.executor)


class FunctionTools(Struct):
    """ToolExecutors for tests and for library users: `{tool name: async function}` under every executor name.

    A function, async or not, gets the arguments and returns JSON, or a ToolOutcome to
    play a failure. Whatever it raises fails its call alone, and is logged as of
    `runwright.testing`. `ledger` lists every attempt that began, `cancelled` every one whose
    caller gave up. Executors in `unreachable` cannot be reached until `reach`.
    Each executor takes `most_calls` at once; `held` says how many it has. `reconcilers` say of tools that
    their package declares reconcilable what became of a lost attempt; `asks` lists what they were asked.
    """

    tools: Mapping[str, Tool]
    unreachable: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    ledger: list[Performed] = field(default_factory=list)
    cancelled: list[Performed] = field(default_factory=list)
    most_calls: int = 1_000
    held: Counter[str] = field(default_factory=Counter)
    reconcilers: Mapping[str, Reconciler] = field(default_factory=dict)
    asks: list[ToolInvocation] = field(default_factory=list)
    _waiting: WaitingCalls = field(default_factory=WaitingCalls)

    def knows(self, namespace: Namespace, executor: str) -> bool:
        """True unless the name is in `unknown`."""
        return executor not in self.unknown

    def reach(self, executor: str) -> None:
        """Lets an executor be reached from now on."""
        self.unreachable.discard(executor)
        self.serve(executor)

    def serve(self, executor: str) -> None:
        """Gives the executor's free places to the calls that wait for them."""
        self._waiting.serve(executor, self._take)

    def is_reachable(self, wanted: PlaceRequest) -> bool:
        """True unless the executor is in `unreachable`."""
        return wanted.executor not in self.unreachable

    def unused(self, wanted: PlaceRequest) -> Sequence[UnusedTool]:
        """Nobody: functions say no schemas."""
        return ()

    def take_place(self, wanted: PlaceRequest) -> Place | None:
        """See the port."""
        return None if self._waiting.waits(wanted) else self._take(wanted)

    def wait_for_place(self, wanted: PlaceRequest, granted: Granted) -> PlaceWait:
        """See the port."""
        return self._waiting.join(wanted, granted)

    def _take(self, wanted: PlaceRequest) -> Place | None:
        if wanted.executor in self.unreachable or self.held[wanted.executor] >= self.most_calls:
            return None
        return FunctionPlace(self, wanted.executor)

    async def execute(self, place: Place, call: ToolInvocation) -> ToolOutcome:
        """Calls the function and notes it."""
        assert isinstance(place, FunctionPlace) and place.is_held, "an attempt has a place of its own"
        if place.executor in self.unreachable or not call.may_begin():
            return ToolOutcome(ToolOutcomeKind.NOT_SENT)
        entry = Performed(call.idempotency_key, call.tool, call.attempt, call.arguments_json.decode())
        self.ledger.append(entry)
        try:
            answer = self.tools[call.tool](json.loads(call.arguments_json))
            if inspect.isawaitable(answer):
                answer = await answer
        # Whatever it is: SystemExit would end the program, and with it every other run.
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                self.cancelled.append(entry)
                raise
            _log.error("tool %s failed in call %s of run %s", call.tool, call.call_id, call.run_id, exc_info=error)
            return ToolOutcome(ToolOutcomeKind.ERROR, b"The tool failed.")
        return answer if isinstance(answer, ToolOutcome) else _made(answer)

    async def reconcile(self, place: Place, call: ToolInvocation, ask: int) -> ReconcileOutcome:
        """What the tool's function in `reconcilers` says; without one, or if it raises, nobody can say."""
        assert isinstance(place, FunctionPlace) and place.is_held, "an ask has a place of its own"
        if place.executor in self.unreachable:
            return ReconcileOutcome(ReconcileAnswer.NOT_ASKED)
        if (reconciler := self.reconcilers.get(call.tool)) is None:
            return ReconcileOutcome(ReconcileAnswer.CANNOT_SAY)
        self.asks.append(call)
        try:
            answer = reconciler(call)
            return await answer if inspect.isawaitable(answer) else answer
        except Exception as error:  # noqa: BLE001 - it ends the ask alone
            _log.error("reconciling call %s of run %s failed", call.call_id, call.run_id, exc_info=error)
            return ReconcileOutcome(ReconcileAnswer.CANNOT_SAY)

    async def close(self) -> None:
        """Nothing to let go of."""


def _made(answer: JsonValue) -> ToolOutcome:
    """The effect has happened: whatever is wrong with its result, the model must not be told that it has not."""
    try:
        data = json.dumps(answer, sort_keys=True, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        return ToolOutcome(ToolOutcomeKind.ERROR, b"The call was made; its result cannot be encoded.")
    return ToolOutcome(ToolOutcomeKind.RESULT, data, JSON)
