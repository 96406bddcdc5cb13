"""An executor that answers with bytes of its own making."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from runwright._gen.runwright.callback.v1 import tool_executor_service_pb2 as pb

Answer = Callable[[Any], Awaitable[bytes | None]]
RESULT = pb.ExecuteToolResponse(result=pb.ToolResult(data=b"seen")).SerializeToString()
ERROR = pb.ExecuteToolResponse(error=pb.ToolError(message="no")).SerializeToString()
NOT_PERFORMED = pb.ExecuteToolResponse(not_performed=pb.ToolNotPerformed()).SerializeToString()


class RawExecutor(grpc.GenericRpcHandler):
    """Serves on a free port from `server.start()` on, and counts its calls."""

    def __init__(self, compression: grpc.Compression = grpc.Compression.NoCompression) -> None:
        self.answer: Answer = self.says(RESULT)
        self.calls = 0
        self.server = grpc.aio.server(options=[("grpc.so_reuseport", 0)], compression=compression)
        self.server.add_generic_rpc_handlers((self,))
        self.port = self.server.add_insecure_port("127.0.0.1:0")

    @staticmethod
    def says(answer: bytes | None) -> Answer:
        """Answers with these bytes; None: OK and no message."""

        async def say(context: Any) -> bytes | None:
            return answer

        return say

    def service(self, handler_call_details: Any) -> Any:
        """See the class."""

        async def handle(request: bytes, context: Any) -> AsyncIterator[bytes]:
            self.calls += 1
            answer = await self.answer(context)
            if answer is not None:
                yield answer

        # The same frames as of a unary call, but for an answer that is none.
        return grpc.unary_stream_rpc_method_handler(handle)
