"""What appends write of delegations beside their events: each under the id of its approval, in their order.

An approval as it was asked for never changes; who may decide now follows from it and from these.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.json import Decoder, Encoder

from runwright.core import records as r
from runwright.core.approval_rows import RequestedApproval, full_id
from runwright.core.approvals import ApproverSet
from runwright.core.side_rows import PutEntry, SideRow
from runwright.core.state import RunState
from runwright.core.units import Micros

DELEGATED = "approval-delegated"


class Delegation(Struct, frozen=True):
    """Who had whom decide, when (microseconds), in the place of which set; `approvers` may decide from then on."""

    number: int
    at: Micros
    delegated_by: str
    delegated_to: str
    current_set: int
    approvers: ApproverSet
    note: str
    on_behalf_of: str
    request_id: str
    request_digest: str


_ENCODER = Encoder()
_DECODER = Decoder(Delegation)


def delegations_of(approval: str) -> str:
    """What the keys of an approval's delegations begin with."""
    return f"{approval}/"


def read_delegation(value: bytes) -> Delegation:
    """Of an entry of DELEGATED. Raises msgspec.DecodeError."""
    return _DECODER.decode(value)


def rows_of_delegation(state: RunState, record: r.ApprovalDelegated) -> Sequence[SideRow]:
    """One more delegation of it."""
    row = Delegation(
        number=record.number,
        at=record.at,
        delegated_by=record.delegated_by,
        delegated_to=record.delegated_to,
        current_set=record.current_set,
        approvers=record.approvers,
        note=record.note,
        on_behalf_of=record.on_behalf_of,
        request_id=record.request_id,
        request_digest=record.request_digest,
    )
    key = f"{delegations_of(full_id(state.key.run_id, record.approval_id))}{record.number:02}"
    return (PutEntry(DELEGATED, key, _ENCODER.encode(row)),)


def sets_after(asked: RequestedApproval, delegations: Sequence[Delegation]) -> tuple[ApproverSet, ...]:
    """Who may decide, one set after the other, after these delegations, which are in their order."""
    sets = list(asked.sets)
    for each in delegations:
        sets[each.current_set] = each.approvers
    return tuple(sets)
