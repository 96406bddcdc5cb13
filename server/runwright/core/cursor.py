"""Cursors: opaque places in a stream that only this journal's server can make.

Inside: version, digest of the scope, the journal's incarnation, the global
position (exclusive), the floor below which its reader knows of removals, the
mark of the epoch in which the position was given, and a keyed BLAKE2s over all
of it. Printed base64url without padding. Versions 1 and 2, of earlier servers,
have no mark, and version 1 has no floor; they stay good for the positions of
that time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct

from msgspec import Struct

from runwright.core.epochs import MARK_BYTES, Epochs
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import RunKey
from runwright.core.units import Position

_VERSION = 3
_FORMATS = {
    1: struct.Struct(">B8s8sQ"),
    2: struct.Struct(">B8s8sQQ"),
    _VERSION: struct.Struct(f">B8s8sQQ{MARK_BYTES}s"),
}
_MAC_BYTES = 12
_PUT_BACK = "The cursor's place is not in this journal's past: an older copy was put back after the cursor was made."
_VERSIONS = {form.size + _MAC_BYTES: version for version, form in _FORMATS.items()}


def _short_digest(text: str) -> bytes:
    return hashlib.blake2s(text.encode(), digest_size=8).digest()


class CursorPosition(Struct, frozen=True):
    """A place in a stream: after `position`. What was removed up to `floor` the reader does not miss."""

    position: Position
    floor: Position = 0

    def misses(self, horizon: int) -> bool:
        """True when events after this place were removed that the reader expects; they lay at the horizon or below."""
        return horizon > max(self.position, self.floor)


class CursorMaker:
    """Makes and reads the cursors of one journal; `key` is the journal's secret, `epochs` tell its past from another's.

    A page token of a list that is not ordered by position has a number of that
    list, and the journal's head at the time in place of a floor: see `token`.
    """

    def __init__(self, incarnation: str, key: bytes, epochs: Epochs) -> None:
        self._incarnation = _short_digest(incarnation)
        self._key = key
        self._epochs = epochs

    def make(self, scope: str, position: Position, floor: Position = 0) -> str:
        """A cursor after `position` in the stream of `scope`; of a floor below it nothing need be said."""
        return self._seal(scope, position, floor if floor > position else 0, self._epochs.mark(position))

    def token(self, scope: str, number: int, head: Position) -> str:
        """A place in a list: an item's `number`, as the list was while the journal ended at `head`."""
        return self._seal(scope, number, head, self._epochs.mark(head))

    def read(self, scope: str, cursor: str, head: Position) -> CursorPosition:
        """The place a cursor stands for.

        Raises CURSOR_MALFORMED for bytes this server never made, JOURNAL_RESTORED
        for another journal's and for a place this one had before an older copy
        of it was put back, CURSOR_SCOPE_MISMATCH for another stream's and
        CURSOR_AHEAD for one past `head`. Never widens, never guesses.
        """
        version, place, mark = self._open(scope, cursor, head)
        self._require_past(scope, place.position, mark if version == _VERSION else None, head)
        return place

    def read_token(self, scope: str, token: str, head: Position) -> int:
        """The number in a token that `token` made. Raises as `read` does.

        One of an earlier version says nothing of the journal it was made in, and is taken at its word.
        """
        version, place, mark = self._open(scope, token, head)
        if version == _VERSION:
            self._require_past(scope, place.floor, mark, head)
        return place.position

    def _seal(self, scope: str, position: Position, floor: Position, mark: bytes) -> str:
        body = _FORMATS[_VERSION].pack(_VERSION, _short_digest(scope), self._incarnation, position, floor, mark)
        return base64.urlsafe_b64encode(body + self._mac(body)).rstrip(b"=").decode()

    def _open(self, scope: str, cursor: str, head: Position) -> tuple[int, CursorPosition, bytes]:
        try:
            raw = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        except (binascii.Error, UnicodeEncodeError, ValueError):
            raise _malformed() from None
        # Python's decoder skips foreign characters; a cursor must be letter for letter what was sent.
        form = _VERSIONS.get(len(raw))
        if form is None or base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != cursor:
            raise _malformed()
        body, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        version, scope_digest, incarnation, position, *rest = _FORMATS[form].unpack(body)
        if version != form:
            raise _malformed()
        if incarnation != self._incarnation:
            raise self._restored(scope, "The cursor was made by another journal.", head)
        if not hmac.compare_digest(mac, self._mac(body)):
            raise _malformed()
        if scope_digest != _short_digest(scope):
            raise AgentError(
                ErrorReason.CURSOR_SCOPE_MISMATCH,
                "The cursor belongs to another stream.",
                metadata={"expected": "a cursor of the same scope and filter"},
            )
        return version, CursorPosition(position, rest[0] if rest else 0), rest[1] if version == _VERSION else b""

    def _require_past(self, scope: str, position: Position, mark: bytes | None, head: Position) -> None:
        """The position must lie in this journal's past. `mark` is None for a cursor of a version without."""
        if position > head:
            raise AgentError(
                ErrorReason.CURSOR_AHEAD,
                "The cursor is past the end of the journal.",
                metadata={"head": self.make(scope, head)},
            )
        if (position > self._epochs.unmarked) if mark is None else (mark != self._epochs.mark(position)):
            raise self._restored(scope, _PUT_BACK, head)

    def _restored(self, scope: str, message: str, head: Position) -> AgentError:
        return AgentError(ErrorReason.JOURNAL_RESTORED, message, metadata={"head": self.make(scope, head)})

    def _mac(self, body: bytes) -> bytes:
        return hashlib.blake2s(body, key=self._key, digest_size=_MAC_BYTES).digest()


def run_scope(run: RunKey) -> str:
    """The text that stands for a run's stream in its cursors."""
    return f"run\0{run.namespace}\0{run.run_id}"


def _malformed() -> AgentError:
    return AgentError(
        ErrorReason.CURSOR_MALFORMED,
        "The cursor is not one this server made.",
        metadata={"expected": "a cursor exactly as it was received"},
    )
