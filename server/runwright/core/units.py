"""Units: what a bare number in the core and the ports counts."""

from __future__ import annotations

from typing import TypeAlias

# Microseconds: a moment counted from 1970-01-01 UTC, or a length of time.
Micros: TypeAlias = int
# The number of an event within its run, counted from 1 without a gap; 0: before the first.
Seq: TypeAlias = int
# The place of an event in the whole journal, counted from 1; 0: before the first.
Position: TypeAlias = int
