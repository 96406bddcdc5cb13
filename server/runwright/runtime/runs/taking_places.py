"""PlaceTaker: takes places at executors for the calls of one run that are about to be decided on, if any are free."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from runwright.core import inputs as i
from runwright.core.approvals import ApprovalSeparation
from runwright.core.ids import EffectId, call_effect_id
from runwright.core.outcomes import CallPhase, RunPhase
from runwright.core.package import RuntimePackage
from runwright.core.state import CallState, RunState, may_start_call, needs_repair
from runwright.ports.tools import PlaceRequest
from runwright.runtime.ports import Ports
from runwright.runtime.runs.places import CallPlaces


class PlaceTaker:
    """Holds what it takes in `places`, for whoever decides on the input that says so. It never waits."""

    def __init__(self, ports: Ports, package: RuntimePackage, places: CallPlaces) -> None:
        self._ports = ports
        self._package = package
        self._places = places

    def for_requested(self, state: RunState, requested: Sequence[i.RequestedCall]) -> tuple[i.RequestedCall, ...]:
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
            wanted = self._wanted(state, call_effect_id(state.round, index), call.tool)
            found = self._available(replace(wanted, not_by=not_by), has_room)
            room -= found is i.Availability.HELD
            calls.append(replace(call, findings=replace(call.findings, availability=found, not_by=not_by)))
        return tuple(calls)

    def recovered(self, state: RunState, input_: i.Recovered) -> i.Recovered:
        """The news of a restart, with places for the calls that may be sent again at once."""
        if state.phase is not RunPhase.RUNNING or needs_repair(state) or self._heeds_operator(state):
            return input_  # with an operator's rules each call waits for its place, and is looked at again then
        lost = [call for call in state.calls if call.phase is CallPhase.RUNNING and call.idempotent]
        wanted = [self._wanted(state, call.call_id, call.tool) for call in lost]
        held = [each.call_id for each in wanted if self._available(each, has_room=True) is i.Availability.HELD]
        return replace(input_, places=tuple(EffectId(call_id) for call_id in held))

    def for_call(self, state: RunState, call: CallState, not_by: str) -> i.Availability:
        """A place for a call that is about to go on, at somebody else than this principal."""
        wanted = replace(self._wanted(state, call.call_id, call.tool), not_by=not_by)
        return self._available(wanted, may_start_call(state))

    def _available(self, wanted: PlaceRequest, has_room: bool) -> i.Availability:
        """Takes a place for a call that has room, if one is free."""
        call_id = EffectId(wanted.call_id)
        # Several decisions on one call may be looked at before the first of them is decided on: one place is enough.
        is_free = has_room and not self._places.is_offered(call_id)
        if is_free and (place := self._ports.tools.take_place(wanted)):
            self._places.offer(call_id, place, wanted.not_by)
            return i.Availability.HELD
        return i.Availability.BUSY if self._ports.tools.is_reachable(wanted) else i.Availability.AWAY

    def _wanted(self, state: RunState, call_id: EffectId, name: str) -> PlaceRequest:
        tool, call = self._package.tool(name), state.call(call_id)
        assert tool is not None, "only calls of declared tools are made"
        digest, not_by = tool.arguments_digest, call.not_performed_by if call else ""
        return PlaceRequest(state.key, call_id, tool.executor, name, digest, state.package_fingerprint, not_by=not_by)

    def _heeds_operator(self, state: RunState) -> bool:
        """True when the operator has rules, or had some when one of the calls was decided on."""
        now = self._ports.policies.operator_rules(state.key.namespace).digest
        return bool(now) or any(call.policy and call.policy.operator_digest for call in state.calls)


def _issuers(findings: i.Findings) -> list[str]:
    """Those whose grants may answer for the call, and who therefore do not perform it."""
    grants = [grant for said in findings.policies for grant in said.grants]
    told_apart = [each for each in grants if each.separation is ApprovalSeparation.ENFORCED]
    return list(dict.fromkeys(each.grant.issuer for each in told_apart))
