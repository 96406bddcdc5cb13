"""What the journal remembers of approvals: a part of `core/records.py`.

Where there is no `call_id` the run as a whole is meant: its start or its answer. What is said of a call is empty then.
"""

from __future__ import annotations

from msgspec import Struct

from runwright.core.approval_dispatches import ApprovalNotice, DispatchResult
from runwright.core.approvals import (
    ApprovalExpiry,
    ApprovalKind,
    ApprovalSeparation,
    ApprovalVerdict,
    ApproverSet,
)
from runwright.core.content import ContentRef
from runwright.core.grants import GrantOffer
from runwright.core.ids import EffectId
from runwright.core.record import Record
from runwright.core.taint import Taint
from runwright.core.units import Micros


class ApprovalRequested(Record, frozen=True):
    """Somebody is asked to decide. Everything a decision rests on is here."""

    call_id: EffectId | None
    approval_id: str
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
    expires_at: Micros
    on_expiry: ApprovalExpiry
    four_eyes: bool
    delegates: tuple[str, ...] = ()
    escalates_at: Micros | None = None  # to the last of the sets, where the package says so
    grants: GrantOffer | None = None
    reversible: bool = False
    highlight: tuple[str, ...] = ()
    dispatchers: tuple[str, ...] = ()
    summary: str = ""  # the call in one line, see `core/summaries.py`
    tainted_by: Taint | None = None  # not there in older events


class ApprovalDecided(Record, frozen=True):
    """Somebody decided. What follows from it stands right after it, in the same append."""

    call_id: EffectId | None
    approval_id: str
    tool: str
    requested_at: Micros
    digest: str
    verdict: ApprovalVerdict
    decided_by: str
    message: str
    note: str
    on_behalf_of: str
    request_id: str
    request_digest: str
    separation: ApprovalSeparation
    edited_arguments: ContentRef | None = None  # of APPROVE_WITH_EDITS
    edited_digest: str = ""  # what was approved then
    grant_id: str = ""


class ApprovalExpired(Record, frozen=True):
    """Nobody decided in time. What follows from it stands right after it, in the same append."""

    call_id: EffectId | None
    approval_id: str
    tool: str
    requested_at: Micros
    expires_at: Micros
    on_expiry: ApprovalExpiry


class ApprovalWithdrawn(Record, frozen=True):
    """There is nothing to decide any more, because the run is ending."""

    call_id: EffectId | None
    approval_id: str
    tool: str
    requested_at: Micros


class ApprovalSuperseded(Record, frozen=True):
    """An approval that was given and not used counts no more: the policies ask for another one."""

    call_id: EffectId | None
    approval_id: str
    tool: str
    requested_at: Micros


class ApprovalEscalated(Record, frozen=True):
    """It is the turn of the next approver set; `current_set` counts them from 0."""

    call_id: EffectId | None
    approval_id: str
    tool: str
    requested_at: Micros
    current_set: int


class ApprovalDelegated(Record, frozen=True):
    """Somebody who may decide has somebody else decide; `approvers` may from now on. `number` counts from 1."""

    call_id: EffectId | None
    approval_id: str
    tool: str
    requested_at: Micros
    digest: str
    number: int
    delegated_by: str
    delegated_to: str
    current_set: int
    approvers: ApproverSet
    note: str
    on_behalf_of: str
    request_id: str
    request_digest: str


class ApprovalDispatchStarted(Record, frozen=True):
    """Intent: a dispatcher is about to be told how an approval stands."""

    effect_id: EffectId
    attempt: int
    approval_id: str
    dispatcher: str
    notice: ApprovalNotice
    revision: int


class DispatchedDecision(Struct, frozen=True):
    """What a dispatcher has answered that it decides."""

    verdict: ApprovalVerdict
    on_behalf_of: str = ""


class ApprovalDispatched(Record, frozen=True):
    """Result of an attempt at telling a dispatcher. What it decided, if that counts, stands right behind it.

    `decision` is there when it decided, `refusal` says why that does not count. `retry_at`: None when it is not tried
    again by itself.
    """

    effect_id: EffectId
    attempt: int
    approval_id: str
    dispatcher: str
    notice: ApprovalNotice
    revision: int
    result: DispatchResult
    retry_at: Micros | None
    principal: str
    callback_id: str
    reference: str
    decision: DispatchedDecision | None
    refusal: str
