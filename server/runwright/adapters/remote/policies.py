"""Remote policies as unary callback services: `runwright.callback.v1.PolicyService`, dialled."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from runwright.adapters.remote.callback_connection import CallbackConnection
from runwright.adapters.remote.dialled_callbacks import DialledCallbacks
from runwright.adapters.remote.named_hosts import NamedHosts
from runwright.adapters.remote.policy_messages import decide_request, read_answer
from runwright.adapters.remote.unary_call import CallFailure, CallFailureKind, UnaryCall, unary_call
from runwright.core.callback_kinds import KINDS, CallbackKind
from runwright.core.ids import Namespace
from runwright.ports.clock import Clock
from runwright.ports.remote_policies import PolicyReply, PolicyReplyKind, PolicyRequest, PolicyWait

_METHOD = f"/{KINDS[CallbackKind.POLICY].service}/Decide"


class DialledPolicies:
    """RemotePolicies at the addresses that hosts have registered. Each gets as many questions at once as it says."""

    def __init__(self, callbacks: DialledCallbacks, clock: Clock) -> None:
        self._hosts = NamedHosts(callbacks, CallbackKind.POLICY)
        self._clock = clock

    def is_there(self, namespace: Namespace, policy: str) -> bool:
        """See the port."""
        return self._hosts.is_there(namespace, policy)

    def wait_for_host(self, namespace: Namespace, policy: str, there: Callable[[], None]) -> PolicyWait:
        """See the port."""
        return self._hosts.wait_for(namespace, policy, there)

    async def decide(self, request: PolicyRequest) -> PolicyReply:
        """See the port. A host that has as many questions as it takes is waited for like one that connects."""
        connection = await self._hosts.free(request.state.key.namespace, request.remote.policy)
        if connection is None:
            return PolicyReply(kind=PolicyReplyKind.NOT_SENT)
        with self._hosts.occupied(connection):
            with connection.call() as channel:
                if channel is None:  # dropped since it was chosen
                    return PolicyReply(kind=PolicyReplyKind.NOT_SENT)
                reply = await self._ask(channel, connection, request)
            if reply.kind is PolicyReplyKind.LOST:
                connection.lost_call()
            return reply

    async def close(self) -> None:
        """Closes every channel."""
        await self._hosts.close()

    async def _ask(
        self, channel: grpc.aio.Channel, connection: CallbackConnection, request: PolicyRequest
    ) -> PolicyReply:
        deadline = self._clock.now() + request.remote.timeout_ms * 1000
        call = UnaryCall(
            _METHOD,
            decide_request(request, deadline).SerializeToString(),
            request.remote.timeout_ms / 1000,
            connection.metadata,
            request.state.trace_parent,
        )
        answer = await unary_call(channel, call, read_answer)
        if not isinstance(answer, CallFailure):
            return answer
        if answer.kind is CallFailureKind.NOT_SENT:
            return PolicyReply(kind=PolicyReplyKind.NOT_SENT)
        if answer.fault is not None:
            connection.log.error("question to a policy broke off", answer.fault, run_id=request.state.key.run_id)
        return PolicyReply(kind=PolicyReplyKind.TIMED_OUT if answer.is_late else PolicyReplyKind.LOST)
