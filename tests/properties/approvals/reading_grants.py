"""Grants as they are on record: given as they are offered, used for what they are for, and never more often."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from runwright._gen.runwright.v1 import grant_pb2

from tests.properties.approvals.people import People
from tests.properties.approvals.read_run import Moment, ReadCall, ReadRun, Stored, micros
from tests.properties.approvals.rules import OF_ARGUMENTS, Offer, asked_for, span


def scope_of(grant: Any) -> str:
    """In the words of packages."""
    return grant_pb2.GrantScope.Name(grant.scope).removeprefix("GRANT_SCOPE_").lower()


def matcher_of(grant: Any) -> str:
    """In the words of packages."""
    return grant_pb2.GrantMatcher.Name(grant.matcher).removeprefix("GRANT_MATCHER_").lower()


def is_offered(offer: Offer | None, run: ReadRun, call: ReadCall, request: Any) -> bool:
    """Whether a grant may be given with the approval of a call."""
    if offer is None:
        return False
    scope, matcher = scope_of(request), matcher_of(request)
    return (
        scope in offer.scopes
        and (scope != "session" or bool(run.session))
        and matcher in offer.matchers
        and (matcher != "any" or call.call.tool.grantable)
        and request.uses <= offer.max_uses
        and span(request.valid_for) <= span(offer.max_time)
        and (offer.tainted or not request.tainted)
    )


@dataclass
class Given:
    """A grant, how often it was used, and in which step it was taken back."""

    grant: Any
    hash: bytes
    four_eyes: bool
    issued_in: int
    used: int = 0
    used_in: int = 0  # the last time
    revoked_in: int = 0
    may_be_revoked: bool = False  # whoever wanted it back has not heard whether it is

    def is_open(self, at: int) -> bool:
        """Whether it answers at all."""
        return not self.revoked_in and self.used < self.grant.uses and at < micros(self.grant.until)


class GrantReader:
    """Reads what is about grants."""

    def __init__(self, people: People) -> None:
        self._people = people
        self.given: dict[str, Given] = {}

    def issued(self, moment: Moment, run: ReadRun, stored: Stored, body: Any) -> None:
        """One is given, right behind the decision."""
        grant, asked, call = body.grant, run.asked[body.approval_id], run.calls[stored.event.effect_id]
        request = asked.request.grant
        assert is_offered(asked.spec.grants, run, call, request), f"{grant.grant_id} is given, and not offered"
        approved = asked.edited or call.arguments_digest
        exact = approved if matcher_of(request) == "exact_arguments" else ""
        expected = grant_pb2.Grant(
            grant_id=grant.grant_id,
            scope=request.scope,
            run_id=run.id,
            session_id=run.session,
            agent_id=run.agent,
            principal=run.starter,
            package_fingerprint=run.package.fingerprint,
            tool=call.call.tool.name,
            executor=call.call.tool.executor,
            schema_digest=asked.event.schema_digest,
            approval=asked.event.approval,
            matcher=request.matcher,
            arguments_digest=exact,
            condition=request.condition,
            uses=request.uses,
            until=grant.until,
            tainted=request.tainted,
            issuer=asked.decided_by,
            approval_id=f"{run.id}/{asked.id}",
            issued_at=stored.event.time,
            issued_seq=stored.event.seq,
        )
        assert grant == expected, f"{grant.grant_id} is another one than was asked for: {grant}"
        assert micros(grant.until) == micros(stored.event.time) + span(request.valid_for), (
            f"{grant.grant_id} lasts longer"
        )
        assert grant.grant_id not in self.given, f"{grant.grant_id} is given twice"
        self.given[grant.grant_id] = Given(grant, stored.hash, asked.spec.four_eyes, moment.number)

    def used(self, moment: Moment, run: ReadRun, stored: Stored, body: Any) -> None:
        """One answers where somebody would be asked."""
        name, call, at = body.grant.grant_id, run.calls[stored.event.effect_id], micros(stored.event.time)
        given = self.given.get(name)
        assert given is not None, f"{name} was never given"
        assert body.grant == given.grant, f"{name} is used as another one than was given"
        assert body.issued_hash == given.hash, f"{name} says of another event that it was given by it"
        assert not given.revoked_in or given.revoked_in >= moment.number, f"{name} is used after it was taken back"
        assert at < micros(given.grant.until), f"{name} is used {at - micros(given.grant.until)} us too late"
        why_not = list(self._why_not(moment, given, run, call))
        assert not why_not, f"{name} answers for {run.id}/{stored.event.effect_id}, and {why_not[0]}"
        given.used, given.used_in = given.used + 1, moment.number
        assert given.used <= given.grant.uses, f"{name} was used {given.used} times, of {given.grant.uses}"
        assert body.arguments_digest == call.arguments_digest
        assert not call.grant and not call.closed_by
        call.grant, call.digest, call.schema_digest = name, body.digest, given.grant.schema_digest

    def superseded(self, _: Moment, run: ReadRun, stored: Stored, body: Any) -> None:
        """What one answered counts no more."""
        call = run.calls[stored.event.effect_id]
        assert call.grant == body.grant_id and not call.attempts, f"{body.grant_id} is superseded, and was not used"
        call.grant = ""

    def answering(self, moment: Moment, run: ReadRun, call: ReadCall) -> Iterator[str]:
        """Those that answer for a call during the whole of a step: nobody may be asked about it.

        Where several calls are after the uses of one, some of them ask although a use is left in the end.
        """
        for name, given in self.given.items():
            is_quiet = given.issued_in < moment.number and given.used_in < moment.number
            is_there = is_quiet and given.is_open(max(moment.last, run.time))
            if is_there and not given.may_be_revoked and not list(self._why_not(moment, given, run, call)):
                yield name

    def _why_not(self, moment: Moment, given: Given, run: ReadRun, call: ReadCall) -> Iterator[str]:
        """All that speaks against an answer of a grant for a call, but how often and how long it answers."""
        grant, tool = given.grant, call.call.tool
        asks = asked_for(call.call, run.package.policies, moment.operator)
        if asks != {grant.approval}:
            yield f"the rules ask for {asks}"
        if (grant.package_fingerprint, grant.tool, grant.executor) != (
            run.package.fingerprint,
            tool.name,
            tool.executor,
        ):
            yield "it is for something else"
        whose = {
            "run": (grant.run_id, run.id),
            "session": (grant.session_id or "none", run.session),
            "agent_and_principal": ((grant.agent_id, grant.principal), (run.agent, run.starter)),
            "namespace": (0, 0),
        }[scope_of(grant)]
        if whose[0] != whose[1]:
            yield "it is another's"
        matcher = matcher_of(grant)
        if matcher == "exact_arguments" and grant.arguments_digest != call.arguments_digest:
            yield "it is for other arguments"
        if matcher == "constraints" and not OF_ARGUMENTS[grant.condition](call.call.arguments):
            yield "the arguments do not fulfil its condition"
        if call.tainted and not grant.tainted:
            yield "the call is tainted"
        if self._people.keys and given.four_eyes and grant.issuer == run.starter:
            yield "whoever gave it started the run"
        if self._people.keys and not self._people.has(grant.issuer, "approver"):
            yield "whoever gave it may approve nothing any more"
