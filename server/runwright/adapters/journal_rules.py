"""What every journal does alike, whatever it writes to: encode, chain, refuse."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from google.protobuf.message import DecodeError
from msgspec import Struct

from runwright.core.content import digest as digest_of
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import RunId, RunKey
from runwright.core.kinds import EventKind, kind_of
from runwright.core.machine import status
from runwright.core.outcomes import RunStatus
from runwright.core.records import Record
from runwright.core.references import refs
from runwright.core.state import RunState
from runwright.ports.journal import CHAIN_TAG, StoredEvent
from runwright.wire.checked_row import RowColumns, SnapshotRow
from runwright.wire.records import encode_events
from runwright.wire.references import event_refs
from runwright.wire.state_row import encode_state

# What one question may look at, so that none keeps the others waiting.
SCANNED_EVENTS = 2048
SCANNED_RUNS = 512
SESSION_RUNS = 256
# And what one step of a removal may read of contents, beyond the first event.
REMOVED_BYTES = 4 * 1024 * 1024


class Encoded(Struct, frozen=True):
    """One append, encoded: the kind and stored bytes of each event, and what the run is found by after it.

    `uses` says how often the events refer to each content, by digest.
    """

    run: RunKey
    session_id: str
    agent_id: str
    status: RunStatus
    labels: dict[str, str]
    events: tuple[tuple[EventKind, bytes], ...]
    uses: Mapping[str, int]

    def row(self, snapshot: RunState) -> SnapshotRow:
        """The run's row after the append."""
        return SnapshotRow.of(encode_state(snapshot), RowColumns.of(snapshot, self.status))


def encode(run: RunKey, records: Sequence[Record], *, after: int, snapshot: RunState) -> Encoded:
    """The kind and stored bytes of each record, `after` being the run's last sequence number.

    Raises ValueError when the snapshot is not the run's state after these
    records: it would hide events from the next reader of the tail.
    """
    if not records or snapshot.key != run or snapshot.seq != after + len(records):
        raise ValueError(f"{len(records)} records after {after} do not lead to the snapshot at {snapshot.seq}")
    encoded = encode_events(snapshot, after, records)
    events = tuple((kind_of(record), data) for record, data in zip(records, encoded, strict=True))
    uses: dict[str, int] = {}
    for record in records:
        for ref in refs(record):
            uses[ref.digest] = uses.get(ref.digest, 0) + 1
    return Encoded(run, snapshot.session_id, snapshot.agent_id, status(snapshot), snapshot.labels, events, uses)


def digests_of(data: bytes) -> list[str]:
    """Every content that stored bytes refer to, as often as they do; none when they do not decode."""
    try:
        return [ref.digest for ref in event_refs(data)]
    except DecodeError:
        return []


def damaged(contents: Mapping[str, object]) -> str | None:
    """The first digest that is not that of its bytes. Every journal asks this of whatever contents it hands out."""
    return next((digest for digest, data in contents.items() if not _is_of(digest, data)), None)


def _is_of(digest: str, data: object) -> bool:
    return isinstance(data, bytes) and digest_of(data) == digest


def damaged_content(run: RunId | None, digest: str, first: int) -> AgentError:
    """A content is not as it was written; `first` is the run's first event that refers to it, 0 if none is known."""
    return _corrupt(run, f"Content {digest}{_of(run)} is not as it was written.", first)


def missing_content(run: RunId | None, digest: str, first: int) -> AgentError:
    """A content that must be there is not; `first` as above."""
    return _corrupt(run, f"Content {digest}{_of(run)} is missing from the journal.", first)


def _of(run: RunId | None) -> str:
    return f" of run {run}" if run else ""


def _corrupt(run: RunId | None, message: str, first: int) -> AgentError:
    metadata = {"run_id": run or "", "first_bad": str(first or "")}
    return AgentError(ErrorReason.JOURNAL_CORRUPT, message, metadata=metadata)


def first_link(run: RunKey) -> bytes:
    """What the first event of a run is chained to, so that no run's events pass for another's."""
    return hashlib.sha256(b"\0".join((CHAIN_TAG, run.namespace.encode(), run.run_id.encode()))).digest()


def link(encoded: Encoded, *, after: int, position: int, previous_hash: bytes) -> list[StoredEvent]:
    """The events with their places; `position` is that of the journal's last event so far."""
    stored = []
    for offset, (kind, data) in enumerate(encoded.events, start=1):
        own_hash = hashlib.sha256(previous_hash + data).digest()
        place = (position + offset, after + offset)
        hashes = (previous_hash, own_hash)
        stored.append(StoredEvent(*place, kind, data, *hashes, encoded.run, encoded.session_id, encoded.agent_id))
        previous_hash = own_hash
    return stored


def conflict(run: RunKey) -> AgentError:
    """The refusal of an append whose caller does not know the run's last event."""
    return AgentError(ErrorReason.JOURNAL_CONFLICT, f"Run {run.run_id} has moved on.", metadata={"run_id": run.run_id})


def unknown(run: RunKey) -> AgentError:
    """There is no such run."""
    return AgentError(ErrorReason.RUN_NOT_FOUND, f"There is no run {run.run_id}.", metadata={"run_id": run.run_id})


def closed() -> AgentError:
    """The refusal of everything that is asked of a journal after its close."""
    return AgentError(ErrorReason.DRAINING, "The journal is closed.", metadata={"retry_after": "2s"})


def ends_open(events: Iterable[StoredEvent]) -> bool:
    """True when the run can still go on after these events."""
    return not any(event.is_terminal for event in events)
