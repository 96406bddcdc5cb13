"""One decision under construction: records are added and applied as they are decided."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from runwright.core import records as r
from runwright.core.apply import apply
from runwright.core.grants import AnsweringGrant
from runwright.core.ids import EffectId
from runwright.core.outcomes import CallPhase
from runwright.core.package import RuntimePackage
from runwright.core.policy import PolicyOpinion
from runwright.core.side_rows import Condition
from runwright.core.state import CallState, RunState
from runwright.core.units import Micros


class Step:
    """Collects the records of one decision; `state` is always the state after them."""

    def __init__(
        self,
        package: RuntimePackage,
        state: RunState,
        at: Micros,
        places: Iterable[EffectId] = (),
        failed: Collection[Condition] = (),
    ) -> None:
        self.package = package
        self.places = frozenset(places)  # the calls for which a place at their executor is held
        self.failed = failed  # what is known not to hold: an append of this very decision was refused for it
        self.state = state
        # Clocks may step back; the time on record never does.
        self.at = max(at, state.updated_at)
        self.records: list[r.Record] = []
        self.asking: dict[EffectId, PolicyOpinion] = {}  # what policies said that want a call approved
        self.answering: dict[EffectId, Sequence[AnsweringGrant]] = {}  # the grants that may answer it
        self.summaries: dict[EffectId, str] = {}  # the call in one line, for whoever is asked
        self.dispatchers: dict[EffectId, Sequence[str]] = {}  # that the operator has told of it

    def add(self, record: r.Record) -> None:
        """Decides one more record."""
        self.state = apply(self.state, record)
        self.records.append(record)

    def calls(self, *phases: CallPhase) -> Sequence[CallState]:
        """The calls of the current round that are in one of the phases, in the model's order."""
        return [call for call in self.state.calls if call.phase in phases]

    def call(self, call_id: EffectId) -> CallState:
        """A call of the current round, as it is by now."""
        call = self.state.call(call_id)
        assert call is not None, f"{call_id} is no call of this round"
        return call
