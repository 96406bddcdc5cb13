"""A request for a grant, and what lists of grants are asked for: their rules."""

from __future__ import annotations

import re

from msgspec import Struct
from pydantic import JsonValue

from runwright.core.errors import invalid_request
from runwright.core.grant_rows import Revocation
from runwright.core.grants import Grant, GrantMatcher, GrantRequest, GrantState
from runwright.core.ids import EffectId, RunId, check_caller_id, parse_effect_id
from runwright.core.units import Micros, span_us

MAX_CONDITION_BYTES = 1024
MAX_NOTE_BYTES = 1024
_GRANT = re.compile(r"g[1-9][0-9]{0,8}\.[1-9][0-9]{0,8}\.[1-9][0-9]{0,8}\Z")


def check_grant(grant: GrantRequest) -> None:
    """Raises INVALID_REQUEST for the first field that breaks its rule, naming it."""
    has_condition = grant.matcher is GrantMatcher.CONSTRAINTS
    if has_condition and not grant.condition:
        raise invalid_request("grant.condition", "set, with CONSTRAINTS", "Write it in CEL over `args`.")
    if grant.condition and not has_condition:
        raise invalid_request("grant.condition", "empty, unless with CONSTRAINTS", "Leave it out.")
    if len(grant.condition.encode()) > MAX_CONDITION_BYTES:
        raise invalid_request("grant.condition", f"at most {MAX_CONDITION_BYTES} bytes", "Shorten it.")
    if grant.uses < 1:
        raise invalid_request("grant.uses", "at least 1", "Say for how many calls it is to answer.")
    if not span_us(grant.valid_for):
        raise invalid_request("grant.valid_for", "a time such as 90s, 15m, 8h or 2d", "Say how long it is to last.")


def grant_form(grant: GrantRequest) -> JsonValue:
    """What a repeated request must match."""
    return {
        "condition": grant.condition,
        "matcher": grant.matcher.name,
        "scope": grant.scope.name,
        "tainted": grant.tainted,
        "uses": grant.uses,
        "valid_for": grant.valid_for,
    }


def run_of_grant(grant_id: str) -> RunId:
    """The run that the id of a grant names. Raises INVALID_REQUEST."""
    run_id, _, own = grant_id.rpartition("/")
    if not _GRANT.match(own):
        raise invalid_request("grant_id", "a grant's id, such as run-1/g1.1.1", "`runwright grants ls` shows them.")
    parse_effect_id(EffectId(own))
    return RunId(check_caller_id("grant_id", run_id))


class StandingGrant(Struct, frozen=True):
    """A grant as it stands: how often it still answers, and who took it back."""

    grant: Grant
    left: int
    at: Micros
    revocation: Revocation | None = None

    @property
    def state(self) -> GrantState:
        """Where it stands."""
        if self.revocation is not None:
            return GrantState.REVOKED
        if not self.left:
            return GrantState.USED_UP
        return GrantState.OPEN if self.at < self.grant.until else GrantState.EXPIRED


class GrantFilter(Struct, frozen=True, kw_only=True):
    """Which grants of a namespace are wanted. An empty dimension means any; without states: those that are open."""

    states: frozenset[GrantState] = frozenset()
    tool: str = ""
    agent_id: str = ""
    run_id: str = ""
    issuer: str = ""

    def check(self) -> None:
        """Raises INVALID_REQUEST for states that are in two lists."""
        if GrantState.OPEN in self.states and len(self.states) > 1:
            raise invalid_request("states", "OPEN alone, or others without it", "Ask twice: they are two lists.")
        if self.run_id:
            check_caller_id("run_id", self.run_id)

    @property
    def is_of_open(self) -> bool:
        """True for the list of those that answer."""
        return not self.states or GrantState.OPEN in self.states

    def passes(self, grant: Grant) -> bool:
        """True for a grant that is wanted, wherever it stands."""
        return (
            self.tool in ("", grant.tool)
            and self.agent_id in ("", grant.agent_id)
            and self.run_id in ("", grant.run_id)
            and self.issuer in ("", grant.issuer)
        )
