"""What appends write of grants beside their events, and under which conditions a use of one stands.

`grant` has each one by its id, and `grant-issued` lists all ids, the newest first. What still answers stands in
`grant-open`, the one that lasts longest first, and in `grant-answering`, where calls look for it. The counter
`grant/ID` is what is left of its uses; the append that spends the last one takes it out of both. `grant-revoked` says
who took it back, which takes it out of both, too. All of it goes with the run that it was issued in: so does the grant.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.json import Decoder, Encoder

from runwright.core import records as r
from runwright.core.grants import Grant
from runwright.core.side_rows import (
    Condition,
    DeleteEntry,
    DeleteWhenSpent,
    EntryIs,
    NoEntry,
    PutEntry,
    SetCounter,
    SideRow,
    Spend,
)
from runwright.core.state import RunState
from runwright.core.units import Micros

BY_ID, ISSUED, OPEN, ANSWERING, REVOKED = "grant", "grant-issued", "grant-open", "grant-answering", "grant-revoked"
_NEWEST = (1 << 63) - 1


class Revocation(Struct, frozen=True):
    """Who took a grant back, and when, in microseconds."""

    revoked_by: str
    at: Micros
    note: str = ""


_ENCODER = Encoder()
_GRANT, _REVOCATION = Decoder(Grant), Decoder(Revocation)


def read_grant(value: bytes) -> Grant:
    """Of an entry of BY_ID, OPEN or ANSWERING. Raises msgspec.DecodeError."""
    return _GRANT.decode(value)


def read_revocation(value: bytes) -> Revocation:
    """Of an entry of REVOKED. Raises msgspec.DecodeError."""
    return _REVOCATION.decode(value)


def counter_of(grant_id: str) -> str:
    """The counter of what is left of a grant."""
    return f"grant/{grant_id}"


def issued_key(grant: Grant) -> str:
    """Where a grant stands among all: the newest first."""
    return f"{_NEWEST - grant.issued_at:016x}/{grant.grant_id}"


def open_key(grant: Grant) -> str:
    """Where a grant stands among those that answer: the one that lasts longest first, so that what is over is last."""
    return f"{_NEWEST - grant.until:016x}/{grant.grant_id}"


def answering_key(grant: Grant) -> str:
    """Where a grant stands among those that calls of one kind look for, as in `open_key`."""
    return f"{grant.lookup_key}/{open_key(grant)}"


def id_of_key(key: str) -> str:
    """The grant that stands at a key of ISSUED or OPEN."""
    return key.partition("/")[2]


def rows_of_issue(_: RunState, record: r.GrantIssued) -> Sequence[SideRow]:
    """It is listed, can be found, and has all its uses."""
    grant = record.grant
    value = _ENCODER.encode(grant)
    return (
        PutEntry(BY_ID, grant.grant_id, value),
        PutEntry(ISSUED, issued_key(grant)),
        PutEntry(OPEN, open_key(grant), value, grant.until),
        PutEntry(ANSWERING, answering_key(grant), value, grant.until),
        SetCounter(counter_of(grant.grant_id), grant.uses),
    )


def rows_of_use(_: RunState, record: r.GrantUsed) -> Sequence[SideRow]:
    """It stands and has not expired, a use is left and is spent; with the last one it is out of the lists."""
    grant = record.grant
    counter = counter_of(grant.grant_id)
    return (
        EntryIs(ANSWERING, answering_key(grant), at=record.at),
        Spend(counter),
        DeleteWhenSpent(ANSWERING, answering_key(grant), counter),
        DeleteWhenSpent(OPEN, open_key(grant), counter),
    )


def rows_of_revocation(grant: Grant, revocation: Revocation) -> Sequence[SideRow]:
    """It is taken back, unless it was before or answers no more."""
    return (
        NoEntry(REVOKED, grant.grant_id),
        EntryIs(ANSWERING, answering_key(grant), at=revocation.at),
        PutEntry(REVOKED, grant.grant_id, _ENCODER.encode(revocation)),
        DeleteEntry(ANSWERING, answering_key(grant)),
        DeleteEntry(OPEN, open_key(grant)),
    )


def is_about(condition: Condition, grant: Grant) -> bool:
    """True for a condition under which a use of that grant stands."""
    if isinstance(condition, Spend):
        return condition.counter == counter_of(grant.grant_id)
    return (condition.index, condition.key) == (ANSWERING, answering_key(grant))
