"""The report: a runtime at a glance, for whoever watches the server as a whole."""

from __future__ import annotations

from runwright.ports.telemetry import RuntimeReport
from runwright.runtime.ports import Ports
from runwright.runtime.runs.supervisor import Supervisor
from runwright.runtime.streams.readers import StreamReaders


def report_of(ports: Ports, supervisor: Supervisor, readers: StreamReaders) -> RuntimeReport:
    """How its runs, approvals, streams and journal stand now; callable on any thread."""
    runs, unknown = supervisor.statistics()
    approvals = supervisor.pending_approvals(ports.clock.now())
    head = ports.journal.head
    return RuntimeReport(
        runs=runs,
        unknown_effects=unknown,
        pending_approvals=approvals.by_age,
        oldest_approval_us=approvals.oldest_us,
        subscribers=len(readers),
        subscriber_lag=readers.lag(head),
        journal_head=head,
        takes_writes=supervisor.blocked_by is None,
    )
