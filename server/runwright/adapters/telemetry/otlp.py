"""Spans on their way to an OpenTelemetry collector, over OTLP/gRPC, from a thread of the library's own."""

from __future__ import annotations

import logging
import threading
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace import StatusCode as SpanStatus

from runwright import __version__
from runwright.adapters.telemetry.conventions import SCHEMA_URL
from runwright.adapters.telemetry.spans import FinishedSpan
from runwright.core.loopback import is_loopback

QUEUED_SPANS = 8192  # what comes while a collector cannot be reached; older ones go first
EXPORT_SECONDS = 5.0
_NO_PROXY = (("grpc.enable_http_proxy", 0),)  # to a collector on this machine, where no proxy leads


class _DerivedIds(IdGenerator):
    """Makes the ids that it was told: ours are derived from the run."""

    def __init__(self) -> None:
        self.span = self.trace = 0

    def generate_span_id(self) -> int:
        """The next span's."""
        return self.span

    def generate_trace_id(self) -> int:
        """The trace of the next root."""
        return self.trace


class SpanExport:
    """Sends spans to `endpoint` (http:// or https://). A collector that is away costs spans, never a run."""

    def __init__(self, endpoint: str, instance: str) -> None:
        logging.getLogger("opentelemetry.exporter").setLevel(logging.ERROR)  # not each time it tries again
        self._ids = _DerivedIds()
        resource = Resource(
            {"service.name": "runwright", "service.version": __version__, "service.instance.id": instance}
        )
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,  # who began the trace has decided: see SpanMaker
            resource=resource,
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(
            endpoint=endpoint,
            insecure=endpoint.startswith("http://"),
            timeout=EXPORT_SECONDS,
            channel_options=_NO_PROXY if is_loopback(urlsplit(endpoint).hostname or "") else None,  # type: ignore[arg-type]
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, max_queue_size=QUEUED_SPANS, schedule_delay_millis=1000)
        )
        self._tracer = self._provider.get_tracer("runwright", __version__, schema_url=SCHEMA_URL)

    def send(self, span: FinishedSpan) -> None:
        """Queues a span; never waits. On one thread only."""
        self._ids.trace, self._ids.span = int(span.trace_id, 16), int(span.span_id, 16)
        begun = self._tracer.start_span(
            span.name,
            context=_parent(span),
            kind=SpanKind.CLIENT if span.calls_out else SpanKind.INTERNAL,
            attributes=dict(span.attributes),
            start_time=span.begun * 1000,
        )
        if span.error:
            begun.set_status(Status(SpanStatus.ERROR, span.error))
        begun.end(end_time=span.ended * 1000)

    def close(self) -> None:
        """Sends what is queued, for EXPORT_SECONDS at most. Blocks."""
        # Not waited for by anybody: the library tries a collector that is away again and again, batch by batch.
        flushing = threading.Thread(target=self._provider.shutdown, name="runwright-last-spans", daemon=True)
        flushing.start()
        flushing.join(EXPORT_SECONDS)


def _parent(span: FinishedSpan) -> Context:
    if not span.parent_id:
        return Context()
    known = SpanContext(
        int(span.trace_id, 16), int(span.parent_id, 16), is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)
    )
    return set_span_in_context(NonRecordingSpan(known), Context())
