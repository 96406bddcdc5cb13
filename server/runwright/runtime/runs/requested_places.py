"""Places at executors for the calls of an answer, taken with what was found for each: before anything is decided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from msgspec.structs import replace

from runwright.core import inputs as i
from runwright.core.approvals import ApprovalSeparation
from runwright.core.ids import EffectId, call_effect_id
from runwright.core.state import RunState

# Takes a place for a call of a tool, at somebody else than that principal, if there is room for another call.
TakePlace: TypeAlias = Callable[[EffectId, str, str, bool], i.Availability]


def with_places(state: RunState, requested: Sequence[i.RequestedCall], take: TakePlace) -> tuple[i.RequestedCall, ...]:
    """The calls, each with a place at its executor if one is free: as many as may run at once, in their order.

    Nothing is awaited from here on, so whatever ends this effect comes before the places are taken.
    """
    calls, room = [], state.budget.parallel_calls
    for index, call in enumerate(requested, start=1):
        if call.findings.problem is not None:
            calls.append(call)
            continue
        issuers = _issuers(call.findings)
        # Whose grant will answer is not known yet: with several there is no place that is nobody's of them.
        not_by, has_room = issuers[0] if issuers else "", room > 0 and len(issuers) < 2
        found = take(call_effect_id(state.round, index), call.tool, not_by, has_room)
        room -= found is i.Availability.HELD
        calls.append(replace(call, findings=replace(call.findings, availability=found, not_by=not_by)))
    return tuple(calls)


def _issuers(findings: i.Findings) -> list[str]:
    """Those whose grants may answer for the call, and who therefore do not perform it."""
    grants = [grant for said in findings.policies for grant in said.grants]
    told_apart = [each for each in grants if each.separation is ApprovalSeparation.ENFORCED]
    return list(dict.fromkeys(each.grant.issuer for each in told_apart))
