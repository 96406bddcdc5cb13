"""Which calls a place is held for while an input is decided on."""

from __future__ import annotations

from runwright.core import inputs as i
from runwright.core.ids import EffectId, call_effect_id


def places_held(input_: i.Input) -> list[EffectId]:
    """The calls for which a place is held while this input is decided on."""
    match input_:
        case i.ModelReplied():
            return [
                call_effect_id(input_.round, index)
                for index, call in enumerate(input_.calls, start=1)
                if call.findings.availability is i.Availability.HELD
            ]
        case i.ExecutorAwaited(has_place=True) | i.ReconcileAwaited(has_place=True):
            return [input_.call_id]
        case i.ApprovalDecisionRequested(call_id=call_id, availability=i.Availability.HELD) if call_id is not None:
            return [call_id]
        case i.ApprovalDispatchReported(decision=i.ApprovalDecisionRequested() as decision):
            return places_held(decision)
        case i.Recovered():
            return list(input_.places)
        case i.ConditionFailed():
            return places_held(input_.of)
        case _:
            return []
