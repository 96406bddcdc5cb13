"""What is said of approvals that did not lead to what was asked for: to whoever decides, and of runs that end of it."""

from __future__ import annotations

from runwright.core.errors import ErrorReason, Failure
from runwright.core.ids import RunKey
from runwright.core.units import Micros, time_text


def approval_aborted(run: RunKey, approval_id: str, by: str, note: str) -> Failure:
    """Somebody who was asked ended the run."""
    said = f": {note}" if note else ""
    metadata = (("approval_id", f"{run.run_id}/{approval_id}"), ("decided_by", by))
    return Failure(
        ErrorReason.APPROVAL_ABORTED, f"{by} was asked to approve a call, and ended the run{said}.", metadata
    )


def approval_expired(run: RunKey, approval_id: str, expires_at: Micros) -> Failure:
    """Nobody decided in time, and the run ends."""
    at = time_text(expires_at)
    metadata = (("approval_id", f"{run.run_id}/{approval_id}"), ("expires_at", at))
    return Failure(ErrorReason.APPROVAL_EXPIRED, f"Nobody decided on a call before {at}; the run ends then.", metadata)
