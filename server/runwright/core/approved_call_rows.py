"""What an append that approves a call writes beside its events, so that the next call can be compared with it.

`approved-call` lists the approvals of calls that were given: for each tool of an agent in a session (or in a run that
has no session) the newest first. One entry an approval, never overwritten: so each is compared with what was approved
before it, also once it was decided itself. They go when their run is removed.
"""

from __future__ import annotations

from pydantic import JsonValue

from runwright.core.content import digest
from runwright.core.fingerprint import canonical_plain_json
from runwright.core.side_rows import PutEntry
from runwright.core.units import Micros

APPROVED_CALLS = "approved-call"
_NEWEST = (1 << 63) - 1


def approved_calls_of(run_id: str, session_id: str, agent_id: str, tool: str) -> str:
    """What the keys of all calls begin with that are compared with each other. A digest, as names may hold anything."""
    form: dict[str, JsonValue] = {
        "agent": agent_id,
        "run": "" if session_id else run_id,
        "session": session_id,
        "tool": tool,
    }
    return f"{digest(canonical_plain_json(form))}/"


def approved_call_key(calls: str, at: Micros, approval: str) -> str:
    """Where an approval, given at a time, stands below `calls`; what was approved before it follows behind."""
    return f"{calls}{_NEWEST - at:016x}/{approval}"


def approval_of_key(key: str) -> str:
    """The approval that stands at a key."""
    return key.split("/", 2)[2]


def approved_call(calls: str, at: Micros, approval: str) -> PutEntry:
    """It was approved: the next call is compared with it."""
    return PutEntry(APPROVED_CALLS, approved_call_key(calls, at, approval))
