"""RunState ⇄ the snapshot row: private, bounded, rewritten by every append, rebuilt from events if need be.

The row's bytes are a version byte, a check of 32 bytes, and the state. The check is SHA-256 over what identifies the
run, every other column of its row, the state, and the position and hash of its last event: a row that is not as it was
written, or stands beside other events, is known by it.
"""

from __future__ import annotations

import hashlib

from msgspec import DecodeError, Struct
from msgspec.json import Decoder, Encoder
from msgspec.msgpack import Encoder as CheckEncoder

from runwright.core.ids import RunKey
from runwright.core.outcomes import RunPhase, RunStatus
from runwright.core.policy import PolicyStage
from runwright.core.state import RunState

# A later version takes another byte and may check or hold more. Rows of before version 1 had no byte and no check:
# they begin with the brace of their state.
VERSION = b"\x01"
UNCHECKED = b"{"
_TAG = "runwright-row-v1"
_CHECK_BYTES = 32
_BODY = len(VERSION) + _CHECK_BYTES
_ENCODER = Encoder()
_DECODER = Decoder(RunState)
_ANY = Decoder()
# Fields that came later, last in their structs, with what is true of a run that was written down without them.
_LATER = {"principal_roles": [], "tainted": False, "policy_failure": None}
_LATER_OF_CALLS = {"policy": None}
_CHECKED = CheckEncoder(order="sorted")  # labels are a mapping: their order means nothing


def encode_state(state: RunState) -> bytes:
    """The state's bytes in the row."""
    return _ENCODER.encode(state)


def decode_state(data: bytes) -> RunState | None:
    """The state, or None when the row was written by a version that is not known: then events are folded anew.

    A row that says more or less than this version would is not trusted: a
    default in place of a fact could repeat an effect.
    """
    return _strictly(data) or _strictly(_without_allowed(data))


def _strictly(data: bytes) -> RunState | None:
    try:
        state = _DECODER.decode(data)
    except DecodeError:
        return None
    return state if encode_state(state) == data else None


def _without_allowed(data: bytes) -> bytes:
    """The row as this version writes it, of one that said of each call whether it was allowed, not what it has passed.

    Older ones say nothing of policies that are younger: no tool was marked untrusted, no roles were on record, and
    no operator had rules. Such rows may also have a phase of their own, 5, for a run with a call of unknown outcome:
    it is RUNNING.
    """
    try:
        row = _ANY.decode(data)
        row["phase"] = RunPhase(row["phase"]).value
        row["calls"] = [dict(_passed(*field) for field in call.items()) for call in row["calls"]]
        if not _LATER.keys() & row.keys():
            row |= _LATER
            row["calls"] = [call | _LATER_OF_CALLS for call in row["calls"]]
    except (DecodeError, KeyError, TypeError, ValueError, AttributeError):
        return b""
    return _ENCODER.encode(row)


def _passed(name: str, value: object) -> tuple[str, object]:
    return ("passed", PolicyStage.PRE_TOOL.value if value else None) if name == "allowed" else (name, value)


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
    """The state's bytes, and a digest of them and of the columns: all of the check that is known before the commit."""

    body: bytes
    digest: bytes

    @classmethod
    def of(cls, body: bytes, columns: RowColumns) -> SnapshotRow:
        """Made on the event loop: what is left to the thread that commits takes a microsecond."""
        run = columns.run
        found_by = (columns.session_id, columns.agent_id, columns.status, columns.labels, columns.removed_at)
        checked = _CHECKED.encode((_TAG, run.namespace, run.run_id, columns.seq, *found_by, body))
        return cls(body, hashlib.sha256(checked).digest())

    def checked(self, end: RowEnd) -> bytes:
        """The row's bytes, with their check."""
        rest = self.digest + end.hash + end.last_position.to_bytes(8, "big") + bytes([end.is_open])
        return VERSION + hashlib.sha256(rest).digest() + self.body


def body_of(row: bytes, columns: RowColumns, end: RowEnd) -> bytes | None:
    """The state's bytes of a row whose check fits these columns; None when it does not."""
    try:
        body = row[_BODY:]
        fits = row == SnapshotRow.of(body, columns).checked(end)
    except (TypeError, AttributeError, ValueError, OverflowError):  # columns that are not even of their kind
        return None
    return body if fits else None
