"""Telemetry of one server, as its settings ask for it: nothing of it is imported before it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from runwright.adapters.start_errors import extra_missing, unbound
from runwright.adapters.telemetry.installed import missing_libraries
from runwright.adapters.telemetry.observed_journal import ObservedJournal, StoredJournal
from runwright.ports.telemetry import AppendObserver, CountsExecutors, RuntimeReport

if TYPE_CHECKING:
    from runwright.adapters.telemetry.otlp import SpanExport
    from runwright.adapters.telemetry.prometheus import Metrics
    from runwright.adapters.telemetry.scrape import MetricsServer


class Telemetry:
    """Made before the journal is opened, begun with the runtime, closed after it.

    Raises INVALID_REQUEST for an extra that is not installed.
    """

    def __init__(self, *, metrics: str | None = None, otlp_endpoint: str | None = None) -> None:
        _require("metrics", "--metrics", metrics)
        _require("otel", "--otlp-endpoint", otlp_endpoint)
        self._address = metrics
        self._endpoint = otlp_endpoint
        self._server: MetricsServer | None = None
        self._spans: SpanExport | None = None
        self.metrics = _metrics() if metrics else None

    @property
    def traces(self) -> bool:
        """True when spans are made."""
        return self._endpoint is not None

    def watched(self, journal: StoredJournal) -> StoredJournal:
        """The journal to build the runtime with: watched only where somebody wants to know."""
        return ObservedJournal(journal) if self.metrics or self.traces else journal

    def begin(
        self, journal: object, report: Callable[[], RuntimeReport], executors: object, directory: Path
    ) -> str | None:
        """Watches the runtime from now on. Returns where metrics are served, if they are. INVALID_REQUEST."""
        if not isinstance(journal, ObservedJournal):
            return None
        observers: list[AppendObserver] = []
        if self._endpoint is not None:
            observers.append(self._tracing(self._endpoint, journal.incarnation))
        if self.metrics is not None:
            observers.append(self.metrics)
            journal.listen(self.metrics.committed)
            self._serve(journal, report, executors, directory)
        journal.observers = observers
        return self._server.address if self._server else None

    async def close(self) -> None:
        """Sends the last spans and stops serving; a few seconds at most."""
        if self._server is not None:
            await asyncio.to_thread(self._server.close)
        if self._spans is not None:
            await asyncio.to_thread(self._spans.close)

    def _tracing(self, endpoint: str, instance: str) -> AppendObserver:
        from runwright.adapters.telemetry.otlp import SpanExport  # noqa: PLC0415 - the extra may be missing
        from runwright.adapters.telemetry.spans import SpanMaker  # noqa: PLC0415

        self._spans = SpanExport(endpoint, instance)
        return SpanMaker(self._spans.send)

    def _serve(
        self, journal: ObservedJournal, report: Callable[[], RuntimeReport], executors: object, directory: Path
    ) -> None:
        from runwright.adapters.telemetry.scrape import MetricsServer, ScrapedMetrics, Sources  # noqa: PLC0415

        assert self.metrics is not None
        assert self._address is not None
        sources = Sources(
            report=report,
            oldest_append=journal.oldest_wait,
            directory=directory,
            executors=executors if isinstance(executors, CountsExecutors) else None,
        )
        self.metrics.registry.register(ScrapedMetrics(sources))
        try:
            self._server = MetricsServer(self._address, self.metrics.registry)
        except OSError:
            raise unbound("--metrics", self._address) from None


def _metrics() -> Metrics:
    from runwright.adapters.telemetry.prometheus import Metrics  # noqa: PLC0415 - the extra may be missing

    return Metrics()


def _require(extra: str, option: str, value: str | None) -> None:
    missing = missing_libraries(extra) if value is not None else ()
    if missing:
        raise extra_missing(option, extra, missing)
