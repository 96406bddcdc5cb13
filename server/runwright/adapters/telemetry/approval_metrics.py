"""Metrics of approvals: how many are asked for, what became of them, how long that took, and where grants answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

from runwright.core import records as r
from runwright.core.approval_dispatches import DispatchResult
from runwright.core.approvals import ApprovalState
from runwright.core.grants import GrantScope
from runwright.core.record import Record

# Seconds: from an answer by a program to one that comes after the weekend.
_WAITS = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 8 * 3600, 24 * 3600, 72 * 3600, 7 * 24 * 3600)
_NO_OUTCOME = (ApprovalState.PENDING, ApprovalState.SUPERSEDED)


class ApprovalMetrics:
    """Counts records of approvals as they become durable. Times are those on record, over restarts of the server."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requested = Counter("runwright_approvals_requested", "Approvals that were asked for.", registry=registry)
        self._closed = Histogram(
            "runwright_approval_wait_seconds",
            "From asking for an approval to what became of it.",
            ("outcome",),
            buckets=_WAITS,
            registry=registry,
        )
        self._escalated = Counter(
            "runwright_approvals_escalated", "Turns that went to the next approver set.", registry=registry
        )
        self._superseded = Counter(
            "runwright_approvals_superseded", "Approvals that were given and not used.", registry=registry
        )
        self._granted = Counter("runwright_grants_issued", "Grants that were given.", ("scope",), registry=registry)
        self._used = Counter(
            "runwright_grants_used", "Calls that a grant permitted in place of asking.", ("scope",), registry=registry
        )
        self._dispatches = Counter(
            "runwright_approval_dispatches", "Attempts at telling a dispatcher.", ("result",), registry=registry
        )
        for result in DispatchResult:
            self._dispatches.labels(result.name.lower())
        for scope in GrantScope:
            self._granted.labels(scope.name.lower())
            self._used.labels(scope.name.lower())
        for state in ApprovalState:
            if state not in _NO_OUTCOME:
                self._closed.labels(state.name.lower())
        self._by_type: Mapping[type[Record], Callable[[Any], None]] = {
            r.ApprovalRequested: lambda _: self._requested.inc(),
            r.ApprovalDecided: lambda decided: self._observe(decided, decided.verdict.state),
            r.ApprovalExpired: lambda expired: self._observe(expired, ApprovalState.EXPIRED),
            r.ApprovalWithdrawn: lambda withdrawn: self._observe(withdrawn, ApprovalState.WITHDRAWN),
            r.ApprovalEscalated: lambda _: self._escalated.inc(),
            r.ApprovalSuperseded: lambda _: self._superseded.inc(),
            r.ApprovalDispatched: lambda told: self._dispatches.labels(told.result.name.lower()).inc(),
            r.GrantIssued: lambda issued: self._granted.labels(issued.grant.scope.name.lower()).inc(),
            r.GrantUsed: lambda used: self._used.labels(used.grant.scope.name.lower()).inc(),
        }

    def count(self, record: Record) -> None:
        """Takes note of a record; of one that is about no approval nothing."""
        counts = self._by_type.get(type(record))
        if counts is not None:
            counts(record)

    def _observe(
        self, record: r.ApprovalDecided | r.ApprovalExpired | r.ApprovalWithdrawn, state: ApprovalState
    ) -> None:
        waited_us = max(0, record.at - record.requested_at)  # a clock may have been set back
        self._closed.labels(state.name.lower()).observe(waited_us / 1_000_000)
