"""Cursors: opaque places in a stream that only this journal's server can make.

Inside: version, digest of the scope, the journal's incarnation, the global
position (exclusive), and a keyed BLAKE2s over all of it. Printed base64url
without padding. A cursor below a horizon that its reader knows of (version 2)
holds that as well.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct

from msgspec import Struct

from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import RunKey

_FORMATS = {1: struct.Struct(">B8s8sQ"), 2: struct.Struct(">B8s8sQQ")}
_MAC_BYTES = 12
_VERSIONS = {form.size + _MAC_BYTES: version for version, form in _FORMATS.items()}


def _short_digest(text: str) -> bytes:
    return hashlib.blake2s(text.encode(), digest_size=8).digest()


class Place(Struct, frozen=True):
    """A place in a stream: after `position`. What was removed up to `floor` the reader does not miss."""

    position: int
    floor: int = 0

    def misses(self, horizon: int) -> bool:
        """True when events after this place were removed that the reader expects; they lay at the horizon or below."""
        return horizon > max(self.position, self.floor)


class CursorMaker:
    """Makes and reads the cursors of one journal; `key` is the journal's secret."""

    def __init__(self, incarnation: str, key: bytes) -> None:
        self._incarnation = _short_digest(incarnation)
        self._key = key

    def make(self, scope: str, position: int, floor: int = 0) -> str:
        """A cursor after `position` in the stream of `scope`; of a floor below it nothing need be said."""
        places = (position, floor) if floor > position else (position,)
        body = _FORMATS[len(places)].pack(len(places), _short_digest(scope), self._incarnation, *places)
        return base64.urlsafe_b64encode(body + self._mac(body)).rstrip(b"=").decode()

    def read(self, scope: str, cursor: str, head: int) -> Place:
        """The place a cursor stands for.

        Raises CURSOR_MALFORMED for bytes this server never made, JOURNAL_RESTORED
        for another journal's, CURSOR_SCOPE_MISMATCH for another stream's and
        CURSOR_AHEAD for one past `head`. Never widens, never guesses.
        """
        try:
            raw = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        except (binascii.Error, UnicodeEncodeError, ValueError):
            raise _malformed() from None
        # Python's decoder skips foreign characters; a cursor must be letter for letter what was sent.
        form = _VERSIONS.get(len(raw))
        if form is None or base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != cursor:
            raise _malformed()
        body, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        version, scope_digest, incarnation, position, *floor = _FORMATS[form].unpack(body)
        if version != form:
            raise _malformed()
        if incarnation != self._incarnation:
            raise AgentError(
                ErrorReason.JOURNAL_RESTORED,
                "The cursor was made by another journal.",
                metadata={"head": self.make(scope, head)},
            )
        if not hmac.compare_digest(mac, self._mac(body)):
            raise _malformed()
        if scope_digest != _short_digest(scope):
            raise AgentError(
                ErrorReason.CURSOR_SCOPE_MISMATCH,
                "The cursor belongs to another stream.",
                metadata={"expected": "a cursor of the same scope and filter"},
            )
        if position > head:
            raise AgentError(
                ErrorReason.CURSOR_AHEAD,
                "The cursor is past the end of the journal.",
                metadata={"head": self.make(scope, head)},
            )
        return Place(position, *floor)

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
