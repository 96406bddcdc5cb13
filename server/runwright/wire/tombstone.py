"""Tombstones: what is kept of a removed run, in a form that every later version can read. Its events are gone."""

from __future__ import annotations

import json

from runwright.core.errors import AgentError, ErrorReason
from runwright.core.ids import RunKey
from runwright.core.outcomes import RunPhase, StopReason
from runwright.core.state import RunState

_FORMAT = 1


def outline(state: RunState, removed_at: int) -> RunState:
    """The state of a removed run: who ran, how it ended, which request it answered. No content, label or text."""
    return RunState(
        key=state.key,
        phase=state.phase,
        seq=state.seq,
        session_id=state.session_id,
        turn_id=state.turn_id,
        agent_id=state.agent_id,
        request_digest=state.request_digest,
        package_id=state.package_id,
        package_fingerprint=state.package_fingerprint,
        stop=state.stop,
        started_at=state.started_at,
        updated_at=state.updated_at,
        ended_at=state.ended_at,
        removed_at=removed_at,
    )


def encode(state: RunState) -> bytes:
    """The tombstone's bytes, for a state made by `outline`."""
    retained = {
        "format": _FORMAT,
        "phase": state.phase.name,
        "seq": state.seq,
        "session_id": state.session_id,
        "turn_id": state.turn_id,
        "agent_id": state.agent_id,
        "request_digest": state.request_digest,
        "package_id": state.package_id,
        "package_fingerprint": state.package_fingerprint,
        "stop": state.stop.name if state.stop else "",
        "started_at": state.started_at,
        "updated_at": state.updated_at,
        "ended_at": state.ended_at,
        "removed_at": state.removed_at,
    }
    return json.dumps(retained, separators=(",", ":"), sort_keys=True).encode()


def decode(run: RunKey, data: bytes) -> RunState:
    """The state that the bytes stand for. Raises JOURNAL_CORRUPT when they are none of a tombstone."""
    try:
        retained = json.loads(data)
        return RunState(
            key=run,
            phase=RunPhase[retained["phase"]],
            seq=retained["seq"],
            session_id=retained["session_id"],
            turn_id=retained["turn_id"],
            agent_id=retained["agent_id"],
            request_digest=retained["request_digest"],
            package_id=retained["package_id"],
            package_fingerprint=retained["package_fingerprint"],
            stop=StopReason[retained["stop"]] if retained["stop"] else None,
            started_at=retained["started_at"],
            updated_at=retained["updated_at"],
            ended_at=retained["ended_at"],
            removed_at=retained["removed_at"],
        )
    except (ValueError, KeyError, TypeError):
        raise AgentError(
            ErrorReason.JOURNAL_CORRUPT,
            f"What is left of run {run.run_id} cannot be read.",
            metadata={"run_id": run.run_id, "first_bad": ""},
        ) from None
