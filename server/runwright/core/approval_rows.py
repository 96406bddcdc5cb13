"""What appends write of approvals beside their events, so that they are listed and looked up without reading events.

`approval` has each one as it was asked for, by its id, `approval-outcome` what became of it, `approval-superseded` that
it counts no more although it was given. `approval-pending` and `approval-closed` list their ids: what is pending by the
time at which it was asked for, and what is closed by the time at which it was, the newest first. What the next call is
compared with stands in `approved_call_rows.py`. All of it goes when the run is removed.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.json import Decoder, Encoder

from runwright.core import records as r
from runwright.core.approvals import (
    APPROVING,
    ApprovalExpiry,
    ApprovalKind,
    ApprovalSeparation,
    ApprovalState,
    ApprovalVerdict,
    ApproverSet,
    current_set,
)
from runwright.core.approved_call_rows import approved_call, approved_calls_of
from runwright.core.content import ContentRef
from runwright.core.grants import GrantOffer
from runwright.core.ids import EffectId, RunKey
from runwright.core.side_rows import DeleteEntry, PutEntry, SideRow
from runwright.core.state import RunState
from runwright.core.taint import Taint
from runwright.core.units import Micros

BY_ID, OUTCOME, SUPERSEDED = "approval", "approval-outcome", "approval-superseded"
PENDING, CLOSED = "approval-pending", "approval-closed"
_NEWEST = (1 << 63) - 1


class RequestedApproval(Struct, frozen=True):
    """An approval as it was asked for. Never changes. Times are microseconds."""

    approval_id: str  # inside the run
    run_id: str
    agent_id: str
    session_id: str
    started_by: str
    package_fingerprint: str
    effect_id: EffectId  # empty where the run as a whole is to be approved
    kind: ApprovalKind
    tool: str
    executor: str
    risk: str
    arguments: ContentRef
    digest: str
    schema_digest: str
    approval: str
    policy_ref: str
    rule: str
    code: str
    decider: str
    message: str
    tainted: bool
    sets: tuple[ApproverSet, ...]
    requested_at: Micros
    expires_at: Micros
    on_expiry: ApprovalExpiry
    four_eyes: bool
    delegates: tuple[str, ...] = ()
    escalates_at: Micros | None = None
    grants: GrantOffer | None = None
    reversible: bool = False
    highlight: tuple[str, ...] = ()
    summary: str = ""
    tainted_by: Taint | None = None  # not there in older rows

    @property
    def lineage(self) -> tuple[str, ...]:
        """The runs from the first one to the one that asks. No run starts another, so it is the only one."""
        return (self.run_id,)

    @property
    def id(self) -> str:
        """Its id in the namespace."""
        return full_id(self.run_id, self.approval_id)

    def current_set(self, at: Micros) -> int:
        """Whose turn it is at that time."""
        return current_set(self.sets, at)

    def is_of(self, name: str, roles: Sequence[str]) -> bool:
        """True when a principal is in one of the approver sets that it was asked for with."""
        return any(each.has(name, roles) for each in self.sets)


class ApprovalOutcome(Struct, frozen=True):
    """What became of an approval: a decision, or an end without one. Times are microseconds."""

    state: ApprovalState
    at: Micros
    verdict: ApprovalVerdict | None = None
    decided_by: str = ""
    digest: str = ""
    message: str = ""
    note: str = ""
    on_behalf_of: str = ""
    request_id: str = ""
    request_digest: str = ""
    separation: ApprovalSeparation = ApprovalSeparation.ENFORCED
    edited_arguments: ContentRef | None = None  # of APPROVE_WITH_EDITS
    edited_digest: str = ""
    grant_id: str = ""


_ENCODER = Encoder()
_REQUESTED, _OUTCOME = Decoder(RequestedApproval), Decoder(ApprovalOutcome)


def full_id(run_id: str, approval_id: str) -> str:
    """The id of an approval in its namespace: the run's, a slash, and its own inside the run."""
    return f"{run_id}/{approval_id}"


def pending_key(requested_at: Micros, approval: str) -> str:
    """Where a pending approval stands among the others: the oldest first."""
    return f"{requested_at:016x}/{approval}"


def closed_key(closed_at: Micros, approval: str) -> str:
    """Where a closed approval stands among the others: the newest first."""
    return f"{_NEWEST - closed_at:016x}/{approval}"


def id_of_key(key: str) -> str:
    """The approval that stands at a key of either list."""
    return key.partition("/")[2]


def read_requested(value: bytes) -> RequestedApproval:
    """Of an entry of BY_ID or PENDING. Raises msgspec.DecodeError."""
    return _REQUESTED.decode(value)


def read_outcome(value: bytes) -> ApprovalOutcome:
    """Of an entry of OUTCOME. Raises msgspec.DecodeError."""
    return _OUTCOME.decode(value)


def rows_of_request(state: RunState, record: r.ApprovalRequested) -> Sequence[SideRow]:
    """It can be looked up, and is pending."""
    row = RequestedApproval(
        approval_id=record.approval_id,
        run_id=state.key.run_id,
        agent_id=state.agent_id,
        session_id=state.session_id,
        started_by=state.principal,
        package_fingerprint=state.package_fingerprint,
        effect_id=record.call_id or EffectId(""),
        kind=record.kind,
        tool=record.tool,
        executor=record.executor,
        risk=record.risk,
        arguments=record.arguments,
        digest=record.digest,
        schema_digest=record.schema_digest,
        approval=record.approval,
        policy_ref=record.policy_ref,
        rule=record.rule,
        code=record.code,
        decider=record.decider,
        message=record.message,
        tainted=record.tainted,
        sets=record.sets,
        requested_at=record.at,
        expires_at=record.expires_at,
        on_expiry=record.on_expiry,
        four_eyes=record.four_eyes,
        delegates=record.delegates,
        escalates_at=record.escalates_at,
        grants=record.grants,
        reversible=record.reversible,
        highlight=record.highlight,
        summary=record.summary,
        tainted_by=record.tainted_by,
    )
    value = _ENCODER.encode(row)
    # Twice, so that a page of the list is one question.
    return (PutEntry(BY_ID, row.id, value), PutEntry(PENDING, pending_key(record.at, row.id), value, record.expires_at))


def rows_of_decision(state: RunState, record: r.ApprovalDecided) -> Sequence[SideRow]:
    """It is closed, by somebody; a call that was approved is what the next one is compared with."""
    outcome = ApprovalOutcome(
        state=record.verdict.state,
        at=record.at,
        verdict=record.verdict,
        decided_by=record.decided_by,
        digest=record.digest,
        message=record.message,
        note=record.note,
        on_behalf_of=record.on_behalf_of,
        request_id=record.request_id,
        request_digest=record.request_digest,
        separation=record.separation,
        edited_arguments=record.edited_arguments,
        edited_digest=record.edited_digest,
        grant_id=record.grant_id,
    )
    closed = _closed(state.key, record.approval_id, record.requested_at, outcome)
    if record.call_id is None or record.verdict not in APPROVING:
        return closed
    run_id = state.key.run_id
    calls = approved_calls_of(run_id, state.session_id, state.agent_id, record.tool)
    return (*closed, approved_call(calls, record.at, full_id(run_id, record.approval_id)))


def rows_of_expiry(state: RunState, record: r.ApprovalExpired) -> Sequence[SideRow]:
    """It is closed, by nobody."""
    outcome = ApprovalOutcome(ApprovalState.EXPIRED, record.at)
    return _closed(state.key, record.approval_id, record.requested_at, outcome)


def rows_of_withdrawal(state: RunState, record: r.ApprovalWithdrawn) -> Sequence[SideRow]:
    """It is closed, because the run is ending."""
    outcome = ApprovalOutcome(ApprovalState.WITHDRAWN, record.at)
    return _closed(state.key, record.approval_id, record.requested_at, outcome)


def rows_of_successor(state: RunState, record: r.ApprovalSuperseded) -> Sequence[SideRow]:
    """It counts no more. What was decided stays on record, for whoever decided it."""
    return (PutEntry(SUPERSEDED, full_id(state.key.run_id, record.approval_id)),)


def _closed(run: RunKey, approval_id: str, requested_at: Micros, outcome: ApprovalOutcome) -> Sequence[SideRow]:
    name = full_id(run.run_id, approval_id)
    return (
        DeleteEntry(PENDING, pending_key(requested_at, name)),
        PutEntry(OUTCOME, name, _ENCODER.encode(outcome)),
        PutEntry(CLOSED, closed_key(outcome.at, name)),
    )
