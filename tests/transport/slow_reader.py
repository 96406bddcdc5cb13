"""A subscriber that does not read, and a run with enough to say for the server to notice."""

from __future__ import annotations

import asyncio
import contextlib

import grpc
from runwright._gen.runwright.v1 import event_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright._gen.runwright.v1.runtime_service_pb2_grpc import RuntimeServiceStub
from runwright.ports.tools import ToolOutcome, ToolOutcomeKind
from runwright.testing import FunctionTools

from tests import builders as b
from tests.transport.serving import CALL_SECONDS, Refusal, Served, refusal_of, subscription

CALLS = 128
RESULT = b"x" * 60_000
LONG = b.package(*[b.asks(*["look"] * 64)] * 2, b.says("done"), tools=(b.tool(),), budget={"tool_calls": CALLS})


def talkative() -> FunctionTools:
    """A tool whose results together are more than a connection takes in by itself."""

    async def much(arguments: object) -> ToolOutcome:
        return ToolOutcome(ToolOutcomeKind.RESULT, RESULT, "text/plain")

    return FunctionTools({"look": much})


class SlowReader:
    """Reads one response, then none; afterwards the rest."""

    def __init__(self, served: Served) -> None:
        narrow = served.channel(("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536))
        self._call = RuntimeServiceStub(narrow).Subscribe(subscription(view=pb.EVENT_VIEW_FULL))
        self.frames: list[event_pb2.EventFrame] = []

    async def stall(self, seconds: float = 0.5) -> None:
        """Takes the first response, then waits for the end of the call without reading on."""
        first = await asyncio.wait_for(self._call.read(), CALL_SECONDS)
        self.frames += first.frames
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._call.code(), seconds)

    async def rest(self) -> Refusal:
        """Reads what was on its way. Returns how the server ended the call."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                while (response := await self._call.read()) is not grpc.aio.EOF:
                    self.frames += response.frames
                await self._call.read()
        except grpc.aio.AioRpcError as failed:
            return refusal_of(failed)
        raise AssertionError("the server waited for ever")
