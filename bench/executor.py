"""The tool executor of the benchmarks: a real gRPC server in the client's process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from runwright._gen.runwright.callback.v1 import tool_executor_service_pb2 as pb
from runwright._gen.runwright.callback.v1.tool_executor_service_pb2_grpc import (
    ToolExecutorServiceServicer,
    add_ToolExecutorServiceServicer_to_server,
)

_ANSWER = pb.ExecuteToolResponse(result=pb.ToolResult(data=b'{"found": "a lamp, on the desk"}'))


class Executor(ToolExecutorServiceServicer):
    """Answers at once; calls of the tool `hold` once `held` is set. `arrived`: when the call of a run came in."""

    def __init__(self) -> None:
        self.held = asyncio.Event()
        self.arrived: dict[str, asyncio.Future[float]] = {}  # of the runs that are looked for, by `perf_counter`
        self.port = 0

    @property
    def address(self) -> str:
        """Where it can be dialled."""
        return f"127.0.0.1:{self.port}"

    async def ExecuteTool(self, request: pb.ExecuteToolRequest, context: Any) -> pb.ExecuteToolResponse:
        """One call."""
        if (looked_for := self.arrived.pop(request.run_id, None)) is not None:
            looked_for.set_result(time.perf_counter())
        if request.tool == "hold":
            await self.held.wait()
        return _ANSWER

    async def ReconcileTool(self, request: pb.ReconcileToolRequest, context: Any) -> pb.ReconcileToolResponse:
        """Never asked: no tool of the benchmarks is reconcilable."""
        raise NotImplementedError

    async def DescribeTools(self, request: pb.DescribeToolsRequest, context: Any) -> pb.DescribeToolsResponse:
        """Nothing: nobody writes a package by it."""
        return pb.DescribeToolsResponse()


@asynccontextmanager
async def executing() -> AsyncIterator[Executor]:
    """An executor while the block runs."""
    executor = Executor()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    add_ToolExecutorServiceServicer_to_server(executor, server)
    executor.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield executor
    finally:
        await server.stop(0)
