"""What appends write of dispatches beside their events, so that an approval shows who was told of it.

`approval-dispatch` has one entry for each approval and dispatcher: how far that one has been told. All of it goes when
the run is removed.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.json import Decoder, Encoder

from runwright.core import records as r
from runwright.core.approval_dispatches import ApprovalNotice, DispatchResult
from runwright.core.approval_rows import full_id
from runwright.core.ids import RunKey
from runwright.core.side_rows import PutEntry, SideRow
from runwright.core.state import RunState
from runwright.core.units import Micros

DISPATCH = "approval-dispatch"


class DispatchStanding(Struct, frozen=True):
    """How far a dispatcher has been told. `result` is None while an attempt is under way. Times are microseconds."""

    dispatcher: str
    notice: ApprovalNotice
    attempt: int
    at: Micros
    result: DispatchResult | None = None
    retry_at: Micros | None = None
    principal: str = ""
    refusal: str = ""


_ENCODER, _DECODER = Encoder(), Decoder(DispatchStanding)


def dispatch_prefix(approval: str) -> str:
    """What the keys of an approval's dispatches begin with."""
    return f"{approval}/"


def read_dispatch(value: bytes) -> DispatchStanding:
    """Of an entry of DISPATCH. Raises msgspec.DecodeError."""
    return _DECODER.decode(value)


def rows_of_dispatch_started(state: RunState, record: r.ApprovalDispatchStarted) -> Sequence[SideRow]:
    """A dispatcher is being told."""
    standing = DispatchStanding(record.dispatcher, record.notice, record.attempt, record.at)
    return (_row(state.key, record.approval_id, standing),)


def rows_of_dispatched(state: RunState, record: r.ApprovalDispatched) -> Sequence[SideRow]:
    """It has been, or could not be."""
    standing = DispatchStanding(
        record.dispatcher,
        record.notice,
        record.attempt,
        record.at,
        record.result,
        record.retry_at,
        record.principal,
        record.refusal,
    )
    return (_row(state.key, record.approval_id, standing),)


def _row(run: RunKey, approval_id: str, standing: DispatchStanding) -> PutEntry:
    key = dispatch_prefix(full_id(run.run_id, approval_id)) + standing.dispatcher
    return PutEntry(DISPATCH, key, _ENCODER.encode(standing))
