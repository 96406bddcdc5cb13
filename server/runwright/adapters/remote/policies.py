"""Remote policies as unary callback services: `runwright.callback.v1.PolicyService`, dialled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc

from runwright.adapters.remote.callback_connection import CallbackConnection
from runwright.adapters.remote.dialled_callbacks import DialledCallbacks
from runwright.adapters.remote.named_hosts import NamedHosts
from runwright.adapters.remote.policy_messages import decide_request, read_answer
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
        seconds = request.remote.timeout_ms / 1000
        deadline = self._clock.now() + request.remote.timeout_ms * 1000
        metadata = connection.metadata
        if request.state.trace_parent:
            metadata = (*metadata, ("traceparent", request.state.trace_parent))
        data = decide_request(request, deadline).SerializeToString()
        try:
            method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_METHOD)
            rpc = method(data, timeout=seconds, metadata=metadata)
        except grpc.aio.UsageError:
            return PolicyReply(kind=PolicyReplyKind.NOT_SENT)  # the channel has been closed
        try:
            return read_answer(await rpc or b"")
        except grpc.aio.AioRpcError as error:
            is_late = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED or rpc.time_remaining() == 0
            return PolicyReply(kind=PolicyReplyKind.TIMED_OUT if is_late else PolicyReplyKind.LOST)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return PolicyReply(kind=PolicyReplyKind.LOST)  # the channel was closed under it
        except Exception as error:  # noqa: BLE001 - whatever it is, the run must hear that there is no answer
            connection.log.error("question to a policy broke off", error, run_id=request.state.key.run_id)
            return PolicyReply(kind=PolicyReplyKind.LOST)
        finally:
            rpc.cancel()
