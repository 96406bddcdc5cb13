"""Approvals as they are on record: asked for as the rules say, decided by whoever may, in time, and then no more."""

from __future__ import annotations

from typing import Any

from runwright._gen.runwright.v1 import approval_pb2, event_pb2

from tests.properties.approvals.people import People
from tests.properties.approvals.read_run import (
    APPROVED,
    PENDING,
    SUPERSEDED,
    Asked,
    Moment,
    ReadRun,
    Stored,
    kind_of,
    micros,
)
from tests.properties.approvals.rules import Answer, Start, Subject, verdict

STATES = {"APPROVE": APPROVED, "DENY": "DENIED", "RESPOND": "RESPONDED", "ABORT_RUN": "ABORTED"}


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
        said = verdict(self.subject(run, stored.event, body), run.package.policies, moment.operator)
        assert said == ("ask", body.approval), f"{name} was asked for, and the rules say {said}"
        spec = run.package.approval(body.approval)
        sets = [(tuple(each.roles), tuple(each.principals), micros(each.until)) for each in body.sets]
        ends = zip(spec.sets, spec.ends(), strict=True)
        assert sets == [(each.roles, each.principals, at + end) for each, end in ends], f"{name} asks others: {sets}"
        assert micros(body.expires_at) == at + spec.ends()[-1], f"{name} expires at another time"
        assert body.four_eyes == spec.four_eyes
        asked = run.asked[name] = Asked(name, stored.event.effect_id, body, spec, at)
        shown = (body.tool, body.schema_digest, body.executor, body.arguments.digest)
        self._same_digest(body.digest, (kind_of(body), run.package.fingerprint, *shown))
        if asked.call:
            call = run.calls[asked.call]
            before = call.approval
            assert before is None or before.state != PENDING, f"{name}: of the call another one is pending"
            tool = call.call.tool
            assert (body.tool, body.executor, body.arguments.digest) == (
                tool.name,
                tool.executor,
                call.arguments_digest,
            )
            assert body.tainted == call.tainted
            call.approval, call.schema_digest = asked, body.schema_digest

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
        approvers, executor = asked.spec.sets[asked.turn(at)], asked.event.executor
        why = self._people.why_not(body.decided_by, approvers, executor, run.starter, four_eyes=asked.spec.four_eyes)
        assert not why, f"{asked.id} was decided by {body.decided_by}, who may not: {why}"
        sent = [request for who, request in moment.asked if _is_request(who, request, run, body)]
        assert sent, f"{asked.id}: nobody has asked for this decision"
        name = approval_pb2.ApprovalVerdict.Name(body.verdict).removeprefix("APPROVAL_VERDICT_")
        asked.state, asked.closed_in = STATES[name], moment.number
        asked.decided_by, asked.request = body.decided_by, sent[0]
        if name == "ABORT_RUN":
            run.expected_stop, run.is_ending = "APPROVAL_ABORTED", True
        elif asked.call:
            asked.ends_with = {"DENY": "tool_denied", "RESPOND": "tool_completed"}.get(name, "")
            asked.ends_with = "grant_issued" if sent[0].HasField("grant") else asked.ends_with
        else:
            assert name != "RESPOND", f"{asked.id} is of no call, and has a response"
            if name == "DENY":
                run.expected_stop, run.is_ending = "APPROVAL_DENIED", True

    def expired(self, moment: Moment, run: ReadRun, stored: Stored, body: Any) -> None:
        """Nobody has."""
        asked, at = self._of(run, body), micros(stored.event.time)
        assert at >= asked.expires_at, f"{asked.id} expired {asked.expires_at - at} us too early"
        asked.state, asked.closed_in = "EXPIRED", moment.number
        if asked.spec.on_expiry == "abort_run" or not asked.call:
            run.expected_stop, run.is_ending = "APPROVAL_EXPIRED", True
        else:
            asked.ends_with = "tool_failed"

    def withdrawn(self, moment: Moment, run: ReadRun, _: Stored, body: Any) -> None:
        """There is nothing to decide any more."""
        asked = self._of(run, body)
        asked.state, asked.closed_in = "WITHDRAWN", moment.number
        run.is_ending = True

    def superseded(self, moment: Moment, run: ReadRun, stored: Stored, body: Any) -> None:
        """It was given, and counts no more."""
        asked = self._of(run, body, APPROVED)
        assert not asked.is_spent, f"{asked.id} was used, and is superseded"
        said = verdict(self.subject(run, stored.event, asked.event), run.package.policies, moment.operator)
        assert said != ("ask", asked.event.approval), f"{asked.id} is superseded, and the rules ask for it"
        asked.state = SUPERSEDED

    def escalated(self, _: Moment, run: ReadRun, stored: Stored, body: Any) -> None:
        """It is the turn of the next."""
        asked = self._of(run, body)
        over = asked.at + asked.spec.ends()[body.current_set - 1]
        assert asked.current < body.current_set, f"{asked.id}: a turn came back"
        assert micros(stored.event.time) >= over, f"{asked.id}: a turn was over too early"
        asked.current = body.current_set


def _is_request(who: str, request: Any, run: ReadRun, body: Any) -> bool:
    same = (who, request.approval_id, request.verdict, request.digest, request.request_id)
    name = f"{run.id}/{body.approval_id}"
    return same == (body.decided_by, name, body.verdict, body.digest, body.request_id)
