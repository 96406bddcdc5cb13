"""What the journal remembers of grants: a part of `core/records.py`."""

from __future__ import annotations

from runwright.core.approvals import ApprovalSeparation
from runwright.core.grants import Grant
from runwright.core.ids import EffectId
from runwright.core.record import Record


class GrantIssued(Record, frozen=True):
    """Whoever approved a call gave a grant with it. Stands right behind the decision, in the same append."""

    call_id: EffectId
    approval_id: str
    grant: Grant


class GrantUsed(Record, frozen=True):
    """A grant answered for a call, and one of its uses is spent, whatever becomes of the call.

    `issued_hash` is that of the event that issued it, so that an export with both proves it.
    """

    call_id: EffectId
    tool: str
    grant: Grant
    issued_hash: bytes
    digest: str
    arguments_digest: str
    policy_ref: str
    rule: str
    code: str
    separation: ApprovalSeparation


class GrantSuperseded(Record, frozen=True):
    """What a grant answered for a call that was not made yet counts no more: the policies ask for something else."""

    call_id: EffectId
    tool: str
    grant_id: str
