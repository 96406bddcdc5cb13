"""Dispatchers of approvals as real servers, which answer what a test has them answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from runwright._gen.runwright.callback.v1 import approval_dispatcher_service_pb2 as pb
from runwright._gen.runwright.callback.v1 import approval_dispatcher_service_pb2_grpc as pb_grpc
from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as callback_pb
from runwright._gen.runwright.v1 import approval_pb2

from tests.runtime.watching import eventually
from tests.transport.known import Metadata
from tests.transport.serving import Served, registration

NAME = "chat"
Answer = Callable[[pb.ApprovalNotification], dict[str, Any] | Awaitable[dict[str, Any]]]


def acknowledges(_: pb.ApprovalNotification) -> dict[str, Any]:
    """It has it, and says nothing."""
    return {}


def decides(verdict: str, **fields: Any) -> Answer:
    """It decides on what it was shown, while there is something to decide."""
    number = approval_pb2.ApprovalVerdict.Value(f"APPROVAL_VERDICT_{verdict}")

    def answer(told: pb.ApprovalNotification) -> dict[str, Any]:
        if told.approval.state != approval_pb2.APPROVAL_STATE_PENDING:
            return {}
        decision = pb.DispatcherDecision(**{"digest": told.approval.digest, "verdict": number, **fields})
        return {"reference": "message-1", "decision": decision}

    return answer


class DispatcherHost(pb_grpc.ApprovalDispatcherServiceServicer):
    """One dispatcher. `answer` may be another one at any time; `told` is everything it has got, with the method."""

    def __init__(self, answer: Answer = acknowledges) -> None:
        self.answer = answer
        self.told: list[tuple[str, pb.ApprovalNotification]] = []
        self.port = 0
        self.answer_with: bytes | None = None  # whatever is asked
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)], interceptors=[_Raw(self)])
        pb_grpc.add_ApprovalDispatcherServiceServicer_to_server(self, self._server)

    @property
    def methods(self) -> list[str]:
        """What it was told, in order."""
        return [method for method, _ in self.told]

    async def start(self, port: int = 0, tls: grpc.ServerCredentials | None = None) -> None:
        """Serves on a free port, or on that one."""
        at = f"127.0.0.1:{port}"
        self.port = self._server.add_secure_port(at, tls) if tls else self._server.add_insecure_port(at)
        await self._server.start()

    async def stop(self) -> None:
        """Ends it, and every call to it."""
        await self._server.stop(0)

    async def DispatchApproval(self, request: pb.DispatchApprovalRequest, _: Any) -> pb.DispatchApprovalResponse:
        """Answers what it is to answer."""
        return pb.DispatchApprovalResponse(**await self._answered("dispatch", request.notification))

    async def UpdateApproval(self, request: pb.UpdateApprovalRequest, _: Any) -> pb.UpdateApprovalResponse:
        """Answers what it is to answer."""
        return pb.UpdateApprovalResponse(**await self._answered("update", request.notification))

    async def WithdrawApproval(self, request: pb.WithdrawApprovalRequest, _: Any) -> pb.WithdrawApprovalResponse:
        """Answers what it is to answer."""
        await self._answered("withdraw", request.notification)
        return pb.WithdrawApprovalResponse()

    async def _answered(self, method: str, told: pb.ApprovalNotification) -> dict[str, Any]:
        self.told.append((method, told))
        answer = self.answer(told)
        return await answer if isinstance(answer, Awaitable) else answer


class _Raw(grpc.aio.ServerInterceptor):
    """Has a host answer bytes of a test's own."""

    def __init__(self, host: DispatcherHost) -> None:
        self._host = host

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        """See grpc.aio."""
        handler, data = await continuation(details), self._host.answer_with
        if data is None or handler is None:
            return handler

        async def answer(request: bytes, _: Any) -> bytes:
            self._host.told.append(("bytes", pb.DispatchApprovalRequest.FromString(request).notification))
            return data

        return grpc.unary_unary_rpc_method_handler(answer)


async def register(
    served: Served, host: DispatcherHost, name: str = NAME, callback_id: str = "chat-1", metadata: Metadata = ()
) -> None:
    """Registers a host, and returns once it is found healthy."""
    kind = callback_pb.CALLBACK_KIND_APPROVAL_DISPATCHER
    spec = {"executor": name, "address": f"127.0.0.1:{host.port}", "kind": kind}
    await served.callbacks.RegisterCallback(registration(callback_id, **spec), metadata=metadata)
    dispatchers = served.bench.dispatchers
    assert dispatchers is not None
    await eventually(lambda: dispatchers.is_there("default", name))


async def told(host: DispatcherHost, count: int) -> None:
    """Returns once it was told so often."""
    async with asyncio.timeout(30):
        await eventually(lambda: len(host.told) >= count)
