"""The check of a run's row: it is as it was written, and stands beside the event it was written with.

The row's bytes are a version byte, a check of 32 bytes, and the body: a state, or a tombstone. The check is SHA-256
over the version, what identifies the run, every other column of its row, the body, and the position and hash of its
last event.
"""

from __future__ import annotations

import hashlib

from msgspec import Struct
from msgspec.msgpack import Encoder

from runwright.core.ids import RunKey
from runwright.core.outcomes import RunStatus
from runwright.core.state import RunState
from runwright.wire.state_row import VERSION

# Rows of before version 1 had no byte and no check: they begin with the brace of their state.
UNCHECKED = b"{"
_TAG = "runwright-row-v{}"
_CHECK_BYTES = 32
_BODY = 1 + _CHECK_BYTES
_CHECKED = Encoder(order="sorted")  # labels are a mapping: their order means nothing
_TAGS = {version: _TAG.format(version) for version in range(1, VERSION + 1)}


class RowColumns(Struct, frozen=True):
    """The columns of a run's row that are known before its events have their places."""

    run: RunKey
    seq: int
    session_id: str
    agent_id: str
    status: int
    labels: dict[str, str]
    removed_at: int = 0

    @classmethod
    def of(cls, state: RunState, status: RunStatus) -> RowColumns:
        """The columns of a run in this state."""
        found_by = (state.session_id, state.agent_id, status.value, state.labels)
        return cls(state.key, state.seq, *found_by, removed_at=state.removed_at)


class RowEnd(Struct, frozen=True):
    """The rest of the columns: where the last event is, its hash, and whether another one may follow."""

    last_position: int
    hash: bytes
    is_open: bool


class SnapshotRow(Struct, frozen=True):
    """A body, and a digest of it and of the columns: all of the check that is known before the commit."""

    body: bytes
    digest: bytes
    version: int = VERSION

    @classmethod
    def of(cls, body: bytes, columns: RowColumns, version: int = VERSION) -> SnapshotRow:
        """Made on the event loop: what is left to the thread that commits takes a microsecond."""
        run = columns.run
        found_by = (columns.session_id, columns.agent_id, columns.status, columns.labels, columns.removed_at)
        checked = _CHECKED.encode((_TAGS[version], run.namespace, run.run_id, columns.seq, *found_by, body))
        return cls(body, hashlib.sha256(checked).digest(), version)

    def checked(self, end: RowEnd) -> bytes:
        """The row's bytes, with their check."""
        return bytes([self.version]) + self.check(end) + self.body

    def check(self, end: RowEnd) -> bytes:
        """The check alone, of 32 bytes."""
        rest = self.digest + end.hash + end.last_position.to_bytes(8, "big") + bytes([end.is_open])
        return hashlib.sha256(rest).digest()


def believed(row: bytes, columns: RowColumns, end: RowEnd) -> SnapshotRow | None:
    """What stands in a row whose check fits these columns, of whatever version; None when it does not."""
    try:
        found = SnapshotRow.of(row[_BODY:], columns, row[0])
        fits = row[1:_BODY] == found.check(end)
    except (TypeError, AttributeError, ValueError, OverflowError, LookupError):  # columns not even of their kind
        return None
    return found if fits else None
