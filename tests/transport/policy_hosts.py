"""Hosts of remote policies as real servers, which answer what a test has them answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as callback_pb
from runwright._gen.runwright.callback.v1 import policy_service_pb2 as pb
from runwright._gen.runwright.callback.v1 import policy_service_pb2_grpc as pb_grpc
from runwright._gen.runwright.v1 import policy_pb2
from runwright.core.ids import Namespace
from runwright.ports.remote_policies import PolicyReply, PolicyReplyKind, PolicyRequest, PolicyWait

from tests.runtime.watching import eventually
from tests.transport.known import Metadata
from tests.transport.serving import Served, registration

NAME = "compliance"
Answer = Callable[[pb.DecideRequest], pb.DecideResponse | Awaitable[pb.DecideResponse]]


def says(verdict: str, **fields: Any) -> Answer:
    """An answer that is about what was asked about."""
    number = policy_pb2.PolicyVerdict.Value(f"POLICY_VERDICT_{verdict}")
    return lambda request: pb.DecideResponse(**{"subject_digest": request.subject_digest, "verdict": number, **fields})


class PolicyHost(pb_grpc.PolicyServiceServicer):
    """One policy. `answer` may be another one at any time; `asked` is every question it has got."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[pb.DecideRequest] = []
        self.gave_up = asyncio.Event()
        self.port = 0
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        pb_grpc.add_PolicyServiceServicer_to_server(self, self._server)

    async def start(self, port: int = 0, tls: grpc.ServerCredentials | None = None) -> None:
        """Serves on a free port, or on that one."""
        at = f"127.0.0.1:{port}"
        self.port = self._server.add_secure_port(at, tls) if tls else self._server.add_insecure_port(at)
        await self._server.start()

    async def stop(self) -> None:
        """Ends it, and every question to it."""
        await self._server.stop(0)

    async def Decide(self, request: pb.DecideRequest, _: Any) -> pb.DecideResponse:
        """Answers what it is to answer."""
        self.asked.append(request)
        try:
            answer = self.answer(request)
            return await answer if isinstance(answer, Awaitable) else answer
        except asyncio.CancelledError:
            self.gave_up.set()
            raise


async def register(
    served: Served, host: PolicyHost, name: str = NAME, callback_id: str = "policy-1", metadata: Metadata = ()
) -> None:
    """Registers a host, and returns once it is found healthy."""
    spec = {"executor": name, "address": f"127.0.0.1:{host.port}", "kind": callback_pb.CALLBACK_KIND_POLICY}
    await served.callbacks.RegisterCallback(registration(callback_id, **spec), metadata=metadata)
    hosts = served.bench.remote_policies
    assert hosts is not None
    await eventually(lambda: hosts.is_there("default", name))


class NoAnswer:
    """RemotePolicies whose every question comes to the same, which is no answer that can be used."""

    def __init__(self, kind: PolicyReplyKind) -> None:
        self._kind = kind

    def is_there(self, namespace: Namespace, policy: str) -> bool:
        """See the port."""
        return True

    def wait_for_host(self, namespace: Namespace, policy: str, there: Callable[[], None]) -> PolicyWait:
        """See the port."""
        raise AssertionError("a host is there")

    async def decide(self, request: PolicyRequest) -> PolicyReply:
        """See the port."""
        return PolicyReply(kind=self._kind)

    async def close(self) -> None:
        """See the port."""
