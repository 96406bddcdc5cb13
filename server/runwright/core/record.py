"""What every record has."""

from __future__ import annotations

from msgspec import Struct

from runwright.core.units import Micros


class Record(Struct, frozen=True):
    """What every record says: when it happened. Times on record never decrease within a run."""

    at: Micros
