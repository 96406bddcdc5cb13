"""What only a scrape asks for, and the HTTP server that answers it, on threads of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from threading import Thread
from wsgiref.simple_server import WSGIServer

from msgspec import Struct
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from runwright.ports.telemetry import CountsExecutors, RuntimeReport


class Sources(Struct, frozen=True, kw_only=True):
    """Where a scrape looks. Every one is asked on the scrape's thread."""

    report: Callable[[], RuntimeReport]
    oldest_append: Callable[[], float]
    directory: Path
    executors: CountsExecutors | None = None


class ScrapedMetrics(Collector):
    """Gauges that cost nothing until somebody asks."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        report = self._sources.report()
        yield _family("runwright_runs", "Runs that have not ended.", "status", report.runs)
        yield _gauge("runwright_unknown_effects", "Calls of unknown outcome in open runs.", report.unknown_effects)
        pending = "Approvals that somebody could decide on, by how long they have been waiting."
        yield _family("runwright_approvals_pending", pending, "age", report.pending_approvals)
        oldest = "Age of the approval that has been pending longest."
        yield _gauge("runwright_approvals_oldest_pending_seconds", oldest, report.oldest_approval_us / 1_000_000)
        yield _gauge("runwright_subscribers", "Open streams of events.", report.subscribers)
        lag = "Positions between the journal's head and the subscriber that is furthest behind."
        yield _gauge("runwright_subscriber_lag", lag, report.subscriber_lag)
        yield _gauge("runwright_journal_head", "Position of the last durable event.", report.journal_head)
        yield _gauge("runwright_journal_takes_writes", "1 while runs can be written.", int(report.takes_writes))
        waits = "Age of the oldest append that is not durable yet."
        yield _gauge("runwright_journal_oldest_append_seconds", waits, self._sources.oldest_append())
        sizes = {name: _size(self._sources.directory / name) for name in ("journal.db", "journal.db-wal")}
        yield _family("runwright_journal_bytes", "Size of the journal's files.", "file", sizes)
        free = shutil.disk_usage(self._sources.directory).free
        yield _gauge("runwright_disk_free_bytes", "Free space where the journal is.", free)
        counts = self._sources.executors.counts() if self._sources.executors else {}
        yield _family("runwright_executors", "Tool executors by state.", "state", counts)


class MetricsServer:
    """Serves `/metrics` until it is closed. Raises OSError when the address is taken."""

    def __init__(self, address: str, registry: CollectorRegistry) -> None:
        host, _, port = address.rpartition(":")
        self._server: WSGIServer
        self._thread: Thread
        self._server, self._thread = start_http_server(int(port), host.strip("[]"), registry)
        self.address = f"{host}:{self._server.server_port}"

    def close(self) -> None:
        """Stops serving; a scrape under way may still get its answer."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _gauge(name: str, says: str, value: float) -> Metric:
    return GaugeMetricFamily(name, says, value)


def _family(name: str, says: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, says, labels=(label,))
    for key, value in values.items():
        family.add_metric((key,), value)
    return family


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
