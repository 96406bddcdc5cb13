"""What the records of a run so far allow of approvals: checked record by record, independently of `apply`."""

from __future__ import annotations

from dataclasses import dataclass, field

from runwright.core import records as r
from runwright.core.approvals import ApprovalExpiry, ApprovalVerdict, ApproverSet
from runwright.core.policy import Verdict
from runwright.core.units import Micros


@dataclass
class Asked:
    """An approval that was asked for, and what became of it."""

    request: r.ApprovalRequested
    end: str = "pending"
    approved_by: str = ""
    current: int = 0
    spent_by: str = ""
    digest: str = ""
    arguments: str = ""  # that it is about, by their digest: as they were asked for, or as they were edited
    sets: list[ApproverSet] = field(default_factory=list)
    delegations: int = 0

    def turn(self, at: Micros) -> ApproverSet:
        """Whose turn it is at that time."""
        return next(each for each in self.sets if at < each.until)


@dataclass
class ApprovalLedger:
    """Approvals by their ids, and by calls what their policies said last and which approval is theirs."""

    starter: str
    known: dict[str, Asked] = field(default_factory=dict)
    said: dict[str, r.PolicyDecided] = field(default_factory=dict)
    of_call: dict[str, str] = field(default_factory=dict)

    def check(self, record: r.Record) -> None:
        """Takes in one more record."""
        match record:
            case r.PolicyDecided(subject=str() as call):
                assert not self._is_pending(call), "nothing is decided about a call while somebody is asked"
                self.said[call] = record
            case r.ApprovalRequested():
                self._request(record)
            case r.ApprovalDecided():
                self._decide(record)
            case r.ApprovalExpired():
                asked = self._pending(record.call_id, record.approval_id)
                assert record.at >= asked.request.expires_at, "nothing expires before its time"
                asked.end = "ends the run" if asked.request.on_expiry is ApprovalExpiry.ABORT_RUN else "expired"
            case r.ApprovalWithdrawn():
                self._pending(record.call_id, record.approval_id).end = "withdrawn"
            case r.ApprovalEscalated():
                asked = self._pending(record.call_id, record.approval_id)
                over = asked.request.sets[: record.current_set]
                assert all(each.until <= record.at for each in over), "nobody's turn is over before its time"
                asked.current = record.current_set
            case r.ApprovalDelegated():
                self._delegate(record)
            case r.ApprovalSuperseded():
                asked = self.known[record.approval_id]
                assert (asked.end, asked.spent_by) == ("APPROVE", ""), "only what was given and not used is superseded"
                asked.end = "superseded"
            case r.ToolStarted():
                self._start(record)
            case r.ToolFailed() | r.ToolDenied() | r.ToolCancelled() | r.ToolCompleted():
                assert not self._is_pending(record.call_id), "nobody is asked about a call that is over"
            case r.ModelAttemptStarted():
                assert not any(asked.end == "pending" for asked in self.known.values()), "the model waits"

    def answers(self, record: r.PolicyDecided) -> bool:
        """True when what the policies ask for was given, for these arguments."""
        asked = self.known.get(self.of_call.get(record.subject or "", ""))
        if asked is None or record.decision.verdict is not Verdict.ASK or asked.end != "APPROVE":
            return False
        return (asked.request.approval, asked.arguments) == (record.approval, record.subject_digest)

    def _request(self, record: r.ApprovalRequested) -> None:
        assert record.approval_id not in self.known, "an approval is asked for once"
        assert not self._is_pending(record.call_id), "a call has one pending approval at most"
        asks = self.said[record.call_id]
        assert (asks.decision.verdict, asks.approval) == (Verdict.ASK, record.approval), "a policy has asked for it"
        assert asks.subject_digest == record.arguments.digest
        about = record.arguments.digest
        self.known[record.approval_id] = Asked(record, digest=record.digest, arguments=about, sets=list(record.sets))
        self.of_call[record.call_id] = record.approval_id

    def _decide(self, record: r.ApprovalDecided) -> None:
        asked = self._pending(record.call_id, record.approval_id)
        request = asked.request
        assert record.at < request.expires_at, "nothing is decided too late"
        assert record.digest == request.digest, "what was looked at is what is decided on"
        turn = asked.turn(record.at)
        assert record.decided_by in turn.principals or "approver" in turn.roles, "it is their turn"
        assert not (request.four_eyes and record.decided_by == self.starter), "four eyes are two people's"
        asked.end = record.verdict.name
        if record.verdict is ApprovalVerdict.APPROVE_WITH_EDITS:
            assert record.edited_arguments is not None, "an edit says what was edited"
            assert record.edited_digest not in ("", asked.digest), "and is another digest"
            asked.digest, asked.arguments = record.edited_digest, record.edited_arguments.digest
            asked.end = "APPROVE"
            self.said.pop(record.call_id)  # what was said before is of other arguments
        if asked.end == "APPROVE":
            asked.approved_by = record.decided_by

    def _delegate(self, record: r.ApprovalDelegated) -> None:
        asked = self._pending(record.call_id, record.approval_id)
        turn = asked.turn(record.at)
        assert record.at < asked.request.expires_at and record.digest == asked.digest
        assert record.delegated_by in turn.principals or "approver" in turn.roles, "it is their turn"
        assert record.delegated_to in asked.request.delegates, "the package says so"
        assert record.delegated_to not in (self.starter, record.delegated_by)
        assert record.approvers.until == turn.until, "it gives nobody more time"
        assert asked.sets[record.current_set] is turn and not record.approvers.roles
        asked.delegations += 1
        assert record.number == asked.delegations
        asked.sets[record.current_set] = record.approvers

    def _start(self, record: r.ToolStarted) -> None:
        said, name = self.said[record.call_id], self.of_call.get(record.call_id, "")
        asks = said.decision.verdict is Verdict.ASK
        assert not asks or record.approval_id == name, "what was asked for is sent with its approval"
        if not record.approval_id:
            return
        asked = self.known[record.approval_id]
        assert asked.end == "APPROVE", "what is sent was approved"
        assert (asked.digest, asked.approved_by) == (record.approval_digest, record.approved_by)
        assert asked.arguments == record.arguments_digest, "what was approved is what is sent"
        assert said.subject_digest == record.arguments_digest, "and what the policies have spoken of"
        assert asked.spent_by in ("", record.call_id), "an approval is spent by one call"
        assert asked.request.call_id == record.call_id, "and by the one that it was asked for"
        asked.spent_by = record.call_id

    def _is_pending(self, call: str) -> bool:
        name = self.of_call.get(call)
        return name is not None and self.known[name].end == "pending"

    def _pending(self, call: str, approval_id: str) -> Asked:
        asked = self.known[approval_id]
        assert (asked.request.call_id, asked.end) == (call, "pending"), "only what is pending comes to an end"
        return asked
