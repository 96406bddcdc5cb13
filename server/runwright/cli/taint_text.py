"""By which calls something is tainted, for people. Pure."""

from __future__ import annotations

from runwright._gen.runwright.v1 import approval_pb2, event_pb2


def taint_words(asked: approval_pb2.Approval | event_pb2.ApprovalRequested) -> str:
    """The calls that what is asked about is tainted by, the oldest first; empty when it is not tainted."""
    if not asked.tainted:
        return ""
    if not asked.HasField("tainted_by"):
        return "calls that are not on record (an older server asked for this)"
    calls = [_call(call) for call in asked.tainted_by.calls]
    more = [f"and {asked.tainted_by.more} more"] if asked.tainted_by.more else []
    return "; ".join([*calls, *more])


def _call(call: approval_pb2.TaintingCall) -> str:
    turn = f"run {call.run_id}, an earlier turn of the session" if call.run_id else ""
    if not call.effect_id:
        return f"calls of {turn}, which are not on record"
    return f"{call.effect_id} {call.tool} (event {call.seq}{' of ' if turn else ''}{turn})"
