"""A registry of callbacks on a real socket, which keeps what it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as pb
from runwright._gen.runwright.callback.v1.callback_registry_service_pb2_grpc import (
    CallbackRegistryServiceServicer,
    add_CallbackRegistryServiceServicer_to_server,
)
from runwright._gen.runwright.v1.runtime_service_pb2_grpc import add_RuntimeServiceServicer_to_server

from tests.cli.fake_runtime import FakeRuntime
from tests.cli.story import START


def callback(
    callback_id: str = "desk-1", *tools: str, health: int = pb.CALLBACK_HEALTH_HEALTHY, detail: str = ""
) -> Any:
    """A registration."""
    spec = pb.CallbackSpec(callback_id=callback_id, executor="desk", address="127.0.0.1:7761", tools=tools)
    made = pb.Callback(spec=spec, owner="tools", health=health, health_detail=detail)
    made.expires_at.FromSeconds(START + 60)
    made.lease.FromSeconds(60)
    return made


class FakeRegistry(CallbackRegistryServiceServicer):
    """Lists what it was made with, one a page."""

    def __init__(self, *callbacks: pb.Callback) -> None:
        self.callbacks = list(callbacks)
        self.requests: list[Any] = []

    def RegisterCallback(self, request: pb.RegisterCallbackRequest, context: Any) -> pb.RegisterCallbackResponse:
        """Always well."""
        self.requests.append(request)
        answer = callback(request.spec.callback_id)
        answer.spec.CopyFrom(request.spec)
        return pb.RegisterCallbackResponse(callback=answer)

    def UnregisterCallback(self, request: pb.UnregisterCallbackRequest, context: Any) -> pb.UnregisterCallbackResponse:
        """Always well."""
        self.requests.append(request)
        return pb.UnregisterCallbackResponse()

    def ListCallbacks(self, request: pb.ListCallbacksRequest, context: Any) -> pb.ListCallbacksResponse:
        """The next one."""
        self.requests.append(pb.ListCallbacksRequest.FromString(request.SerializeToString()))
        known = [one for one in self.callbacks if request.executor in ("", one.spec.executor)]
        at = int(request.page_token or 0)
        token = str(at + 1) if at + 1 < len(known) else ""
        return pb.ListCallbacksResponse(callbacks=known[at : at + 1], next_page_token=token)


@contextmanager
def serving_both(registry: FakeRegistry, runtime: FakeRuntime | None = None) -> Iterator[str]:
    """Serves it, beside a runtime, on a free port; gives the address."""
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    add_CallbackRegistryServiceServicer_to_server(registry, server)
    if runtime is not None:
        add_RuntimeServiceServicer_to_server(runtime, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
