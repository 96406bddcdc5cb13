"""A start that names a run which is there already: the same request is answered, another one is refused."""

from __future__ import annotations

import json

from runwright.core.condition import RunHold, run_held
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import RunKey
from runwright.core.request import RunRequest, differing_fields
from runwright.core.state import RunState
from runwright.ports.journal import Contents


async def require_same(
    contents: Contents, run: RunKey, state: RunState, request: RunRequest, hold: RunHold | None
) -> None:
    """Raises RUN_ID_CONFLICT naming the fields that differ, RUN_HELD when nobody can tell what was asked for."""
    if state.request_digest == request.digest():
        return
    if hold is not None and not state.request_digest:
        raise run_held(run, hold)
    requested = state.request.digest if state.request else ""
    first = (await contents.content(run.namespace, [requested], run=run.run_id)).get(requested)
    if first is None:  # removed with the run, but for its digest
        message, fields = "which was removed, so that nobody knows what differs", ""
    else:
        fields = ", ".join(differing_fields(json.loads(first), request.normal_form()))
        message = f"these fields differ: {fields}"
    raise AgentError(
        ErrorReason.RUN_ID_CONFLICT,
        f"Run {run.run_id} was started by another request; {message}.",
        metadata={"run_id": run.run_id, "fields": fields},
    )
