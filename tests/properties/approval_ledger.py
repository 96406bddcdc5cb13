"""What the records of a run so far allow of approvals: checked record by record, independently of `apply`."""

from __future__ import annotations

from dataclasses import dataclass, field

from runwright.core import records as r
from runwright.core.approvals import ApprovalExpiry, ApprovalVerdict
from runwright.core.policy import Verdict


@dataclass
class Asked:
    """An approval that was asked for, and what became of it."""

    request: r.ApprovalRequested
    end: str = "pending"
    approved_by: str = ""
    current: int = 0
    spent_by: str = ""


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

    def _request(self, record: r.ApprovalRequested) -> None:
        assert record.approval_id not in self.known, "an approval is asked for once"
        assert not self._is_pending(record.call_id), "a call has one pending approval at most"
        asks = self.said[record.call_id]
        assert (asks.decision.verdict, asks.approval) == (Verdict.ASK, record.approval), "a policy has asked for it"
        assert asks.subject_digest == record.arguments.digest
        self.known[record.approval_id] = Asked(record)
        self.of_call[record.call_id] = record.approval_id

    def _decide(self, record: r.ApprovalDecided) -> None:
        asked = self._pending(record.call_id, record.approval_id)
        request = asked.request
        assert record.at < request.expires_at, "nothing is decided too late"
        assert record.digest == request.digest, "what was looked at is what is decided on"
        turn = next(each for each in request.sets if record.at < each.until)
        assert record.decided_by in turn.principals or "approver" in turn.roles, "it is their turn"
        assert not (request.four_eyes and record.decided_by == self.starter), "four eyes are two people's"
        asked.end = record.verdict.name
        if record.verdict is ApprovalVerdict.APPROVE:
            asked.approved_by = record.decided_by

    def _start(self, record: r.ToolStarted) -> None:
        said, name = self.said[record.call_id], self.of_call.get(record.call_id, "")
        asks = said.decision.verdict is Verdict.ASK
        assert not asks or record.approval_id == name, "what was asked for is sent with its approval"
        if not record.approval_id:
            return
        asked = self.known[record.approval_id]
        assert asked.end == "APPROVE", "what is sent was approved"
        assert (asked.request.digest, asked.approved_by) == (record.approval_digest, record.approved_by)
        assert asked.request.arguments.digest == record.arguments_digest, "what was approved is what is sent"
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
