"""Remote policies as unary callback services: `runwright.callback.v1.PolicyService`, dialled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc

from runwright.adapters.remote.callback_connection import CallbackConnection
from runwright.adapters.remote.dialled_callbacks import DialledCallbacks
from runwright.adapters.remote.policy_messages import decide_request, read_answer
from runwright.core.callback_kinds import KINDS, CallbackKind
from runwright.core.callbacks import DEFAULT_CALLS_IN_FLIGHT
from runwright.core.ids import Namespace
from runwright.ports.clock import Clock
from runwright.ports.remote_policies import PolicyReply, PolicyReplyKind, PolicyRequest, PolicyWait

_METHOD = f"/{KINDS[CallbackKind.POLICY].service}/Decide"
# Bounds the time in which an intent is open although nothing was sent.
CONNECT_SECONDS = 1.0


class _Waiting:
    """Somebody who waits for a host of a name."""

    def __init__(self, waiting: set[_Waiting], name: tuple[Namespace, str], there: Callable[[], None]) -> None:
        self.name = name
        self.there = there
        self._waiting = waiting
        waiting.add(self)

    def leave(self) -> None:
        """See PolicyWait."""
        self._waiting.discard(self)


class DialledPolicies:
    """RemotePolicies at the addresses that hosts have registered. Each gets as many questions at once as it says."""

    def __init__(self, callbacks: DialledCallbacks, clock: Clock) -> None:
        self._callbacks = callbacks
        self._clock = clock
        self._open: dict[CallbackConnection, int] = {}  # with how many questions are out there
        self._waiting: set[_Waiting] = set()
        self._changed = asyncio.Event()
        callbacks.attach(CallbackKind.POLICY, self)

    def is_there(self, namespace: Namespace, policy: str) -> bool:
        """See the port."""
        return any(connection.is_ready for connection in self._named((namespace, policy)))

    def wait_for_host(self, namespace: Namespace, policy: str, there: Callable[[], None]) -> PolicyWait:
        """See the port."""
        return _Waiting(self._waiting, (namespace, policy), there)

    async def decide(self, request: PolicyRequest) -> PolicyReply:
        """See the port. A host that has as many questions as it takes is waited for like one that connects."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                connection = await self._free(request)
        except TimeoutError:
            return PolicyReply(kind=PolicyReplyKind.NOT_SENT)
        self._open[connection] = self._open.get(connection, 0) + 1
        try:
            with connection.call() as channel:
                if channel is None:  # dropped since it was chosen
                    return PolicyReply(kind=PolicyReplyKind.NOT_SENT)
                reply = await self._ask(channel, connection, request)
            if reply.kind is PolicyReplyKind.LOST:
                connection.lost_call()
            return reply
        finally:
            if connection in self._open:
                self._open[connection] -= 1
            self.changed()

    async def close(self) -> None:
        """Closes every channel."""
        self._waiting.clear()
        await self._callbacks.close(CallbackKind.POLICY)

    def opened(self, connection: CallbackConnection) -> None:
        """See CallbackCaller."""
        self._open[connection] = 0

    def dropped(self, connection: CallbackConnection) -> None:
        """See CallbackCaller."""
        self._open.pop(connection, None)

    def changed(self) -> None:
        """See CallbackCaller."""
        self._changed.set()
        self._changed = asyncio.Event()
        for waiting in list(self._waiting):
            if waiting in self._waiting and self.is_there(*waiting.name):
                waiting.leave()
                waiting.there()

    def _named(self, name: tuple[Namespace, str]) -> list[CallbackConnection]:
        return [one for one in self._open if (one.callback.namespace, one.callback.name) == name]

    async def _free(self, request: PolicyRequest) -> CallbackConnection:
        """The ready host with the fewest questions, once there is one with room."""
        name = (request.state.key.namespace, request.remote.policy)
        while True:
            changed = self._changed  # before looking: what changes meanwhile is not missed
            free = [
                one
                for one in self._named(name)
                if one.is_ready and self._open[one] < (one.callback.max_calls_in_flight or DEFAULT_CALLS_IN_FLIGHT)
            ]
            if free:
                return min(free, key=lambda one: (self._open[one], one.callback.callback_id))
            await changed.wait()

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
