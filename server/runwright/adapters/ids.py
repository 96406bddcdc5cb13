"""Random ids. The only place that makes them."""

from __future__ import annotations

import os

# Random bytes are asked for in advance: the system call lets go of the interpreter, and getting it back costs a
# busy loop more than everything else about an id.
_AHEAD = 256
_ID_BYTES = 16
_VARIANTS = "89ab"


class RandomIds:
    """Ids from 122 random bits (UUID version 4)."""

    def __init__(self) -> None:
        self._ahead = b""
        self._used = 0

    def run_id(self) -> str:
        """An id for a run."""
        return f"run-{self._next()}"

    def session_id(self) -> str:
        """An id for a session."""
        return f"session-{self._next()}"

    def incident_id(self) -> str:
        """An id for an incident."""
        return f"incident-{self._next()}"

    def _next(self) -> str:
        if self._used == len(self._ahead):
            self._ahead, self._used = os.urandom(_AHEAD * _ID_BYTES), 0
        first, self._used = self._used, self._used + _ID_BYTES
        digits = self._ahead[first : self._used].hex()
        # RFC 9562: the version stands in digit 12, the variant 10 in the high bits of digit 16.
        variant = _VARIANTS[int(digits[16], 16) & 3]
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
