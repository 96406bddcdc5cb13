"""Random ids come from here only."""

from __future__ import annotations

from typing import Protocol


class IdSource(Protocol):
    """Makes ids with at least 122 random bits."""

    def run_id(self) -> str:
        """An id for a run whose caller gave none."""

    def incident_id(self) -> str:
        """An id that ties an error on the wire to a line in the log."""
