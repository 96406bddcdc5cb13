"""What every journal does alike, whatever it writes to: encode, chain, refuse."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from runwright.core.errors import AgentError, ErrorReason
from runwright.core.events import EventKind, kind_of
from runwright.core.ids import RunKey
from runwright.core.records import Record
from runwright.core.state import RunState
from runwright.ports.journal import CHAIN_TAG, StoredEvent
from runwright.wire.records import encode_event

Encoded: TypeAlias = tuple[tuple[EventKind, bytes], ...]


def encode(run: RunKey, records: Sequence[Record], *, after: int, snapshot: RunState) -> Encoded:
    """The kind and stored bytes of each record, `after` being the run's last sequence number.

    Raises ValueError when the snapshot is not the run's state after these
    records: it would hide events from the next reader of the tail.
    """
    if not records or snapshot.key != run or snapshot.seq != after + len(records):
        raise ValueError(f"{len(records)} records after {after} do not lead to the snapshot at {snapshot.seq}")
    return tuple(
        (kind_of(record), encode_event(snapshot, seq, record)) for seq, record in enumerate(records, start=after + 1)
    )


def first_link(run: RunKey) -> bytes:
    """What the first event of a run is chained to, so that no run's events pass for another's."""
    return hashlib.sha256(b"\0".join((CHAIN_TAG, run.namespace.encode(), run.run_id.encode()))).digest()


def link(encoded: Encoded, *, after: int, position: int, previous_hash: bytes) -> list[StoredEvent]:
    """The events with their places; `position` is that of the journal's last event so far."""
    stored = []
    for offset, (kind, data) in enumerate(encoded, start=1):
        own_hash = hashlib.sha256(previous_hash + data).digest()
        stored.append(StoredEvent(position + offset, after + offset, kind, data, previous_hash, own_hash))
        previous_hash = own_hash
    return stored


def conflict(run: RunKey) -> AgentError:
    """The refusal of an append whose caller does not know the run's last event."""
    return AgentError(ErrorReason.JOURNAL_CONFLICT, f"Run {run.run_id} has moved on.", metadata={"run_id": run.run_id})


def closed() -> AgentError:
    """The refusal of everything that is asked of a journal after its close."""
    return AgentError(ErrorReason.DRAINING, "The journal is closed.", metadata={"retry_after": "2s"})


def ends_open(events: Iterable[StoredEvent]) -> bool:
    """True when the run can still go on after these events."""
    return not any(event.is_terminal for event in events)
