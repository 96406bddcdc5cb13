"""Random ids. The only place that makes them."""

from __future__ import annotations

import uuid


class RandomIds:
    """Ids from 122 random bits (UUID version 4)."""

    def run_id(self) -> str:
        """An id for a run."""
        return f"run-{uuid.uuid4()}"

    def session_id(self) -> str:
        """An id for a session."""
        return f"session-{uuid.uuid4()}"

    def incident_id(self) -> str:
        """An id for an incident."""
        return f"incident-{uuid.uuid4()}"
