"""The two tables, from the rows of the kinds. A (phase, kind) pair that is missing is illegal: `apply` raises on it.

Legality is tabular; choice is code (machine/).
"""

from __future__ import annotations

from collections.abc import Mapping

from runwright.core.kinds import ROWS, EventKind
from runwright.core.outcomes import CallPhase, RunPhase

RUN_TRANSITIONS: Mapping[tuple[RunPhase, EventKind], RunPhase] = {
    (before, row.kind): after for row in ROWS for before, after in row.run.items()
}
CALL_TRANSITIONS: Mapping[tuple[CallPhase, EventKind], CallPhase] = {
    (before, row.kind): after for row in ROWS for before, after in row.call.items()
}


class IllegalTransition(Exception):
    """A record does not fit the state it met: a defect of this program or a foreign journal."""
