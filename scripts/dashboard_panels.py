"""What the dashboard shows: the panels of each of its rows, and what each of them asks Prometheus for.

`$s` stands for the selector of the servers that were chosen, `$range` for the range that fits the page's width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Panel(NamedTuple):
    """A panel. `queries` are expressions by the legend of their series; `unit` is one of Grafana's."""

    title: str
    unit: str
    says: str
    queries: Mapping[str, str]
    is_number: bool = False  # a large number instead of curves
    is_stacked: bool = False


def _quantiles(name: str, matchers: str = "", by: str = "") -> dict[str, str]:
    """The median and the 99th percentile of a histogram."""
    groups = f"le, {by}" if by else "le"
    legend = f" {{{{{by}}}}}" if by else ""
    rate = f"sum by ({groups}) (rate({name}_bucket{{$s{matchers}}}[$range]))"
    return {f"{word}{legend}": f"histogram_quantile({share}, {rate})" for word, share in (("p50", 0.5), ("p99", 0.99))}


_DECIDED = ', outcome=~"approved|denied|responded|aborted"'
_DECIDING = 'method=~"runwright.v1.ApprovalService/(DecideApproval|BatchDecide)"'
_UNARY = ', method!~".*/(Subscribe|Wait|Watch|WatchApprovals|ServerReflectionInfo|ExportRun)"'

GLANCE = (
    Panel(
        "Takes writes",
        "bool_yes_no",
        "No while the journal is full, held by another program or takes nothing any more.",
        {"writes": "min(runwright_journal_takes_writes{$s})"},
        is_number=True,
    ),
    Panel("Open runs", "short", "Runs that have not ended.", {"runs": "sum(runwright_runs{$s})"}, is_number=True),
    Panel(
        "Approvals pending",
        "short",
        "What somebody could decide on now.",
        {"approvals": "sum(runwright_approvals_pending{$s})"},
        is_number=True,
    ),
    Panel(
        "Oldest approval pending",
        "s",
        "For how long the approval that has been pending longest has waited for somebody.",
        {"oldest": "max(runwright_approvals_oldest_pending_seconds{$s})"},
        is_number=True,
    ),
    Panel(
        "Calls of unknown outcome",
        "short",
        "Each waits for a person: `runwright effects ls`.",
        {"calls": "sum(runwright_unknown_effects{$s})"},
        is_number=True,
    ),
    Panel(
        "Held runs",
        "short",
        "Runs that the server does not drive: `runwright held ls`.",
        {"runs": 'sum(runwright_runs{$s, status="held"})'},
        is_number=True,
    ),
)
RUNS = (
    Panel(
        "Open runs by status",
        "short",
        "Runs that have not ended.",
        {"{{status}}": "sum by (status) (runwright_runs{$s})"},
        is_stacked=True,
    ),
    Panel(
        "Runs started and ended",
        "ops",
        "A gap that stays means that runs pile up.",
        {
            "started": "sum(rate(runwright_runs_started_total{$s}[$range]))",
            "{{status}}": "sum by (status) (rate(runwright_runs_ended_total{$s}[$range]))",
        },
    ),
    Panel(
        "Why runs ended",
        "ops",
        "By stop reason.",
        {"{{stop_reason}}": "sum by (stop_reason) (rate(runwright_runs_ended_total{$s}[$range]))"},
        is_stacked=True,
    ),
)
APPROVALS = (
    Panel(
        "Pending by age",
        "short",
        "Approvals that somebody could decide on, by how long they have been waiting.",
        {"{{age}}": "sum by (age) (runwright_approvals_pending{$s})"},
        is_stacked=True,
    ),
    Panel(
        "Time to decision",
        "s",
        "From asking to what somebody decided, by the times on record.",
        _quantiles("runwright_approval_wait_seconds", _DECIDED),
    ),
    Panel(
        "What became of approvals",
        "short",
        "An hour's worth. Many that expire: nobody looks. Nearly all approved: the rules ask too much.",
        {"{{outcome}}": "sum by (outcome) (increase(runwright_approval_wait_seconds_count{$s}[1h]))"},
        is_stacked=True,
    ),
    Panel(
        "Asks per run",
        "short",
        "Approvals asked for by runs started, over an hour. Who is asked too often reads no more.",
        {
            "asks per run": "sum(increase(runwright_approvals_requested_total{$s}[1h]))"
            " / sum(increase(runwright_runs_started_total{$s}[1h]))"
        },
    ),
    Panel(
        "Handed over and given in vain",
        "short",
        "An hour's worth: turns that went to the next approver set, and approvals that policies asked for anew.",
        {
            "next set": "sum(increase(runwright_approvals_escalated_total{$s}[1h]))",
            "superseded": "sum(increase(runwright_approvals_superseded_total{$s}[1h]))",
        },
    ),
    Panel(
        "Grants",
        "short",
        "An hour's worth: grants that were given, and calls for which one answered in place of a person.",
        {
            "given": "sum(increase(runwright_grants_issued_total{$s}[1h]))",
            "answered": "sum(increase(runwright_grants_used_total{$s}[1h]))",
        },
    ),
    Panel(
        "Dispatchers",
        "short",
        "An hour's worth of attempts at telling a dispatcher, by what came of them. One that is down decides nothing.",
        {"{{result}}": "sum by (result) (increase(runwright_approval_dispatches_total{$s}[1h]))"},
        is_stacked=True,
    ),
    Panel(
        "Decisions by answer",
        "short",
        "An hour's worth of calls by their status. PERMISSION_DENIED: somebody who may not tried; see the audit.",
        {"{{code}}": f"sum by (code) (increase(runwright_grpc_call_seconds_count{{$s, {_DECIDING}}}[1h]))"},
        is_stacked=True,
    ),
)
WORK = (
    Panel(
        "Model requests",
        "ops",
        "By what came of them.",
        {"{{outcome}}": "sum by (outcome) (rate(runwright_model_attempts_total{$s}[$range]))"},
        is_stacked=True,
    ),
    Panel(
        "Tokens",
        "ops",
        "As vendors count them, a second.",
        {
            "read {{gen_ai_request_model}}": "sum by (gen_ai_request_model)"
            " (rate(gen_ai_client_inference_usage_input_tokens_total{$s}[$range]))",
            "written {{gen_ai_request_model}}": "sum by (gen_ai_request_model)"
            " (rate(gen_ai_client_inference_usage_output_tokens_total{$s}[$range]))",
        },
    ),
    Panel(
        "Tool calls",
        "ops",
        "By what came of them.",
        {"{{outcome}}": "sum by (outcome) (rate(runwright_tool_attempts_total{$s}[$range]))"},
        is_stacked=True,
    ),
    Panel(
        "Executors",
        "short",
        "Connected should be as many as configured.",
        {"{{state}}": "sum by (state) (runwright_executors{$s})"},
    ),
)
CALLS = (
    Panel(
        "Calls by method",
        "reqps",
        "gRPC calls served; streams count when they end.",
        {"{{method}}": "sum by (method) (rate(runwright_grpc_call_seconds_count{$s}[$range]))"},
        is_stacked=True,
    ),
    Panel(
        "Calls that failed",
        "reqps",
        "By status. INTERNAL and UNKNOWN are faults of the server.",
        {"{{code}}": 'sum by (code) (rate(runwright_grpc_call_seconds_count{$s, code!="OK"}[$range]))'},
        is_stacked=True,
    ),
    Panel(
        "Duration of calls",
        "s",
        "Streams, and calls that wait for a run, are left out.",
        _quantiles("runwright_grpc_call_seconds", _UNARY),
    ),
    Panel(
        "Streams of events",
        "short",
        "How many are open, and how many events the one furthest behind has not been sent.",
        {
            "open": "sum(runwright_subscribers{$s})",
            "furthest behind": "max(runwright_subscriber_lag{$s})",
        },
    ),
)
JOURNAL = (
    Panel(
        "Time to durable",
        "s",
        "From handing records over to their being on disk.",
        _quantiles("runwright_journal_append_seconds"),
    ),
    Panel(
        "Records",
        "ops",
        "Events that became durable, and the commits they shared.",
        {
            "events": "sum(rate(runwright_journal_commit_records_sum{$s}[$range]))",
            "commits": "sum(rate(runwright_journal_commit_records_count{$s}[$range]))",
        },
    ),
    Panel(
        "Events on record",
        "short",
        "Position of the last durable event.",
        {"{{instance}}": "runwright_journal_head{$s}"},
    ),
    Panel(
        "Age of the queue",
        "s",
        "For how long the oldest append that is not durable yet has waited.",
        {"{{instance}}": "max by (instance) (runwright_journal_oldest_append_seconds{$s})"},
    ),
    Panel(
        "Size and free space",
        "bytes",
        "The journal's files, and what is left where they are.",
        {
            "{{file}}": "sum by (file) (runwright_journal_bytes{$s})",
            "free": "min(runwright_disk_free_bytes{$s})",
        },
    ),
)
PROCESS = (
    Panel(
        "Event loop",
        "s",
        "How late the loop came round.",
        _quantiles("runwright_event_loop_lag_seconds"),
    ),
    Panel(
        "Stalls",
        "short",
        "Times the loop did not turn for `loop_stall_ms`; the log says where.",
        {"{{instance}}": "increase(runwright_event_loop_stalls_total{$s}[$range])"},
    ),
    Panel(
        "Processors",
        "percentunit",
        "A server uses one for Python, and parts of others for gRPC and the disk.",
        {"{{instance}}": "rate(process_cpu_seconds_total{$s}[$range])"},
    ),
    Panel(
        "Memory",
        "bytes",
        "Resident.",
        {"{{instance}}": "process_resident_memory_bytes{$s}"},
    ),
    Panel(
        "Version",
        "short",
        "Servers by what runs there.",
        {"{{version}}, Python {{python}}": "count by (version, python) (runwright_build_info{$s})"},
    ),
)
ROWS: Mapping[str, Sequence[Panel]] = {
    "At a glance": GLANCE,
    "Approvals": APPROVALS,
    "Runs": RUNS,
    "Models and tools": WORK,
    "Calls and streams": CALLS,
    "Journal": JOURNAL,
    "Process": PROCESS,
}
