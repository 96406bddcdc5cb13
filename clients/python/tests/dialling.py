"""A tool server as the runtime sees it: dialled over grpcio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from runwright._gen.runwright.callback.v1 import tool_executor_service_pb2 as pb
from runwright._gen.runwright.callback.v1.tool_executor_service_pb2_grpc import ToolExecutorServiceStub

from runwright_client import ToolServer

SECONDS = 30.0


@asynccontextmanager
async def dialled(server: ToolServer) -> AsyncIterator[Callable[..., Awaitable[pb.ExecuteToolResponse]]]:
    """Calls a tool server as the runtime does, over grpcio."""
    await server.start()

    async def call(
        name: str, arguments: str = "{}", attempt: int = 1, key: str = "k", timeout: float = SECONDS, **options: Any
    ) -> Any:
        request = pb.ExecuteToolRequest(
            tool=name, arguments_json=arguments.encode(), attempt=attempt, idempotency_key=key
        )
        return await ToolExecutorServiceStub(channel).ExecuteTool(request, timeout=timeout, **options)

    options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(server.address, options=options) as channel:
        yield call
    await server.stop()


async def code_of(call: Awaitable[Any]) -> grpc.StatusCode:
    """The status a call fails with."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return failed.value.code()
