"""The handlers of CallbackRegistryService: a request is read, the registry asked, its answer put into a response."""

from __future__ import annotations

from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as pb
from runwright.core.errors import AgentError
from runwright.core.ids import check_caller_id
from runwright.ports.audit import Audit, refused_registration
from runwright.ports.log import OperatorLog
from runwright.runtime.callbacks.registry import CallbackRegistry
from runwright.transport.access import principal
from runwright.wire import callbacks as wire
from runwright.wire.requests import page_size


class CallbackRegistryService:
    """`runwright.callback.v1.CallbackRegistryService` over a CallbackRegistry."""

    def __init__(self, registry: CallbackRegistry, log: OperatorLog, audit: Audit) -> None:
        self._registry = registry
        self._log = log
        self._audit = audit

    async def RegisterCallback(self, request: pb.RegisterCallbackRequest) -> pb.RegisterCallbackResponse:
        """Registers, renews or replaces; durable before the reply."""
        try:
            found = await self._registry.register(wire.to_callback(request, principal()))
        except AgentError as error:
            self._refused(request.spec.callback_id, error)
            raise
        return pb.RegisterCallbackResponse(callback=wire.callback(found.callback, found.health, found.unused))

    async def UnregisterCallback(self, request: pb.UnregisterCallbackRequest) -> pb.UnregisterCallbackResponse:
        """Ends a registration."""
        try:
            await self._registry.unregister(principal(), request.callback_id)
        except AgentError as error:
            self._refused(request.callback_id, error)
            raise
        return pb.UnregisterCallbackResponse()

    async def ListCallbacks(self, request: pb.ListCallbacksRequest) -> pb.ListCallbacksResponse:
        """One page of registrations."""
        for name, value in (("page_token", request.page_token), ("executor", request.executor)):
            if value:
                check_caller_id(name, value)
        listed, more = self._registry.page(
            principal().namespace,
            named=(wire.kind_of(request), request.executor) if request.executor else None,
            after=request.page_token,
            limit=page_size(request.page_size),
        )
        response = pb.ListCallbacksResponse(
            callbacks=[wire.callback(one.callback, one.health, one.unused) for one in listed]
        )
        if more:
            response.next_page_token = listed[-1].callback.callback_id
        return response

    def _refused(self, callback_id: str, error: AgentError) -> None:
        """Leaves a line for the operator and one in the audit: somebody tried to change where calls are sent."""
        asks, callback_id = principal(), callback_id[:128]
        refused_registration(self._audit, asks, callback_id, error.reason.name)
        self._log.info(
            "callback refused",
            principal=asks.name,
            namespace=asks.namespace,
            callback_id=callback_id,
            reason=error.reason.name,
        )
