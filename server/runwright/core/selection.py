"""Selections: which events a stream covers, by scope and filter, and which runs a list shows."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from msgspec import Struct, field
from pydantic import JsonValue

from runwright.core.cursor import run_scope
from runwright.core.fingerprint import canonical_json
from runwright.core.ids import Namespace, RunId, RunKey
from runwright.core.kinds import TERMINAL, EventKind
from runwright.core.outcomes import RunStatus


class ScopeKind(Enum):
    """What the id of a scope is the id of."""

    RUN = "run"
    SESSION = "session"
    AGENT = "agent"
    ALL = "all"


class Scope(Struct, frozen=True):
    """The events of one run, or of all runs of a session, an agent or a namespace. `id` is empty for ALL."""

    namespace: Namespace
    kind: ScopeKind
    id: str = ""


class EventFilter(Struct, frozen=True, kw_only=True):
    """Which events of a scope are wanted. An empty dimension means any; an event must fit all the others."""

    kinds: frozenset[EventKind] = frozenset()
    terminal_only: bool = False
    run_ids: frozenset[str] = frozenset()
    agent_ids: frozenset[str] = frozenset()
    session_ids: frozenset[str] = frozenset()

    @property
    def wanted_kinds(self) -> frozenset[EventKind] | None:
        """The kinds that get through; None when all do."""
        if self.terminal_only:
            return self.kinds & TERMINAL if self.kinds else TERMINAL
        return self.kinds or None

    def passes(self, run_id: str, session_id: str, agent_id: str, kind: EventKind) -> bool:
        """True for an event with these index columns that is wanted."""
        kinds = self.wanted_kinds
        return (kinds is None or kind in kinds) and self.passes_run(run_id, session_id, agent_id)

    def passes_run(self, run_id: str, session_id: str, agent_id: str) -> bool:
        """True for a run of which something may be wanted."""
        return (
            (not self.run_ids or run_id in self.run_ids)
            and (not self.session_ids or session_id in self.session_ids)
            and (not self.agent_ids or agent_id in self.agent_ids)
        )


EVERYTHING = EventFilter()


class Selection(Struct, frozen=True):
    """A scope and a filter: one stream."""

    scope: Scope
    filter: EventFilter = EVERYTHING

    @classmethod
    def of_run(cls, run: RunKey, wanted: EventFilter = EVERYTHING) -> Selection:
        """The events of one run."""
        return cls(Scope(run.namespace, ScopeKind.RUN, run.run_id), wanted)

    @property
    def run(self) -> RunKey | None:
        """The run of a run's stream; None for a stream of many runs."""
        if self.scope.kind is not ScopeKind.RUN:
            return None
        return RunKey(self.scope.namespace, RunId(self.scope.id))

    def covers(self, run: RunKey, session_id: str, agent_id: str, kind: EventKind) -> bool:
        """True for an event with these index columns that belongs to the stream."""
        return self._is_inside(run, session_id, agent_id) and self.filter.passes(run.run_id, session_id, agent_id, kind)

    def covers_run(self, run: RunKey, session_id: str, agent_id: str) -> bool:
        """True for a run of which events, of whatever kind, belong to the stream."""
        return self._is_inside(run, session_id, agent_id) and self.filter.passes_run(run.run_id, session_id, agent_id)

    def _is_inside(self, run: RunKey, session_id: str, agent_id: str) -> bool:
        scope = self.scope
        match scope.kind:
            case ScopeKind.RUN:
                inside = run.run_id == scope.id
            case ScopeKind.SESSION:
                inside = session_id == scope.id
            case ScopeKind.AGENT:
                inside = agent_id == scope.id
            case ScopeKind.ALL:
                inside = True
        return inside and run.namespace == scope.namespace

    def cursor_scope(self) -> str:
        """The text that stands for the stream in its cursors: the same for the same selection, however written."""
        if self.run is not None and self.filter == EVERYTHING:
            return run_scope(self.run)
        wanted: dict[str, JsonValue] = {
            "agent_ids": [*sorted(self.filter.agent_ids)],
            "kinds": [*sorted(kind.value for kind in self.filter.kinds)],
            "run_ids": [*sorted(self.filter.run_ids)],
            "session_ids": [*sorted(self.filter.session_ids)],
            "terminal_only": self.filter.terminal_only,
        }
        scope = self.scope
        return f"events\0{scope.namespace}\0{scope.kind.value}\0{scope.id}\0{canonical_json(wanted).decode()}"


class RunFilter(Struct, frozen=True, kw_only=True):
    """Which runs of a namespace are wanted. An empty dimension means any; a run must fit all the others."""

    statuses: frozenset[RunStatus] = frozenset()
    agent_id: str = ""
    session_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def passes(self, status: RunStatus, agent_id: str, session_id: str, labels: Mapping[str, str]) -> bool:
        """True for a run that is wanted."""
        return (
            (not self.statuses or status in self.statuses)
            and self.agent_id in ("", agent_id)
            and self.session_id in ("", session_id)
            and self.labels.items() <= labels.items()
        )

    def page_scope(self, namespace: Namespace) -> str:
        """The text that stands for the list in its page tokens."""
        wanted: dict[str, JsonValue] = {
            "agent_id": self.agent_id,
            "labels": dict(self.labels),
            "session_id": self.session_id,
            "statuses": [*sorted(status.value for status in self.statuses)],
        }
        return f"runs\0{namespace}\0{canonical_json(wanted).decode()}"


ANY_RUN = RunFilter()
