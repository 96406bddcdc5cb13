"""Approval dispatchers as unary callback services: `runwright.callback.v1.ApprovalDispatcherService`, dialled."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import grpc
from msgspec.structs import replace

from runwright.adapters.remote.callback_connection import CallbackConnection
from runwright.adapters.remote.dialled_callbacks import DialledCallbacks
from runwright.adapters.remote.dispatcher_messages import METHODS, read_answer, request_of
from runwright.adapters.remote.named_hosts import NamedHosts
from runwright.adapters.remote.unary_call import CallFailure, CallFailureKind, UnaryCall, unary_call
from runwright.core.approval_dispatches import DispatchResult
from runwright.core.callback_kinds import CallbackKind
from runwright.core.ids import Namespace
from runwright.ports.approval_dispatchers import ApprovalNotification, DispatcherReply, DispatcherWait
from runwright.ports.clock import Clock
from runwright.ports.log import OperatorLog

TIMEOUT_SECONDS = 10.0  # of one attempt


class DialledDispatchers:
    """ApprovalDispatchers at the addresses that hosts have registered. Each gets as many calls at once as it says."""

    def __init__(
        self,
        callbacks: DialledCallbacks,
        clock: Clock,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        log: OperatorLog | None = None,
    ) -> None:
        self._hosts = NamedHosts(callbacks, CallbackKind.APPROVAL_DISPATCHER)
        self._clock = clock
        self._timeout = timeout_seconds
        self._log = log
        self._missed: set[tuple[Namespace, str]] = set()  # on the log, until one is there

    def is_there(self, namespace: Namespace, dispatcher: str) -> bool:
        """See the port."""
        if not self._hosts.is_there(namespace, dispatcher):
            return False
        self._missed.discard((namespace, dispatcher))
        return True

    def wait_for_dispatcher(self, namespace: Namespace, dispatcher: str, there: Callable[[], None]) -> DispatcherWait:
        """See the port."""
        self._miss(namespace, dispatcher)
        return self._hosts.wait_for(namespace, dispatcher, there)

    async def tell(self, notification: ApprovalNotification) -> DispatcherReply:
        """See the port. A host that has as many calls as it takes is waited for like one that connects."""
        connection = await self._hosts.free(notification.namespace, notification.dispatcher)
        if connection is None:
            if not self.is_there(notification.namespace, notification.dispatcher):  # else it has too much to do
                self._miss(notification.namespace, notification.dispatcher)
            return DispatcherReply(result=DispatchResult.NOT_SENT)
        with self._hosts.occupied(connection):
            with connection.call() as channel:
                if channel is None:  # dropped since it was chosen
                    return DispatcherReply(result=DispatchResult.NOT_SENT)
                reply = await self._tell(channel, connection, notification)
            if reply.result is DispatchResult.NOT_SENT:
                return reply
            if reply.result is DispatchResult.LOST:
                connection.lost_call()
            told = connection.callback
            return replace(reply, principal=told.owner, credential=told.owner_key, callback_id=told.callback_id)

    async def close(self) -> None:
        """Closes every channel."""
        await self._hosts.close()

    def _miss(self, namespace: Namespace, dispatcher: str) -> None:
        """None is there: that is on the log, once until one is."""
        if self._log is not None and (namespace, dispatcher) not in self._missed:
            self._missed.add((namespace, dispatcher))
            self._log.warning(
                "no dispatcher of the name is there: approvals stay listed, and it is told when it registers",
                namespace=namespace,
                dispatcher=dispatcher,
            )

    async def _tell(
        self, channel: grpc.aio.Channel, connection: CallbackConnection, notification: ApprovalNotification
    ) -> DispatcherReply:
        deadline = self._clock.now() + int(self._timeout * 1_000_000)
        call = UnaryCall(
            METHODS[notification.notice],
            request_of(notification, deadline).SerializeToString(),
            self._timeout,
            connection.metadata,
            notification.trace_parent,
        )
        answer = await unary_call(channel, call, partial(read_answer, notification.notice))
        if not isinstance(answer, CallFailure):
            return answer
        if answer.kind is CallFailureKind.NOT_SENT:
            return DispatcherReply(result=DispatchResult.NOT_SENT)
        if answer.fault is not None:
            run_id = notification.approval.asked.run_id
            connection.log.error("call to a dispatcher broke off", answer.fault, run_id=run_id)
        return DispatcherReply(result=DispatchResult.TIMED_OUT if answer.is_late else DispatchResult.LOST)
