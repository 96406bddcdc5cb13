"""What is on record, read as an export says it, and held to the model event by event.

Nothing of the server is asked: an event is what `runwright.v1.Event` says, and what it means is said by the documents.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from runwright._gen.runwright.v1 import error_pb2, run_pb2

from tests.properties.approvals.hosts import Delivered
from tests.properties.approvals.people import People
from tests.properties.approvals.read_run import (
    APPROVED,
    PENDING,
    SUPERSEDED,
    Asked,
    Moment,
    ReadCall,
    ReadRun,
    Stored,
    Told,
    micros,
    sha256,
)
from tests.properties.approvals.reading_approvals import ApprovalReader
from tests.properties.approvals.reading_grants import GrantReader
from tests.properties.approvals.rules import Answer, Call, Package, Start, asked_for, verdict

CLOSES = ("tool_completed", "tool_failed", "tool_denied", "tool_cancelled")


class Reading:
    """All runs of a world. A breach of the model is an AssertionError that says which."""

    def __init__(
        self,
        packages: Iterable[Package],
        people: People,
        arguments: Mapping[str, Mapping[str, Any]],
        answers: Iterable[str],
    ) -> None:
        """`arguments` are those that calls may have, by their digests; `answers` what models may say in the end."""
        self._packages = {package.fingerprint: package for package in packages}
        self._people = people
        self._arguments = arguments
        self._answers = {sha256(answer.encode()): answer for answer in answers}
        self._approvals = ApprovalReader(people, self._answers)
        self.grants = GrantReader(people)
        self.runs: dict[str, ReadRun] = {}
        self._deliveries = 0
        self._asked_now: list[tuple[ReadRun, Asked]] = []
        self._readers = {
            "tool_requested": self._tool_requested,
            "tool_started": self._tool_started,
            "tool_completed": self._tool_completed,
            "tool_failed": self._tool_failed,
            "model_attempt_started": self._model_attempt_started,
            "model_message_completed": self._model_message_completed,
            "run_cancel_requested": self._run_cancel_requested,
            "run_completed": self._ended,
            "run_failed": self._ended,
            "run_cancelled": self._ended,
            "approval_requested": self._approval_requested,
            "approval_decided": self._approvals.decided,
            "approval_expired": self._approvals.expired,
            "approval_withdrawn": self._approvals.withdrawn,
            "approval_superseded": self._approvals.superseded,
            "approval_escalated": self._approvals.escalated,
            "approval_delegated": self._approvals.delegated,
            "subject_replaced": self._subject_replaced,
            "approval_dispatched": self._approvals.dispatched,
            "grant_issued": self.grants.issued,
            "grant_used": self._grant_used,
            "grant_superseded": self.grants.superseded,
        }

    def pending(self) -> dict[str, tuple[ReadRun, Asked]]:
        """What is pending, by full ids."""
        return {name: found for name, found in self.everything().items() if found[1].state == PENDING}

    def everything(self) -> dict[str, tuple[ReadRun, Asked]]:
        """All that was ever asked for, by full ids."""
        return {f"{run.id}/{each.id}": (run, each) for run in self.runs.values() for each in run.asked.values()}

    def take(self, moment: Moment, stored: Stored) -> None:
        """Takes in one more event, in the order of the journal."""
        event, body = stored.event, stored.body
        if body == "run_started":
            package = self._packages[event.package_fingerprint]
            run = ReadRun(event.run_id, event.principal, event.session_id, event.agent_id, package)
            self.runs[event.run_id] = run
        run = self.runs[event.run_id]
        assert not run.ended_by, f"{run.id} has ended, and goes on with {body}"
        assert micros(event.time) >= run.time, f"{run.id}: time goes back on record"
        run.position = stored.position
        self._follows(run, stored)
        if (read := self._readers.get(body)) is not None:
            read(moment, run, stored, getattr(event, body))
        run.time = micros(event.time)

    def end_step(self, moment: Moment, *, is_faulty: bool) -> None:
        """What an approval came to was followed by what that means; and nobody was asked where a grant answers."""
        left = [name for name, (_, each) in self.everything().items() if each.ends_with]
        assert not left, f"nothing followed from the end of {left}"
        asked_now, self._asked_now = self._asked_now, []
        for run, asked in asked_now if not is_faulty else ():
            answering = list(self.grants.answering(moment, run, run.calls[asked.call]))
            assert not answering, f"{run.id}/{asked.id} is asked for, and {answering} answers"

    def _follows(self, run: ReadRun, stored: Stored) -> None:
        """What an approval came to is followed by what that means, before anything else is said of the call."""
        event, body = stored.event, stored.body
        call = run.calls.get(event.effect_id)
        if call is not None and call.approval is not None and call.approval.ends_with:
            expected, *rest = call.approval.ends_with
            call.approval.ends_with = tuple(rest)
            assert body == expected, f"{call.approval.id} is {call.approval.state}, and {body} followed"
        if body in CLOSES and call is not None:
            is_pending = call.approval is not None and call.approval.state == PENDING
            assert not is_pending, f"{body} of a call about which somebody is asked"
            call.closed_by = body
        if body == "tool_recovery_required":
            run.unknown[event.effect_id] = event.attempt
        elif event.effect_id in run.unknown and body in (*CLOSES, "retry_scheduled"):
            del run.unknown[event.effect_id]

    def _tool_requested(self, _: Moment, run: ReadRun, stored: Stored, body: Any) -> None:
        arguments, tool = self._arguments[body.arguments.digest], run.package.tools[body.tool]
        assert body.tainted or not run.told, f"{stored.event.effect_id} is not tainted"
        call = ReadCall(Call(tool, arguments), body.arguments.digest, tainted=body.tainted, told_before=tuple(run.told))
        run.calls[stored.event.effect_id] = call

    def _subject_replaced(self, _: Moment, run: ReadRun, stored: Stored, body: Any) -> None:
        """Only somebody who approves puts other arguments in the place of those that were asked for."""
        call = run.calls[stored.event.effect_id]
        asked = call.approval
        assert asked is not None and asked.edited == body.replacement.digest, (
            f"{stored.event.effect_id} is another call"
        )
        assert not call.attempts, f"{stored.event.effect_id} is changed after it was sent"
        call.arguments_digest = asked.edited
        call.call = Call(call.call.tool, self._arguments[asked.edited])

    def _approval_requested(self, moment: Moment, run: ReadRun, stored: Stored, body: Any) -> None:
        self._approvals.requested(moment, run, stored, body)
        if stored.event.effect_id:
            self._asked_now.append((run, run.asked[body.approval_id]))

    def _grant_used(self, moment: Moment, run: ReadRun, stored: Stored, body: Any) -> None:
        self.grants.used(moment, run, stored, body)
        schema = body.grant.schema_digest
        assert self._approvals.is_digest_of_call(body.digest, run, stored.event.effect_id, schema)

    def _model_attempt_started(self, moment: Moment, run: ReadRun, _: Stored, __: Any) -> None:
        if run.has_begun:
            return
        run.has_begun = True
        word, approval = verdict(Start(run.starter), run.package.policies, moment.operator)
        allowed = word == "allow" or (word == "ask" and run.given("start", approval))
        assert allowed, f"{run.id} begins, and the rules say {word} {approval}"

    def _model_message_completed(self, moment: Moment, run: ReadRun, _: Stored, body: Any) -> None:
        """Rules count when they are walked: an answer that has passed them may wait for a dispatcher, and no more."""
        if not body.tool_calls and body.text.digest in self._answers:
            answer = Answer(self._answers[body.text.digest])
            run.has_passed = verdict(answer, run.package.policies, moment.operator)[0] == "allow"

    def _tool_started(self, moment: Moment, run: ReadRun, stored: Stored, body: Any) -> None:
        event = stored.event
        call, name = run.calls[event.effect_id], f"{run.id}/{event.effect_id}, attempt {event.attempt}"
        assert not run.is_ending, f"{name} begins although the run ends"
        assert not call.closed_by, f"{name} begins although the call is over"
        assert event.attempt not in call.attempts, f"{name} begins twice"
        assert body.arguments_digest == call.arguments_digest, f"{name} has other arguments than were asked for"
        word, _ = verdict(call.call, run.package.policies, moment.operator)
        assert word in ("allow", "ask"), f"{name} begins although the rules say {word}"
        said = (body.approval_id, body.grant_id, body.approved_by, body.approval_digest)
        expected, by = self._permission(name, call)
        assert said == expected, f"{name} says of its permission {said}, not {expected}"
        asks = asked_for(call.call, run.package.policies, moment.operator)
        assert word == "allow" or by in asks, f"{name} begins by {by!r}, and the rules ask for {asks}"
        is_edited = call.approval is not None and call.approval.state == APPROVED and bool(call.approval.edited)
        assert not is_edited or asks <= {by}, f"{name} begins as it was edited, and the rules ask for {asks}, too"
        call.attempts[event.attempt] = body

    def _permission(self, name: str, call: ReadCall) -> tuple[tuple[str, str, str, str], str | None]:
        """What a call must say of the permission that it has, and which approval that is of; None without any."""
        asked = call.approval
        if call.grant:
            grant = self.grants.given[call.grant].grant
            return ("", call.grant, grant.issuer, call.digest), grant.approval
        if asked is None or asked.state == SUPERSEDED:
            return ("", "", "", ""), None
        assert asked.state == APPROVED, f"{name} begins; {asked.id} is {asked.state}"
        given = asked.edited or asked.event.arguments.digest
        assert given == call.arguments_digest, f"{name} is not what was approved"
        asked.is_spent = True
        return (asked.id, "", asked.decided_by, asked.given_digest), asked.event.approval

    def _tool_completed(self, _: Moment, run: ReadRun, stored: Stored, body: Any) -> None:
        call = run.calls[stored.event.effect_id]
        if call.approval is not None and call.approval.state == "RESPONDED":
            response = call.approval.request.message.encode()
            assert body.result.digest == sha256(response), "another response than was given"
        else:
            assert stored.event.attempt in call.attempts, f"{stored.event.effect_id} has a result, and never began"
        self._told(run, stored)

    def _told(self, run: ReadRun, stored: Stored) -> None:
        """What came of a call that was sent is told, as what somebody else may have written if its tool says so."""
        call = run.calls[stored.event.effect_id]
        if call.attempts and call.call.tool.untrusted:
            run.told.append(Told(stored.event.effect_id, call.call.tool.name, stored.event.seq))

    def _tool_failed(self, _: Moment, run: ReadRun, stored: Stored, body: Any) -> None:
        self._told(run, stored)
        call = run.calls[stored.event.effect_id]
        if call.approval is not None and call.approval.state == "EXPIRED":
            reason = error_pb2.ErrorReason.Name(body.reason).removeprefix("ERROR_REASON_")
            is_lost = bool(call.attempts) and reason == "EXECUTOR_LOST"
            assert is_lost or reason == "APPROVAL_EXPIRED", f"{call.approval.id} expired; the model is told {reason}"

    def _run_cancel_requested(self, _: Moment, run: ReadRun, __: Stored, ___: Any) -> None:
        run.is_ending = True

    def _ended(self, moment: Moment, run: ReadRun, stored: Stored, body: Any) -> None:
        run.ended_by = stored.body
        pending = [each.id for each in run.asked.values() if each.state == PENDING]
        assert not pending, f"{run.id} has ended, and {pending} is pending"
        if run.ended_by == "run_failed":
            run.stop = run_pb2.StopReason.Name(body.stop_reason).removeprefix("STOP_REASON_")
            assert run.stop != "INTERNAL", f"{run.id} met a fault of the server's own"
            assert run.expected_stop in ("", run.stop), f"{run.id} ended with {run.stop}, not {run.expected_stop}"
        if run.ended_by == "run_completed":
            assert not run.expected_stop, f"{run.id} was to end with {run.expected_stop}, and went on"
            answer = Answer(self._answers[body.result.digest])
            word, approval = verdict(answer, run.package.policies, moment.operator)
            allowed = run.has_passed or word == "allow" or (word == "ask" and run.given("answer", approval))
            assert allowed, f"{run.id} publishes its answer, and the rules say {word} {approval}"

    def hold_to_record(self, ledger: Sequence[Delivered]) -> None:
        """What reached hosts since the last time: each attempt began on record, once, and nobody performs what they
        approved."""
        for number, each in enumerate(ledger[self._deliveries :], start=self._deliveries):
            request = each.request
            name = f"{request.run_id}/{request.call_id}, attempt {request.attempt}"
            run = self.runs.get(request.run_id)
            call = run.calls.get(request.call_id) if run is not None else None
            started = call.attempts.get(request.attempt) if call is not None else None
            assert started is not None and call is not None, f"{name} reached {each.principal}, and never began"
            assert not any(each.is_same(other) for other in ledger[:number]), f"{name} reached hosts twice"
            assert request.tool == call.call.tool.name
            assert sha256(request.arguments_json) == started.arguments_digest, f"{name} was sent with other arguments"
            told_apart = self._people.keys and bool(started.approved_by)
            assert not told_apart or each.principal != started.approved_by, f"{name} is performed by its approver"
        self._deliveries = len(ledger)

    def hold_to_clock(self, now: int) -> None:
        """Nothing is pending whose time is over, and no turn lasts too long."""
        for name, (_, asked) in self.pending().items():
            assert now < asked.expires_at, f"{name} is pending {now - asked.expires_at} us after its end"
            assert asked.current == asked.turn(now), f"{name}: set {asked.turn(now)} has its turn, and nobody says so"
