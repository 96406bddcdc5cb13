"""Random ids. The only place that makes them."""

from __future__ import annotations

import os
import uuid

# Random bytes are asked for in advance: the system call lets go of the interpreter, and getting it back costs a
# busy loop more than everything else about an id.
_AHEAD = 256
_ID_BYTES = 16


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

    def _next(self) -> uuid.UUID:
        if self._used == len(self._ahead):
            self._ahead, self._used = os.urandom(_AHEAD * _ID_BYTES), 0
        first, self._used = self._used, self._used + _ID_BYTES
        return uuid.UUID(bytes=self._ahead[first : self._used], version=4)
