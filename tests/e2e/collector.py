"""An OpenTelemetry collector: a gRPC server in this process that keeps the spans it is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as pb_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector(pb_grpc.TraceServiceServicer):  # type: ignore[misc]  # the library is not typed
    """Every span it was sent, and the schemas they follow."""

    def __init__(self) -> None:
        self.requests: list[pb.ExportTraceServiceRequest] = []
        self.port = 0

    async def Export(self, request: pb.ExportTraceServiceRequest, context: Any) -> pb.ExportTraceServiceResponse:
        """Keeps a batch."""
        self.requests.append(request)
        return pb.ExportTraceServiceResponse()

    @property
    def endpoint(self) -> str:
        """Where it can be reached."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def spans(self) -> list[Span]:
        """The spans of all batches."""
        return [span for scope in self._scopes() for span in scope.spans]

    @property
    def schemas(self) -> set[str]:
        """The schemas that were named."""
        return {scope.schema_url for scope in self._scopes()}

    def _scopes(self) -> list[Any]:
        resources = [resource for request in self.requests for resource in request.resource_spans]
        return [scope for resource in resources for scope in resource.scope_spans]

    def named(self, name: str) -> list[Span]:
        """The spans of that name, in the order of their beginnings."""
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.start_time_unix_nano)


def attributes(span: Span) -> dict[str, Any]:
    """A span's attributes as plain values."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes}


@asynccontextmanager
async def running_collector() -> AsyncIterator[Collector]:
    """A collector on a loopback port while the block runs."""
    collector = Collector()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    pb_grpc.add_TraceServiceServicer_to_server(collector, server)
    collector.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield collector
    finally:
        await server.stop(0)
