"""The tests' own tool executor: a gRPC server in this process, with a ledger and places to stop or strike."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from runwright._gen.runwright.callback.v1 import tool_executor_service_pb2 as pb
from runwright._gen.runwright.callback.v1.tool_executor_service_pb2_grpc import (
    ToolExecutorServiceServicer,
    add_ToolExecutorServiceServicer_to_server,
)

from tests.e2e.notice import Notice

EXECUTOR = "desk"  # the name packages and servers know it by


@dataclass(frozen=True, slots=True)
class StartCaller:
    """One attempt that reached the executor."""

    run_id: str
    call_id: str
    attempt: int
    key: str
    tool: str
    arguments: str


Hook = Callable[[StartCaller], Awaitable[None]]


async def pass_by(_: StartCaller) -> None:
    """The hook that does nothing."""


class Gate:
    """A hook that holds every call until `open` is called."""

    def __init__(self) -> None:
        self._opened = asyncio.Event()

    async def __call__(self, requested: StartCaller) -> None:
        await self._opened.wait()

    def open(self) -> None:
        """Lets the held calls through, and all later ones."""
        self._opened.set()


class Executor(ToolExecutorServiceServicer):
    """Performs whatever it is asked, as a careless executor would: what happens twice is in the ledger twice.

    `before` and `after` are awaited around the effect of every call. The result
    depends on the arguments alone, so that a repeated run gives the same answer.
    """

    def __init__(self) -> None:
        self.before: Hook = pass_by
        self.after: Hook = pass_by
        self.requested: list[StartCaller] = []
        self.effects: Counter[str] = Counter()  # by idempotency key
        self.answered: list[StartCaller] = []
        self.given_up: list[StartCaller] = []  # attempts whose caller cancelled or died
        self.refused: list[str] = []  # breaches of the protocol by the server
        self.news = Notice()
        self.trace_parents: list[str] = []  # of each attempt, as its metadata had it; empty without
        self.result_bytes = 0  # results are padded to this length
        self.port = 0

    @property
    def address(self) -> str:
        """Where it can be dialled."""
        return f"127.0.0.1:{self.port}"

    def calls_of(self, run_id: str) -> list[StartCaller]:
        """The attempts of one run, in the order in which they came."""
        return [requested for requested in self.requested if requested.run_id == run_id]

    def effects_of(self, run_id: str, call_id: str) -> int:
        """How often a call's effect was made, under whatever keys."""
        keys = {requested.key for requested in self.calls_of(run_id) if requested.call_id == call_id}
        return sum(self.effects[key] for key in keys)

    async def until_asked(self, number: int) -> None:
        """Returns once that many attempts have come."""
        await self.news.until(lambda: len(self.requested) >= number)

    async def until_answered(self, number: int) -> None:
        """Returns once that many attempts have been answered."""
        await self.news.until(lambda: len(self.answered) >= number)

    async def ExecuteTool(self, request: pb.ExecuteToolRequest, context: Any) -> pb.ExecuteToolResponse:
        """One attempt of one call."""
        arguments = request.arguments_json.decode()
        requested = StartCaller(
            request.run_id, request.call_id, request.attempt, request.idempotency_key, request.tool, arguments
        )
        seen = max((earlier.attempt for earlier in self.requested if earlier.key == requested.key), default=0)
        if requested.attempt <= seen:
            self.refused.append(f"{requested} after attempt {seen}")
        self.requested.append(requested)
        metadata = dict(context.invocation_metadata() or ())
        self.trace_parents.append(str(metadata.get("traceparent", "")))
        self.news.tell()
        try:
            await self.before(requested)
            self.effects[requested.key] += 1
            self.news.tell()
            await self.after(requested)
        except asyncio.CancelledError:
            self.given_up.append(requested)
            self.news.tell()
            raise
        self.answered.append(requested)
        self.news.tell()
        message = {"tool": request.tool, "arguments": json.loads(arguments)}
        data = json.dumps(message, sort_keys=True).encode().ljust(self.result_bytes)
        return pb.ExecuteToolResponse(result=pb.ToolResult(data=data))


@asynccontextmanager
async def running_executor(port: int = 0) -> AsyncIterator[Executor]:
    """An executor on a loopback port while the block runs."""
    executor = Executor()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    add_ToolExecutorServiceServicer_to_server(executor, server)
    executor.port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield executor
    finally:
        await server.stop(0)
