"""Metrics for Prometheus: counted as things happen where nothing else knows them, else collected at the scrape.

No label has more values than this program or the operator's configuration has
names: never a run, session, tool or principal.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence

import grpc
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

from runwright import __version__
from runwright.adapters.clock import monotonic
from runwright.adapters.telemetry import conventions as c
from runwright.adapters.telemetry.approval_metrics import ApprovalMetrics
from runwright.core import records as r
from runwright.core.ids import CALL_EFFECT, RunKey, effect_kind
from runwright.core.kinds import KINDS, TERMINAL
from runwright.core.outcomes import RunStatus, StopReason
from runwright.core.records import Record
from runwright.core.state import RunState
from runwright.ports.journal import StoredEvent

_MODEL_OUTCOMES = {r.ModelMessageCompleted: "completed", r.ModelAttemptFailed: "failed"}
_TOOL_OUTCOMES = {
    r.ToolCompleted: "completed",
    r.ToolFailed: "failed",
    r.ToolDenied: "denied",
    r.ToolCancelled: "cancelled",
    r.ToolRecoveryRequired: "unknown",
}
_TOOL_RETRIED = "retried"
_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_CALLS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0)
_LAGS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_RECORDS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """An AppendObserver, a CallMeter, a LoopMeter and a listener of the journal; `registry` is what a scrape gets."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # twice the series, for nothing
        self.registry = registry = CollectorRegistry()
        self._started = Counter("runwright_runs_started", "Runs that began.", registry=registry)
        self._ended = Counter("runwright_runs_ended", "Runs that ended.", ("status", "stop_reason"), registry=registry)
        self._model = Counter("runwright_model_attempts", "Model requests that ended.", ("outcome",), registry=registry)
        self._tools = Counter(
            "runwright_tool_attempts", "Tool calls by what came of them.", ("outcome",), registry=registry
        )
        self._input_tokens = _tokens(c.USAGE_INPUT_TOKENS, "Tokens that models read.", registry)
        self._output_tokens = _tokens(c.USAGE_OUTPUT_TOKENS, "Tokens that models wrote.", registry)
        self._approvals = ApprovalMetrics(registry)
        self._append = Histogram(
            "runwright_journal_append_seconds",
            "From handing records over to their being durable.",
            buckets=_FAST,
            registry=registry,
        )
        self._commit = Histogram(
            "runwright_journal_commit_records", "Records that shared one commit.", buckets=_RECORDS, registry=registry
        )
        self._calls = Histogram(
            "runwright_grpc_call_seconds",
            "gRPC calls served, streams by their whole length.",
            ("method", "code"),
            buckets=_CALLS,
            registry=registry,
        )
        self._lag = Histogram(
            "runwright_event_loop_lag_seconds", "How late the event loop came round.", buckets=_LAGS, registry=registry
        )
        self._stalls = Counter("runwright_event_loop_stalls", "Times the event loop did not turn.", registry=registry)
        info = Info("runwright_build", "What runs here.", registry=registry)
        info.info({"version": __version__, "python": platform.python_version(), "grpc": grpc.__version__})
        ProcessCollector(registry=registry)
        self._show_zeros()

    def _show_zeros(self) -> None:
        """A series that is there from the start makes `increase()` see its first step."""
        for outcome in _MODEL_OUTCOMES.values():
            self._model.labels(outcome)
        for outcome in (*_TOOL_OUTCOMES.values(), _TOOL_RETRIED):
            self._tools.labels(outcome)

    def appended(self, run: RunKey, records: Sequence[Record], state: RunState, seconds: float) -> None:
        """See AppendObserver."""
        self._append.observe(seconds)
        for record in records:
            kind = type(record)
            if kind in _TOOL_OUTCOMES:
                self._tools.labels(_TOOL_OUTCOMES[kind]).inc()
            elif kind in _MODEL_OUTCOMES:
                self._model.labels(_MODEL_OUTCOMES[kind]).inc()
                if isinstance(record, r.ModelMessageCompleted):
                    spent = (c.CHAT, state.provider, state.model, c.UNKNOWN)
                    self._input_tokens.labels(*spent).inc(record.input_tokens)
                    self._output_tokens.labels(*spent).inc(record.output_tokens)
            elif isinstance(record, r.RetryScheduled):
                if effect_kind(record.effect_id) == CALL_EFFECT:
                    self._tools.labels(_TOOL_RETRIED).inc()
            elif isinstance(record, r.RunStarted):
                self._started.inc()
            elif KINDS[kind] in TERMINAL:
                self._ended.labels(*_end(state)).inc()
            else:
                self._approvals.count(record)

    def committed(self, events: Sequence[StoredEvent]) -> None:
        """For `Journal.listen`: one commit."""
        self._commit.observe(len(events))

    def begun(self) -> float:
        """See CallMeter."""
        return monotonic()

    def ended(self, method: str, code: str, begun: float) -> None:
        """See CallMeter."""
        self._calls.labels(method.lstrip("/"), code).observe(monotonic() - begun)

    def turned(self, late_seconds: float) -> None:
        """See LoopMeter."""
        self._lag.observe(late_seconds)

    def stalled(self) -> None:
        """See LoopMeter."""
        self._stalls.inc()


def _tokens(name: str, message: str, registry: CollectorRegistry) -> Counter:
    """A counter of the conventions, under the names that Prometheus has for theirs."""
    labels = (c.OPERATION, c.PROVIDER, c.REQUEST_MODEL, c.TOKEN_MODALITY)
    return Counter(_name(name), message, [_name(label) for label in labels], registry=registry)


def _name(value: str) -> str:
    return value.replace(".", "_")


def _end(state: RunState) -> tuple[str, str]:
    stop = state.stop or StopReason.INTERNAL
    return RunStatus(state.phase.value).name.lower(), stop.name.lower()
