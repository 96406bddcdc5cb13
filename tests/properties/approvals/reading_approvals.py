"""Approvals as they are on record: asked for as the rules say, decided by whoever may, in time, and then no more."""

from __future__ import annotations

import json
from typing import Any

from runwright._gen.runwright.v1 import approval_pb2, event_pb2

from tests.properties.approvals.people import People
from tests.properties.approvals.read_run import (
    APPROVED,
    PENDING,
    SUPERSEDED,
    Asked,
    Delegated,
    Moment,
    ReadRun,
    Stored,
    Told,
    kind_of,
    micros,
    sha256,
)
from tests.properties.approvals.rules import Answer, Start, Subject, asked_for, verdict

MOST_DELEGATIONS = 8
MOST_TAINTING = 16
STATES = {
    "APPROVE": APPROVED,
    "APPROVE_WITH_EDITS": APPROVED,
    "DENY": "DENIED",
    "RESPOND": "RESPONDED",
    "ABORT_RUN": "ABORTED",
}


_ENDS_WITH = {
    "DENY": ("tool_denied",),
    "RESPOND": ("tool_completed",),
    "APPROVE_WITH_EDITS": ("subject_replaced",),
}


class ApprovalReader:
    """Reads what is about approvals. `answers` are the texts of models, by their digests."""

    def __init__(self, people: People, answers: dict[str, str]) -> None:
        self._people = people
        self._answers = answers
        self._digests: dict[str, tuple[str, ...]] = {}
        self._by_subject: dict[tuple[str, ...], str] = {}

    def requested(self, moment: Moment, run: ReadRun, stored: Stored, body: Any) -> None:
        """Somebody is asked."""
        name, at = body.approval_id, micros(stored.event.time)
        assert name not in run.asked, f"{name} was asked for twice"
        subject, rules = self.subject(run, stored.event, body), (run.package.policies, moment.operator)
        asks, said = asked_for(subject, *rules), verdict(subject, *rules)[0]
        assert said == "ask" and body.approval in asks, f"{name} was asked for, and the rules {said} {asks}"
        spec = run.package.approval(body.approval)
        sets = [(tuple(each.roles), tuple(each.principals), micros(each.until)) for each in body.sets]
        ends = zip(spec.turns, spec.ends(), strict=True)
        assert sets == [(each.roles, each.principals, at + end) for each, end in ends], f"{name} asks others: {sets}"
        assert micros(body.expires_at) == at + spec.ends()[-1], f"{name} expires at another time"
        assert body.four_eyes == spec.four_eyes
        asked = run.asked[name] = Asked(name, stored.event.effect_id, body, spec, at)
        shown = (body.tool, body.schema_digest, body.executor, body.arguments.digest)
        self._same_digest(body.digest, (kind_of(body), run.package.fingerprint, *shown))
        self._tainted_by(run, asked, body)
        if asked.call:
            call = run.calls[asked.call]
            before = call.approval
            is_over = before is None or before.is_spent or before.state not in (PENDING, APPROVED)
            assert is_over, f"{name} is asked for, and {before} stands"
            tool = call.call.tool
            assert (body.tool, body.executor, body.arguments.digest) == (
                tool.name,
                tool.executor,
                call.arguments_digest,
            )
            assert body.tainted == call.tainted
            call.approval, call.schema_digest = asked, body.schema_digest

    def _tainted_by(self, run: ReadRun, asked: Asked, body: Any) -> None:
        """What is tainted says by which calls: of this run those that the model had been told, and no others."""
        assert body.tainted == body.HasField("tainted_by"), f"{asked.id} is tainted, and by what it does not say"
        told = run.calls[asked.call].told_before if asked.call else tuple(run.told)
        earlier = [call.run_id for call in body.tainted_by.calls if call.run_id]
        own = [Told(call.effect_id, call.tool, call.seq) for call in body.tainted_by.calls if not call.run_id]
        room = MOST_TAINTING - len(earlier)
        assert own == list(told[:room]), f"{asked.id} is tainted by {own}, and the model had been told {told}"
        assert run.session or not earlier, f"{asked.id} is tainted by runs of no session of its own"
        assert body.tainted_by.more >= len(told) - len(own)

    def subject(self, run: ReadRun, event: event_pb2.Event, body: Any) -> Subject:
        """What is to be approved."""
        match kind_of(body):
            case "start":
                return Start(run.starter)
            case "answer":
                return Answer(self._answers[body.arguments.digest])
            case _:
                return run.calls[event.effect_id].call

    def _same_digest(self, digest: str, subject: tuple[str, ...]) -> None:
        assert self._digests.setdefault(digest, subject) == subject, "one digest of two subjects"
        assert self._by_subject.setdefault(subject, digest) == digest, "two digests of one subject"

    def is_digest_of_call(self, digest: str, run: ReadRun, call: str, schema_digest: str) -> bool:
        """Whether a digest is that of a call; of one that nobody was ever asked about it is from now on."""
        known = run.calls[call]
        tool = known.call.tool
        subject = ("call", run.package.fingerprint, tool.name, schema_digest, tool.executor, known.arguments_digest)
        self._same_digest(digest, subject)
        return True

    def _of(self, run: ReadRun, body: Any, state: str = PENDING) -> Asked:
        found = run.asked.get(body.approval_id)
        assert found is not None, f"{body.approval_id} was never asked for"
        assert found.state == state, f"{found.id} is {found.state}, and came to something else"
        return found

    def decided(self, moment: Moment, run: ReadRun, stored: Stored, body: Any) -> None:
        """Somebody has decided."""
        asked, at = self._of(run, body), micros(stored.event.time)
        first, last = max(moment.first, run.time), max(moment.last, run.time)
        assert first <= at <= last, f"{asked.id} was decided at {at}, not from {first} to {last}"
        assert at < asked.expires_at, f"{asked.id} was decided {at - asked.expires_at} us too late"
        assert body.digest == asked.event.digest, f"{asked.id} was decided on by another digest"
        self._require_allowed(run, asked, body.decided_by, at)
        name = approval_pb2.ApprovalVerdict.Name(body.verdict).removeprefix("APPROVAL_VERDICT_")
        request = _request(moment, run, body, body.decided_by, body.verdict)
        asked.state, asked.closed_in = STATES[name], moment.number
        asked.decided_by, asked.request, asked.given_digest = body.decided_by, request, body.digest
        if name == "ABORT_RUN":
            run.expected_stop, run.is_ending = "APPROVAL_ABORTED", True
        elif asked.call:
            grant = ("grant_issued",) if request.HasField("grant") else ()
            asked.ends_with = grant + _ENDS_WITH.get(name, ())
            if name == "APPROVE_WITH_EDITS":
                self._edited(run, asked, body)
        else:
            assert name in ("APPROVE", "DENY"), f"{asked.id} is of no call, and is answered by {name}"
            if name == "DENY":
                run.expected_stop, run.is_ending = "APPROVAL_DENIED", True

    def _require_allowed(self, run: ReadRun, asked: Asked, who: str, at: int) -> None:
        approvers, executor, four_eyes = asked.approvers(at), asked.event.executor, asked.spec.four_eyes
        why = self._people.why_not(who, approvers, executor, run.starter, four_eyes=four_eyes)
        assert not why, f"{asked.id} was decided by {who}, who may not: {why}"

    def _edited(self, run: ReadRun, asked: Asked, body: Any) -> None:
        """It was given for other arguments: for those that were sent, by a digest of their own."""
        call = run.calls[asked.call]
        asked.edited, asked.given_digest = body.edited_arguments.digest, body.edited_digest
        assert asked.edited == sha256(canonical(asked.request.arguments_json)), (
            f"{asked.id} has other edits than were sent"
        )
        assert asked.edited != call.arguments_digest, f"{asked.id} was edited, and nothing is another"
        tool = call.call.tool
        of_call = (tool.name, asked.event.schema_digest, tool.executor, asked.edited)
        self._same_digest(asked.given_digest, ("call", run.package.fingerprint, *of_call))

    def delegated(self, moment: Moment, run: ReadRun, stored: Stored, body: Any) -> None:
        """Somebody who may decide has somebody else decide."""
        asked, at = self._of(run, body), micros(stored.event.time)
        by, to, turn = body.delegated_by, body.delegated_to, asked.turn(at)
        assert at < asked.expires_at, f"{asked.id} was delegated too late"
        assert body.digest == asked.event.digest, f"{asked.id} was delegated by another digest"
        self._require_allowed(run, asked, by, at)
        why = not_delegated(self._people, run, asked, by, to, turn)
        assert not why, f"{asked.id} was delegated by {by} to {to}, and must not be: {why}"
        request = _request(moment, run, body, by, approval_pb2.APPROVAL_VERDICT_DELEGATE)
        assert request.delegate_to == to, f"{asked.id} was delegated to somebody else than was said"
        asked.delegations.append(Delegated(by, to, turn, request, moment.number))
        until = asked.at + asked.spec.ends()[turn]
        names = asked.approvers(at).principals
        approvers = (tuple(body.approvers.roles), set(body.approvers.principals), micros(body.approvers.until))
        assert approvers == ((), set(names), until), f"{asked.id} was delegated to {approvers}, not {names}"
        assert (body.current_set, body.number) == (turn, len(asked.delegations))

    def dispatched(self, moment: Moment, run: ReadRun, stored: Stored, body: Any) -> None:
        """A dispatcher was told. What it decided counts if its principal may decide, and else is refused truly."""
        asked, at = run.asked[body.approval_id], micros(stored.event.time)
        name = f"dispatch:{stored.event.effect_id}:{stored.event.attempt}"
        wanted = (f"{run.id}/{asked.id}", name)
        said = [each for _, each in moment.asked if (each.approval_id, each.request_id) == wanted]
        # Of what was under way when the server died nothing is known.
        if not said or body.result != approval_pb2.APPROVAL_DISPATCH_RESULT_ACKNOWLEDGED:
            assert not body.refusal and not body.HasField("decision"), f"{name} says that something was decided"
            return
        [request], who = said, body.principal
        approvers, executor, four_eyes = asked.approvers(at), asked.event.executor, asked.spec.four_eyes
        why = self._people.why_not(who, approvers, executor, run.starter, four_eyes=four_eyes)
        why = {"role"} if why & {"UNAUTHENTICATED", "ROLE_MISSING"} else why
        if request.digest != asked.event.digest:
            why.add("digest")
        if not asked.call and request.verdict == approval_pb2.APPROVAL_VERDICT_RESPOND:
            why.add("invalid")
        if asked.state != PENDING or at >= asked.expires_at:
            why.add("closed")
        assert body.refusal in (why or {""}), f"{name} was refused with {body.refusal!r}; true are {why}"

    def expired(self, moment: Moment, run: ReadRun, stored: Stored, body: Any) -> None:
        """Nobody has."""
        asked, at = self._of(run, body), micros(stored.event.time)
        assert at >= asked.expires_at, f"{asked.id} expired {asked.expires_at - at} us too early"
        asked.state, asked.closed_in = "EXPIRED", moment.number
        if asked.spec.on_expiry == "abort_run" or not asked.call:
            run.expected_stop, run.is_ending = "APPROVAL_EXPIRED", True
        else:
            asked.ends_with = ("tool_failed",)

    def withdrawn(self, moment: Moment, run: ReadRun, _: Stored, body: Any) -> None:
        """There is nothing to decide any more."""
        asked = self._of(run, body)
        asked.state, asked.closed_in = "WITHDRAWN", moment.number
        run.is_ending = True

    def superseded(self, moment: Moment, run: ReadRun, stored: Stored, body: Any) -> None:
        """It was given, and counts no more."""
        asked = self._of(run, body, APPROVED)
        assert not asked.is_spent, f"{asked.id} was used, and is superseded"
        subject = self.subject(run, stored.event, asked.event)
        others = asked_for(subject, run.package.policies, moment.operator) - {asked.event.approval}
        assert others, f"{asked.id} is superseded, and the rules ask for nothing else"
        asked.state = SUPERSEDED

    def escalated(self, _: Moment, run: ReadRun, stored: Stored, body: Any) -> None:
        """It is the turn of the next."""
        asked = self._of(run, body)
        over = asked.at + asked.spec.ends()[body.current_set - 1]
        assert asked.current < body.current_set, f"{asked.id}: a turn came back"
        assert micros(stored.event.time) >= over, f"{asked.id}: a turn was over too early"
        asked.current = body.current_set


def not_delegated(people: People, run: ReadRun, asked: Asked, by: str, to: str, turn: int) -> set[str]:
    """All that speaks against a delegation by somebody who may decide."""
    held_by = [each.to for each in asked.delegations if each.turn == turn][-1:]
    rules = {
        "separation": not people.keys,
        "not_listed": to not in asked.spec.delegates,
        "oneself": to == by,
        "starter": to == run.starter,
        "executor": people.may_serve(to, asked.event.executor),
        "no_approver": not people.has(to, "approver"),
        "already": held_by == [to],
        "too_often": len(asked.delegations) >= MOST_DELEGATIONS,
    }
    return {rule for rule, is_broken in rules.items() if is_broken}


def canonical(arguments: bytes) -> bytes:
    """Arguments in RFC 8785 form, of those that histories have: texts and whole numbers."""
    return json.dumps(json.loads(arguments), separators=(",", ":"), sort_keys=True).encode()


def _request(moment: Moment, run: ReadRun, body: Any, by: str, verdict_: int) -> Any:
    """The request that a decision follows from."""
    wanted = (by, f"{run.id}/{body.approval_id}", verdict_, body.digest, body.request_id)
    for who, request in moment.asked:
        if wanted == (who, request.approval_id, request.verdict, request.digest, request.request_id):
            return request
    raise AssertionError(f"{body.approval_id}: nobody has asked for this decision")
