"""Who was told of an approval, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from runwright._gen.runwright.v1 import approval_pb2, event_pb2
from runwright.cli import names

_NOTICES: Mapping[int, str] = {
    approval_pb2.APPROVAL_NOTICE_DISPATCH: "that it is asked for",
    approval_pb2.APPROVAL_NOTICE_UPDATE: "of a change",
    approval_pb2.APPROVAL_NOTICE_WITHDRAW: "that there is nothing to decide any more",
}
_RESULTS: Mapping[int, str] = {
    approval_pb2.APPROVAL_DISPATCH_RESULT_ACKNOWLEDGED: "told",
    approval_pb2.APPROVAL_DISPATCH_RESULT_NOT_SENT: "not there, and so not told",
    approval_pb2.APPROVAL_DISPATCH_RESULT_LOST: "did not answer, told",
    approval_pb2.APPROVAL_DISPATCH_RESULT_TIMED_OUT: "did not answer in time, told",
    approval_pb2.APPROVAL_DISPATCH_RESULT_UNREADABLE: "answered what cannot be read, told",
    approval_pb2.APPROVAL_DISPATCH_RESULT_ABANDONED: "had not answered when that was given up, told",
}


def dispatch_words(dispatch: approval_pb2.ApprovalDispatch) -> str:
    """How far a dispatcher has been told: `chat: told that it is asked for, attempt 1, 10:04`."""
    result = _RESULTS.get(dispatch.result, "being told")
    notice = _NOTICES.get(dispatch.notice, "")
    again = f"; again from {names.clock(dispatch.retry_at)} on" if dispatch.HasField("retry_at") else ""
    refused = f"; its decision does not count ({dispatch.refusal})" if dispatch.refusal else ""
    by = f" (of {dispatch.principal})" if dispatch.principal else ""
    when = names.clock(dispatch.time)
    return f"{dispatch.dispatcher}{by}: {result} {notice}, attempt {dispatch.attempt}, {when}{again}{refused}"


def dispatch_event(event: event_pb2.Event) -> str | None:
    """What an event says of telling a dispatcher; None: nothing that is known."""
    if event.HasField("approval_dispatch_started"):
        began = event.approval_dispatch_started
        return f"{began.approval_id}: telling dispatcher {began.dispatcher} {_NOTICES.get(began.notice, '')}"
    if not event.HasField("approval_dispatched"):
        return None
    made = event.approval_dispatched
    result = _RESULTS.get(made.result, "told")
    again = f"; again from {names.clock(made.retry_at)} on" if made.HasField("retry_at") else ""
    said = ""
    if made.HasField("decision"):
        behalf = f" on behalf of {made.decision.on_behalf_of}" if made.decision.on_behalf_of else ""
        said = f"; it decided: {names.approval_verdict(made.decision.verdict)}{behalf}"
    refused = f"; that does not count ({made.refusal})" if made.refusal else ""
    notice = _NOTICES.get(made.notice, "")
    return f"{made.approval_id}: dispatcher {made.dispatcher} {result} {notice}{said}{refused}{again}"
