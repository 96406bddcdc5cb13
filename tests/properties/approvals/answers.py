"""What whoever decides was told, held to the model: a refusal must be true, and whoever may decide must be let."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from runwright._gen.runwright.v1 import approval_pb2

from tests.properties.approvals.people import People
from tests.properties.approvals.read_run import PENDING, Asked, Moment, ReadRun, sha256
from tests.properties.approvals.reading import Reading
from tests.properties.approvals.reading_approvals import canonical, not_delegated
from tests.properties.approvals.reading_grants import is_offered
from tests.properties.approvals.rules import Package
from tests.properties.approvals.server import Answer

PASSING = {"JOURNAL_FULL", "JOURNAL_BUSY", "RUN_HELD", "INTERNAL", "JOURNAL_CONFLICT", "JOURNAL_CORRUPT", "DRAINING"}


@dataclass
class Sent:
    """A decision that was asked for, and what was known when it was."""

    who: str
    request: Any
    answer: Answer
    run_time: int  # the time on record of the run; a decision comes no earlier, whatever the clock says
    was_pending: bool
    turn: int  # whose it was


@dataclass
class Step:
    """What is to be known of a step to judge its answers. `is_faulty`: the journal refused something, or the server
    died. `is_alone`: nothing but decisions happened in it."""

    moment: Moment
    sent: Sequence[Sent]
    is_faulty: bool
    is_alone: bool
    may_be_held: bool


class Answers:
    """Judges the answers of each step by the reading behind it."""

    def __init__(self, reading: Reading, people: People) -> None:
        self._reading = reading
        self._people = people

    def judge(self, step: Step) -> None:
        """Raises AssertionError for what is not true."""
        for sent in step.sent:
            self._judge_one(step, sent)
        for name in {sent.request.approval_id for sent in step.sent}:
            self._judge_all(step, name, [sent for sent in step.sent if sent.request.approval_id == name])

    def judge_start(self, moment: Moment, who: str, package: Package, answer: Answer) -> None:
        """A run that would ask nobody is refused at its start, and no other is for that."""
        asks = [package.approval(name) for name in package.asks(moment.operator)]
        missing = [approval for approval in asks if not self._people.could_approve(approval, who)]
        if answer.reason == "APPROVER_MISSING":
            assert missing, f"{who} is told that nobody could approve: {answer.error}"
        elif answer.response is not None:
            assert not missing, f"{who} starts a run that asks nobody: {missing}"

    def judge_revocation(self, moment: Moment, who: str, name: str, answer: Answer) -> None:
        """Whoever gave a grant, and an admin, may take it back; from then on it answers for nothing."""
        given, people = self._reading.grants.given[name], self._people
        if not answer.is_heard:
            given.may_be_revoked = True
            return
        may = not people.keys or (people.has(who, "approver") and (who == given.grant.issuer or people.has(who)))
        if answer.response is None:
            assert not may or answer.reason in PASSING, f"{who} may take {name} back, and was told {answer.error}"
            return
        assert may, f"{who} has taken {name} back, and may not"
        if answer.response.revoked:
            assert not given.revoked_in, f"{name} was taken back twice"
            given.revoked_in = moment.number

    def _judge_one(self, step: Step, sent: Sent) -> None:
        answer, name = sent.answer, f"{sent.who} on {sent.request.approval_id}"
        if not answer.is_heard:
            assert step.is_faulty, f"{name} was never answered"
            return
        if answer.response is not None:
            self._judge_decided(step, sent, name)
            return
        reason = answer.reason
        if reason in PASSING:
            passes = step.is_faulty or (step.may_be_held and reason == "RUN_HELD")
            assert passes, f"{name} was refused with {reason}, and nothing was wrong: {answer.error}"
            return
        times, number = self._times(step, sent), step.moment.number
        true = {each for at in times for before in (None, number) for each in self._reasons(sent, at, before)}
        said = answer.error.metadata["rule"] if reason == "APPROVER_NOT_ALLOWED" else reason
        assert said in true, f"{name} was refused with {said}; true are {true}"
        if reason == "APPROVAL_ALREADY_DECIDED":
            _, asked = self._reading.everything()[sent.request.approval_id]
            told, verdict = answer.error.metadata, approval_pb2.ApprovalVerdict.Name(asked.request.verdict)
            winner = (told["decided_by"], told["request_id"], f"APPROVAL_VERDICT_{told['verdict']}")
            assert winner == (asked.decided_by, asked.request.request_id, verdict), f"{name}: another one won"

    def _times(self, step: Step, sent: Sent) -> set[int]:
        """The times of a step at which another answer may be true than at the others."""
        first, last = step.moment.first, step.moment.last
        _, asked = self._reading.everything().get(sent.request.approval_id, (None, None))
        ends = [asked.at + end for end in asked.spec.ends()] if asked is not None else []
        return {first, last, *(end for end in ends if first <= end <= last)}

    def _judge_decided(self, step: Step, sent: Sent, name: str) -> None:
        found = self._reading.everything().get(sent.request.approval_id)
        assert found is not None, f"{name} is told of a decision on nothing"
        asked, response = found[1], sent.answer.response
        if sent.request.verdict == approval_pb2.APPROVAL_VERDICT_DELEGATE:
            made = [each for each in asked.delegations if (each.by, each.request) == (sent.who, sent.request)]
            assert made, f"{name} is told of a delegation that is not on record"
            assert not response.decided or made[0].step == step.moment.number
            return
        assert asked.request is not None, f"{name} is told of a decision that is not on record"
        by = (asked.decided_by, asked.request.request_id)
        assert by == (sent.who, sent.request.request_id), f"{name} is told of another one's decision"
        assert asked.request == sent.request, f"{name} is told that something else was decided"
        told = response.approval.decision
        assert (told.decided_by, told.verdict) == (sent.who, sent.request.verdict), f"{name} is shown another decision"
        if response.decided:
            assert asked.closed_in == step.moment.number, f"{name} is told to have decided now, and had before"

    def _reasons(self, sent: Sent, at: int, before: int | None) -> set[str]:
        """Every reason that may truly be given for a refusal, going by what is on record behind the step.

        `before` as in `Asked.approvers`.
        """
        request, who = sent.request, sent.who
        if self._people.keys and who in self._people.revoked:
            return {"UNAUTHENTICATED"}
        if self._people.keys and not (self._people.has(who, "approver") or self._is_foreign(who)):
            return {"ROLE_MISSING"}
        found = self._reading.everything().get(request.approval_id)
        if found is None or self._is_foreign(who):
            return {"APPROVAL_NOT_FOUND"}
        run, asked = found
        reasons = self._of_state(sent, asked) | self._of_who(sent, run, asked, max(at, sent.run_time), before)
        delegated = [(each.by, each.request.request_id) for each in asked.delegations if each.request != request]
        if (who, request.request_id) in delegated:
            reasons.add("REQUEST_ID_CONFLICT")
        sees = not self._people.keys or asked.is_seen_by(self._people, who, before)
        return reasons if sees else {*reasons, "APPROVAL_NOT_FOUND"}

    def _of_state(self, sent: Sent, asked: Asked) -> set[str]:
        match asked.state:
            case "PENDING":
                return set()
            case "EXPIRED":
                return {"APPROVAL_EXPIRED"}
            case "WITHDRAWN":
                return {"APPROVAL_WITHDRAWN"}
        same = (asked.decided_by, asked.request.request_id) == (sent.who, sent.request.request_id)
        if not same:
            return {"APPROVAL_ALREADY_DECIDED"}
        return set() if asked.request == sent.request else {"REQUEST_ID_CONFLICT"}

    def _of_who(self, sent: Sent, run: ReadRun, asked: Asked, at: int, before: int | None) -> set[str]:
        """What speaks against it while it is pending."""
        if not sent.was_pending:
            return set()
        request, found = sent.request, set[str]()
        if request.digest != asked.event.digest:
            found.add("APPROVAL_DIGEST_MISMATCH")
        if request.verdict in self._not_allowed(asked):
            found.add("INVALID_REQUEST")
        if request.HasField("grant") and not self._is_offered(sent, run, asked):
            found.add("GRANT_NOT_OFFERED")
        if request.verdict == approval_pb2.APPROVAL_VERDICT_DELEGATE:
            for turn in {asked.turn(at, sent.turn), asked.current}:
                if not_delegated(self._people, run, asked, sent.who, request.delegate_to, turn):
                    found.add("APPROVAL_DELEGATE_NOT_ALLOWED")
        if request.arguments_json and not self._is_edit(run, asked, request.arguments_json):
            found.add("APPROVAL_EDIT_INVALID")
        executor, four_eyes = asked.event.executor, asked.spec.four_eyes
        for since in {sent.turn, asked.current}:  # it may have become another's turn before they were heard
            approvers = asked.approvers(at, before, since)
            found |= self._people.why_not(sent.who, approvers, executor, run.starter, four_eyes=four_eyes)
        return found

    @staticmethod
    def _not_allowed(asked: Asked) -> set[int]:
        """What cannot be decided on it, whoever decides."""
        delegates = set() if asked.spec.delegates else {approval_pb2.APPROVAL_VERDICT_DELEGATE}
        of_calls = {approval_pb2.APPROVAL_VERDICT_RESPOND, approval_pb2.APPROVAL_VERDICT_APPROVE_WITH_EDITS}
        return delegates if asked.call else delegates | of_calls

    @staticmethod
    def _is_edit(run: ReadRun, asked: Asked, arguments: bytes) -> bool:
        """Whether these are other arguments, which a call can have: an object, in JSON. What was sent has no others."""
        if asked.call and run.calls[asked.call].attempts:
            return False
        try:
            is_object = isinstance(json.loads(arguments), dict)
        except ValueError:
            return False
        return is_object and sha256(canonical(arguments)) != asked.event.arguments.digest

    @staticmethod
    def _is_offered(sent: Sent, run: ReadRun, asked: Asked) -> bool:
        return bool(asked.call) and is_offered(asked.spec.grants, run, run.calls[asked.call], sent.request.grant)

    def _is_foreign(self, who: str) -> bool:
        return self._people.keys and who not in self._people.roles

    def _judge_all(self, step: Step, name: str, sent: Sequence[Sent]) -> None:
        """Of those who may decide one has, and only one."""
        answered = [each for each in sent if each.answer.response is not None and each.answer.response.decided]
        decided = [each for each in answered if each.request.verdict != approval_pb2.APPROVAL_VERDICT_DELEGATE]
        assert len(decided) <= 1, f"{name} was decided {len(decided)} times"
        if step.is_faulty or not step.is_alone or step.may_be_held:
            return
        found = self._reading.everything().get(name)
        if found is None or (found[0].is_ending and not decided):
            return
        if any(each.step == step.moment.number for each in found[1].delegations):
            return  # who may decide has changed among them
        if found[1].closed_in == step.moment.number and not decided:
            return  # the dispatcher was faster
        # A delegation that is asked for again is answered by the one on record.
        new = [each for each in sent if each.answer.response is None or each.answer.response.decided]
        may = [each for each in new if each.was_pending and self._may(each, found, step.moment.first)]
        assert not may or answered, f"{name}: {may[0].who} may decide, and was told {may[0].answer.error}"
        assert found[1].state != PENDING or not may

    def _may(self, sent: Sent, found: tuple[ReadRun, Asked], clock: int) -> bool:
        run, asked = found
        at = max(clock, sent.run_time)
        speaks_against = self._of_who(sent, run, asked, at, None)
        return at < asked.expires_at and not speaks_against and not self._is_foreign(sent.who)
