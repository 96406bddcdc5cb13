"""Grants: permissions that answer where somebody would be asked. The values, which may be given, and what they answer.

A grant is given with an approval, within what the package's approval rule offers, and answers asks for the approval of
that name alone. It is bound to the package by its fingerprint: under another package nothing is as it was when somebody
gave it, be it a schema, the rule that asks, or who may decide.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from msgspec import Struct
from pydantic import JsonValue

from runwright.core.approvals import ApprovalSeparation
from runwright.core.content import digest
from runwright.core.fingerprint import canonical_plain_json
from runwright.core.ids import EffectId, effect_id, parse_effect_id
from runwright.core.units import Micros, span_us

GRANT_EFFECT = "g"


class GrantScope(Enum):
    """For which runs a grant answers. The numbers are those of `runwright.v1.GrantScope`."""

    RUN = 1
    SESSION = 2
    AGENT_AND_PRINCIPAL = 3
    NAMESPACE = 4

    __hash__ = object.__hash__


class GrantMatcher(Enum):
    """For which calls of its tool a grant answers. The numbers are those of `runwright.v1.GrantMatcher`."""

    EXACT_ARGUMENTS = 1
    CONSTRAINTS = 2
    ANY = 3

    __hash__ = object.__hash__


class GrantState(Enum):
    """Where a grant stands. The numbers are those of `runwright.v1.GrantState`."""

    OPEN = 1
    USED_UP = 2
    EXPIRED = 3
    REVOKED = 4

    __hash__ = object.__hash__


class GrantOffer(Struct, frozen=True):
    """Which grants whoever approves may give; `max_time` as packages write a length of time."""

    scopes: tuple[GrantScope, ...]
    matchers: tuple[GrantMatcher, ...]
    max_uses: int
    max_time: str
    tainted: bool = False

    def for_call(self, *, is_grantable: bool, has_session: bool) -> GrantOffer | None:
        """What is left of it for a call of a tool in a run; None: nothing is."""
        matchers = tuple(each for each in self.matchers if is_grantable or each is not GrantMatcher.ANY)
        scopes = tuple(each for each in self.scopes if has_session or each is not GrantScope.SESSION)
        if not (matchers and scopes):
            return None
        return GrantOffer(scopes, matchers, self.max_uses, self.max_time, self.tainted)


class GrantRequest(Struct, frozen=True):
    """A grant as whoever approves asks for it. `valid_for` is a length of time as packages write it."""

    scope: GrantScope
    matcher: GrantMatcher
    condition: str = ""
    uses: int = 0
    valid_for: str = ""
    tainted: bool = False


class NotOffered(Enum):
    """Why a grant may not be given: the values of `rule` in GRANT_NOT_OFFERED."""

    SCOPE = "scope"
    MATCHER = "matcher"
    USES = "uses"
    VALID_FOR = "valid_for"
    TAINTED = "tainted"
    ROOM = "room"


def why_not_offered(offer: GrantOffer | None, request: GrantRequest) -> NotOffered | None:
    """Why a grant is not among those that are offered with an approval; None: it is."""
    if offer is None or request.scope not in offer.scopes:
        return NotOffered.SCOPE
    if request.matcher not in offer.matchers:
        return NotOffered.MATCHER
    if request.uses > offer.max_uses:
        return NotOffered.USES
    if span_us(request.valid_for) > span_us(offer.max_time):
        return NotOffered.VALID_FOR
    return NotOffered.TAINTED if request.tainted and not offer.tainted else None


class Grant(Struct, frozen=True):
    """A permission. It never changes: what is left of it is counted beside it. Times are microseconds.

    Run, session, agent and principal are those of the run that it was issued in; which of them another run must have in
    common with it, `scope` says.
    """

    grant_id: str  # in its namespace
    scope: GrantScope
    run_id: str
    session_id: str
    agent_id: str
    principal: str
    package_fingerprint: str
    tool: str
    executor: str
    schema_digest: str
    approval: str
    matcher: GrantMatcher
    arguments_digest: str
    condition: str
    uses: int
    until: Micros
    tainted: bool
    issuer: str
    approval_id: str  # in its namespace
    issued_at: Micros
    issued_seq: int

    @property
    def lookup_key(self) -> str:
        """Where calls that it may answer for look for it."""
        return lookup_key(self, self.scope, self.matcher)


class CalledTool(Struct, frozen=True):
    """One call of a tool, as far as grants need to know it beside its run."""

    tool: str
    arguments_digest: str
    tainted: bool


class GrantableCall(Struct, frozen=True):
    """What a call is to grants: whose it is, and what is about to be done."""

    run_id: str
    session_id: str
    agent_id: str
    principal: str
    package_fingerprint: str
    tool: str
    executor: str
    schema_digest: str
    approval: str
    arguments_digest: str
    tainted: bool
    four_eyes: bool  # of the approval: no grant of whoever started the run answers

    def lookup_keys(self, offer: GrantOffer) -> Iterator[str]:
        """Where the grants are that may answer for it: the narrowest scope first, exact arguments before others."""
        for scope in GrantScope:
            if scope not in offer.scopes or (scope is GrantScope.SESSION and not self.session_id):
                continue
            yield from dict.fromkeys(lookup_key(self, scope, matcher) for matcher in offer.matchers)


class AnsweringGrant(Struct, frozen=True):
    """A grant that the edge found for a call, whose condition the call's arguments fulfil.

    `issued_hash` is that of the event that issued it; `left` is how often it still answered when it was looked up;
    `separation` is the server's now.
    """

    grant: Grant
    issued_hash: bytes
    left: int
    separation: ApprovalSeparation = ApprovalSeparation.ENFORCED


def may_answer(grant: Grant, call: GrantableCall, at: Micros) -> bool:
    """Whether a grant is for a call, by all that is known without its bytes: conditions are found out at the edge."""
    if grant.scope is GrantScope.SESSION and not grant.session_id:
        return False
    if call.tainted and not grant.tainted:
        return False
    if call.four_eyes and grant.issuer == call.principal:
        return False
    return lookup_key(call, grant.scope, grant.matcher) == grant.lookup_key and at < grant.until


def grant_effect_id(approval_id: EffectId) -> EffectId:
    """The id inside a run of the grant that is given with an approval: `g3.2.1` with `a3.2.1`."""
    return effect_id(GRANT_EFFECT, *parse_effect_id(approval_id).numbers)


def lookup_key(of: Grant | GrantableCall, scope: GrantScope, matcher: GrantMatcher) -> str:
    """Where grants are that are alike in all but what their condition says: whose and for what they are, as one digest.

    Those for exact arguments have a place for each set of arguments.
    """
    whose: dict[GrantScope, list[JsonValue]] = {
        GrantScope.RUN: [of.run_id],
        GrantScope.SESSION: [of.session_id],
        GrantScope.AGENT_AND_PRINCIPAL: [of.agent_id, of.principal],
        GrantScope.NAMESPACE: [],
    }
    arguments = of.arguments_digest if matcher is GrantMatcher.EXACT_ARGUMENTS else ""
    what: list[JsonValue] = [of.package_fingerprint, of.tool, of.executor, of.schema_digest, of.approval, arguments]
    form: dict[str, JsonValue] = {"scope": scope.name, "whose": whose[scope], "what": what}
    return digest(canonical_plain_json(form)).rpartition(":")[2]
