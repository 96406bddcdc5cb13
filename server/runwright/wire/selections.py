"""Scopes and filters: proto → core. Every field that breaks its rule is named."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from runwright._gen.runwright.v1 import event_pb2, run_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.core.errors import invalid_request
from runwright.core.ids import Namespace, RunId, RunKey, check_caller_id
from runwright.core.kinds import EventKind
from runwright.core.outcomes import RunStatus
from runwright.core.request import MAX_LABEL_BYTES, MAX_LABELS
from runwright.core.selection import EventFilter, RunFilter, Scope, ScopeKind, Selection
from runwright.wire.ephemeral import EPHEMERAL_KINDS

MAX_FILTER_ENTRIES = 100
_SCOPES = {"session_id": ScopeKind.SESSION, "agent_id": ScopeKind.AGENT}
_KNOWN_KINDS = {kind.value for kind in EventKind}
_KNOWN_STATUSES = {status.value for status in RunStatus}


def selection(message: pb.SubscribeRequest | pb.ListEventsRequest, namespace: Namespace) -> Selection:
    """The stream a request names. Raises INVALID_REQUEST for a scope or filter that breaks its rule."""
    wanted = _event_filter(message.filter)
    name = message.scope.WhichOneof("scope")
    match name:
        case "run_id":
            return Selection.of_run(RunKey(namespace, RunId(check_caller_id("run_id", message.scope.run_id))), wanted)
        case "session_id" | "agent_id":
            value = check_caller_id(f"scope.{name}", getattr(message.scope, name))
            return Selection(Scope(namespace, _SCOPES[name], value), wanted)
        case "all":
            return Selection(Scope(namespace, ScopeKind.ALL), wanted)
        case _:
            raise invalid_request(
                "scope", "set to one of: run_id, session_id, agent_id, all", "Set all for every run of the namespace."
            )


def run_filter(message: pb.RunFilter) -> RunFilter:
    """The filter of a list of runs. Raises INVALID_REQUEST for a field that breaks its rule."""
    _bounded("filter.statuses", message.statuses)
    for index, status in enumerate(message.statuses):
        if status not in _KNOWN_STATUSES:
            raise invalid_request(
                f"filter.statuses[{index}]",
                _one_of(run_pb2.RunStatus.keys()),
                "Name a status, or leave the filter out.",
            )
    for name in ("agent_id", "session_id"):
        if value := getattr(message, name):
            check_caller_id(f"filter.{name}", value)
    if len(message.labels) > MAX_LABELS:
        raise invalid_request(
            "filter.labels", f"at most {MAX_LABELS} labels", "Runs have no more labels than that: leave some out."
        )
    for key, value in message.labels.items():
        check_caller_id("filter.labels", key)
        if len(value.encode()) > MAX_LABEL_BYTES:
            raise invalid_request(
                f"filter.labels[{key}]",
                f"at most {MAX_LABEL_BYTES} bytes",
                "Labels of runs are not longer: shorten it.",
            )
    return RunFilter(
        statuses=frozenset(RunStatus(status) for status in message.statuses),
        agent_id=message.agent_id,
        session_id=message.session_id,
        labels=dict(message.labels),
    )


def _event_filter(message: pb.EventFilter) -> EventFilter:
    _bounded("filter.kinds", message.kinds)
    for index, kind in enumerate(message.kinds):
        if kind not in _KNOWN_KINDS:
            durable = (name for name, number in event_pb2.EventKind.items() if number not in EPHEMERAL_KINDS)
            raise invalid_request(
                f"filter.kinds[{index}]", _one_of(durable), "Leave it out; deltas are asked for by include_deltas."
            )
    return EventFilter(
        kinds=frozenset(EventKind(kind) for kind in message.kinds),
        terminal_only=message.terminal_only,
        run_ids=_ids("filter.run_ids", message.run_ids),
        agent_ids=_ids("filter.agent_ids", message.agent_ids),
        session_ids=_ids("filter.session_ids", message.session_ids),
    )


def _ids(field: str, values: Sequence[str]) -> frozenset[str]:
    _bounded(field, values)
    return frozenset(check_caller_id(f"{field}[{index}]", value) for index, value in enumerate(values))


def _bounded(field: str, values: Sequence[object]) -> None:
    if len(values) > MAX_FILTER_ENTRIES:
        raise invalid_request(
            field, f"at most {MAX_FILTER_ENTRIES} entries", "Ask several times, or filter what comes without it."
        )


def _one_of(names: Iterable[str]) -> str:
    return "one of " + ", ".join(name for name in names if not name.endswith("_UNSPECIFIED"))
