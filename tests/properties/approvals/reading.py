"""What is on record, read as an export says it, and held to the model event by event.

Nothing of the server is asked: an event is what `runwright.v1.Event` says, and what it means is said by the documents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runwright._gen.runwright.v1 import approval_pb2, error_pb2, event_pb2, run_pb2

from tests.properties.approvals.hosts import Delivered
from tests.properties.approvals.people import People
from tests.properties.approvals.rules import Approval, Call, Package, Policy, verdict

PENDING, APPROVED = "PENDING", "APPROVED"
DECIDED = {"APPROVE": APPROVED, "DENY": "DENIED", "RESPOND": "RESPONDED", "ABORT_RUN": "ABORTED"}
ENDS = ("run_completed", "run_failed", "run_cancelled")
CLOSES = ("tool_completed", "tool_failed", "tool_denied", "tool_cancelled")


def micros(time: Any) -> int:
    """Microseconds of a timestamp."""
    return int(time.seconds) * 1_000_000 + int(time.nanos) // 1000


def sha256(data: bytes) -> str:
    """As events refer to contents."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Moment:
    """What is true while events of one step are written: the times of the clock, the rules, and who asked for what."""

    number: int
    first: int
    last: int
    operator: tuple[Policy, ...]
    asked: Sequence[tuple[str, Any]] = ()  # who, and the runwright.v1.DecisionRequest


@dataclass
class Asked:
    """An approval, as far as it has come."""

    id: str
    call: str
    event: Any
    spec: Approval
    at: int
    state: str = PENDING
    current: int = 0
    decided_by: str = ""
    request: Any = None
    is_spent: bool = False
    closed_in: int = 0
    ends_with: str = ""  # the event that must stand right behind its end

    @property
    def expires_at(self) -> int:
        """From when on nobody may decide."""
        return micros(self.event.expires_at)

    def turn(self, at: int) -> int:
        """Whose turn it is then; nobody's comes back."""
        ends = self.spec.ends()
        by_time = next((index for index, end in enumerate(ends) if at < self.at + end), len(ends) - 1)
        return max(by_time, self.current)


@dataclass
class ReadCall:
    """One call."""

    call: Call
    arguments_digest: str
    approval: Asked | None = None
    attempts: dict[int, Any] = field(default_factory=dict)
    closed_by: str = ""


@dataclass
class ReadRun:
    """One run."""

    id: str
    starter: str
    package: Package
    calls: dict[str, ReadCall] = field(default_factory=dict)
    asked: dict[str, Asked] = field(default_factory=dict)
    position: int = 0
    time: int = 0  # of the last event; it never goes back, whatever the clock does
    is_ending: bool = False
    ended_by: str = ""
    stop: str = ""
    unknown: dict[str, int] = field(default_factory=dict)
    expected_stop: str = ""


class Reading:
    """All runs of a world. A breach of the model is an AssertionError that says which."""

    def __init__(self, packages: Iterable[Package], people: People, arguments: Mapping[str, Mapping[str, Any]]) -> None:
        """`arguments` are those that calls may have, by their digests."""
        self._packages = {package.fingerprint: package for package in packages}
        self._people = people
        self._arguments = arguments
        self._digests: dict[str, tuple[str, ...]] = {}
        self._by_subject: dict[tuple[str, ...], str] = {}
        self.runs: dict[str, ReadRun] = {}
        self.decided: list[tuple[int, str, Any]] = []  # step, full id, event
        self._deliveries = 0

    def pending(self) -> dict[str, tuple[ReadRun, Asked]]:
        """What is pending, by full ids."""
        return {name: found for name, found in self.everything().items() if found[1].state == PENDING}

    def everything(self) -> dict[str, tuple[ReadRun, Asked]]:
        """All that was ever asked for, by full ids."""
        return {f"{run.id}/{each.id}": (run, each) for run in self.runs.values() for each in run.asked.values()}

    def take(self, moment: Moment, run_id: str, events: Sequence[tuple[int, event_pb2.Event]]) -> None:
        """Takes in what was written of a run in one step."""
        for position, event in events:
            body = event.WhichOneof("body")
            if body == "run_started":
                self.runs[run_id] = ReadRun(run_id, event.principal, self._packages[event.package_fingerprint])
            run = self.runs[run_id]
            assert not run.ended_by, f"{run_id} has ended, and goes on with {body}"
            assert micros(event.time) >= run.time, f"{run_id}: time goes back on record"
            run.position = position
            self._closes(run, event, body)
            take = getattr(self, f"_{body}", None)
            if take is not None:
                take(moment, run, event, getattr(event, body))
            run.time = micros(event.time)
        run = self.runs.get(run_id)
        if run is not None:
            left = [each.id for each in run.asked.values() if each.ends_with]
            assert not left, f"{run_id}: nothing followed from the end of {left}"

    def _closes(self, run: ReadRun, event: event_pb2.Event, body: str) -> None:
        """What an approval came to is followed by what that means, before anything else is said of the call."""
        call = run.calls.get(event.effect_id)
        if call is not None and call.approval is not None and call.approval.ends_with:
            expected, call.approval.ends_with = call.approval.ends_with, ""
            assert body == expected, f"{call.approval.id} is {call.approval.state}, and {body} followed"
        if body in CLOSES and call is not None:
            pending = call.approval is not None and call.approval.state == PENDING
            assert not pending, f"{body} of a call about which somebody is asked"
            call.closed_by = body
        if body == "tool_recovery_required":
            run.unknown[event.effect_id] = event.attempt
        elif event.effect_id in run.unknown and body in (*CLOSES, "retry_scheduled"):
            del run.unknown[event.effect_id]

    def _tool_requested(self, _: Moment, run: ReadRun, event: event_pb2.Event, body: Any) -> None:
        arguments = self._arguments[body.arguments.digest]
        run.calls[event.effect_id] = ReadCall(Call(run.package.tools[body.tool], arguments), body.arguments.digest)

    def _verdict(self, moment: Moment, run: ReadRun, call: ReadCall) -> tuple[str, str]:
        return verdict(call.call, run.package.policies, moment.operator)

    def _approval_requested(self, moment: Moment, run: ReadRun, event: event_pb2.Event, body: Any) -> None:
        call, at = run.calls[event.effect_id], micros(event.time)
        said = self._verdict(moment, run, call)
        assert said == ("ask", body.approval), f"{body.approval_id} was asked for, and the rules say {said}"
        assert body.approval_id not in run.asked, f"{body.approval_id} was asked for twice"
        before = call.approval
        assert before is None or before.state != PENDING, f"{body.approval_id}: of the call another one is pending"
        spec = run.package.approval(body.approval)
        sets = [(tuple(each.roles), tuple(each.principals), micros(each.until)) for each in body.sets]
        expected = [(each.roles, each.principals, at + end) for each, end in zip(spec.sets, spec.ends(), strict=True)]
        assert sets == expected, f"{body.approval_id} is for others than the package says: {sets}"
        assert micros(body.expires_at) == at + spec.ends()[-1]
        assert body.four_eyes == spec.four_eyes
        assert (body.tool, body.executor) == (call.call.tool.name, call.call.tool.executor)
        assert body.arguments.digest == call.arguments_digest, "what is shown is what was asked for"
        subject = (run.package.fingerprint, body.tool, body.schema_digest, body.executor, body.arguments.digest)
        assert self._digests.setdefault(body.digest, subject) == subject, "one digest of two calls"
        assert self._by_subject.setdefault(subject, body.digest) == body.digest, "two digests of one call"
        call.approval = run.asked[body.approval_id] = Asked(body.approval_id, event.effect_id, body, spec, at)

    def _of(self, run: ReadRun, body: Any, state: str = PENDING) -> Asked:
        found = run.asked.get(body.approval_id)
        assert found is not None, f"{body.approval_id} was never asked for"
        assert found.state == state, f"{found.id} is {found.state}, and came to something else"
        return found

    def _approval_decided(self, moment: Moment, run: ReadRun, event: event_pb2.Event, body: Any) -> None:
        asked, at = self._of(run, body), micros(event.time)
        first, last = max(moment.first, run.time), max(moment.last, run.time)
        assert first <= at <= last, f"{asked.id} was decided at {at}, not from {first} to {last}"
        assert at < asked.expires_at, f"{asked.id} was decided {at - asked.expires_at} us too late"
        assert body.digest == asked.event.digest, f"{asked.id} was decided on by another digest"
        approvers, executor = asked.spec.sets[asked.turn(at)], asked.event.executor
        why = self._people.why_not(body.decided_by, approvers, executor, run.starter, four_eyes=asked.spec.four_eyes)
        assert not why, f"{asked.id} was decided by {body.decided_by}, who may not: {why}"
        name = approval_pb2.ApprovalVerdict.Name(body.verdict).removeprefix("APPROVAL_VERDICT_")
        sent = [request for who, request in moment.asked if self._is_request(who, request, run, body)]
        assert sent, f"{asked.id}: nobody has asked for this decision"
        asked.state, asked.decided_by, asked.request, asked.closed_in = (
            DECIDED[name],
            body.decided_by,
            sent[0],
            moment.number,
        )
        self.decided.append((moment.number, f"{run.id}/{asked.id}", body))
        if name == "ABORT_RUN":
            run.expected_stop, run.is_ending = "APPROVAL_ABORTED", True
        asked.ends_with = {"DENY": "tool_denied", "RESPOND": "tool_completed"}.get(name, "")

    @staticmethod
    def _is_request(who: str, request: Any, run: ReadRun, body: Any) -> bool:
        same = (request.approval_id, request.verdict, request.digest, request.request_id)
        return (who, *same) == (
            body.decided_by,
            f"{run.id}/{body.approval_id}",
            body.verdict,
            body.digest,
            body.request_id,
        )

    def _approval_expired(self, moment: Moment, run: ReadRun, event: event_pb2.Event, body: Any) -> None:
        asked, at = self._of(run, body), micros(event.time)
        assert at >= asked.expires_at, f"{asked.id} expired {asked.expires_at - at} us too early"
        asked.state, asked.closed_in = "EXPIRED", moment.number
        if asked.spec.on_expiry == "abort_run":
            run.expected_stop, run.is_ending = "APPROVAL_EXPIRED", True
        else:
            asked.ends_with = "tool_failed"

    def _approval_withdrawn(self, moment: Moment, run: ReadRun, _: event_pb2.Event, body: Any) -> None:
        asked = self._of(run, body)
        asked.state, asked.closed_in = "WITHDRAWN", moment.number
        run.is_ending = True

    def _approval_superseded(self, moment: Moment, run: ReadRun, _: event_pb2.Event, body: Any) -> None:
        asked = self._of(run, body, APPROVED)
        assert not asked.is_spent, f"{asked.id} was used, and is superseded"
        said = self._verdict(moment, run, run.calls[asked.call])
        assert said != ("ask", asked.event.approval), f"{asked.id} is superseded, and the rules ask for it"
        asked.state = "SUPERSEDED"

    def _approval_escalated(self, _: Moment, run: ReadRun, event: event_pb2.Event, body: Any) -> None:
        asked = self._of(run, body)
        over = asked.at + asked.spec.ends()[body.current_set - 1]
        assert asked.current < body.current_set, f"{asked.id}: a turn came back"
        assert micros(event.time) >= over, f"{asked.id}: a turn was over too early"
        asked.current = body.current_set

    def _tool_started(self, moment: Moment, run: ReadRun, event: event_pb2.Event, body: Any) -> None:
        call = run.calls[event.effect_id]
        name = f"{run.id}/{event.effect_id}, attempt {event.attempt}"
        assert not run.is_ending, f"{name} begins although the run ends"
        assert not call.closed_by, f"{name} begins although the call is over"
        assert event.attempt not in call.attempts, f"{name} begins twice"
        assert body.arguments_digest == call.arguments_digest, f"{name} has other arguments than were asked for"
        word, approval = self._verdict(moment, run, call)
        assert word in ("allow", "ask"), f"{name} begins although the rules say {word}"
        asked = call.approval
        assert asked is None or asked.state in (APPROVED, "SUPERSEDED"), f"{name} begins; {asked.id} is {asked.state}"
        if word == "ask":
            assert asked is not None and asked.state == APPROVED, f"{name} begins, and nobody has approved it"
            assert asked.event.approval == approval, f"{name} begins by {asked.event.approval!r}, not {approval!r}"
        if asked is not None and asked.state == APPROVED:
            said = (body.approval_id, body.approved_by, body.approval_digest)
            assert said == (asked.id, asked.decided_by, asked.event.digest), f"{name} says of its approval {said}"
            assert asked.event.arguments.digest == body.arguments_digest, f"{name} is not what was approved"
            asked.is_spent = True
        else:
            assert not body.approval_id, f"{name} begins by {body.approval_id}, which is none of its"
        call.attempts[event.attempt] = body

    def _tool_completed(self, _: Moment, run: ReadRun, event: event_pb2.Event, body: Any) -> None:
        call = run.calls[event.effect_id]
        if call.approval is not None and call.approval.state == "RESPONDED":
            assert body.result.digest == sha256(call.approval.request.message.encode()), (
                "another response than was given"
            )
        else:
            assert event.attempt in call.attempts, f"{event.effect_id} has a result, and never began"

    def _tool_failed(self, _: Moment, run: ReadRun, event: event_pb2.Event, body: Any) -> None:
        call = run.calls[event.effect_id]
        if call.approval is not None and call.approval.state == "EXPIRED":
            reason = error_pb2.ErrorReason.Name(body.reason).removeprefix("ERROR_REASON_")
            is_lost = bool(call.attempts) and reason == "EXECUTOR_LOST"
            assert is_lost or reason == "APPROVAL_EXPIRED", (
                f"{call.approval.id} expired, and the model is told {reason}"
            )

    def _run_cancel_requested(self, _: Moment, run: ReadRun, __: event_pb2.Event, ___: Any) -> None:
        run.is_ending = True

    def _ended(self, _: Moment, run: ReadRun, event: event_pb2.Event, body: Any) -> None:
        run.ended_by = str(event.WhichOneof("body"))
        pending = [each.id for each in run.asked.values() if each.state == PENDING]
        assert not pending, f"{run.id} has ended, and {pending} is pending"
        if run.ended_by == "run_failed":
            run.stop = run_pb2.StopReason.Name(body.stop_reason).removeprefix("STOP_REASON_")
            assert run.stop != "INTERNAL", f"{run.id} met a fault of the server's own"
        if run.expected_stop and run.ended_by == "run_failed":
            assert run.stop == run.expected_stop, f"{run.id} ended with {run.stop}, not {run.expected_stop}"
        assert not run.expected_stop or run.ended_by != "run_completed", f"{run.id} was to end, and went on"

    _run_completed = _run_failed = _run_cancelled = _ended

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
            same = [
                one
                for one in ledger[:number]
                if (one.request.run_id, one.request.call_id, one.request.attempt)
                == (request.run_id, request.call_id, request.attempt)
            ]
            assert not same, f"{name} reached hosts twice"
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
