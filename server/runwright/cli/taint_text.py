"""By which calls something is tainted, for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from runwright._gen.runwright.v1 import approval_pb2, event_pb2

_UNKNOWN = "by calls that are not on record: an older server asked for this"


def taint_facts(asked: approval_pb2.Approval | event_pb2.ApprovalRequested) -> Iterator[str]:
    """Each call that what is asked about is tainted by, the oldest first, then how many more; that none is known."""
    if not asked.tainted:
        return
    if not asked.HasField("tainted_by"):
        yield _UNKNOWN
        return
    for call in asked.tainted_by.calls:
        yield f"by {_call(call)}"
    if asked.tainted_by.more:
        yield f"by {asked.tainted_by.more} more"


def _call(call: approval_pb2.TaintingCall) -> str:
    turn = f" of run {call.run_id}, an earlier turn of the session" if call.run_id else ""
    if not call.effect_id:
        return f"calls{turn}, which are not on record"
    return f"{call.effect_id} {call.tool}{turn} (event {call.seq})"
