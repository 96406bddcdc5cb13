"""By which calls something is tainted: in words for whoever decides, and for whoever reads the events."""

from __future__ import annotations

from runwright._gen.runwright.v1 import approval_pb2, event_pb2
from runwright.cli.approval_text import approval_event, approval_lines

from tests.cli.test_approvals import an_approval

HAD_SEEN = "tainted    the model had seen what a tool marked untrusted answered when it asked for this"


def tainted_lines(approval: approval_pb2.Approval) -> list[str]:
    """What is said of it."""
    return [each for each in approval_lines(approval) if each.startswith("tainted")]


def test_of_what_an_older_server_asked_for_nobody_says_by_which_calls_and_that_is_said() -> None:
    approval = an_approval()
    approval.ClearField("tainted_by")

    lines = tainted_lines(approval)

    assert lines == [HAD_SEEN, "tainted    by calls that are not on record: an older server asked for this"]


def test_of_what_is_not_tainted_nothing_is_said() -> None:
    approval = an_approval()
    approval.tainted = False
    approval.ClearField("tainted_by")

    assert tainted_lines(approval) == []


def test_the_event_of_a_tainted_ask_names_the_calls_too() -> None:
    asked = event_pb2.ApprovalRequested(approval_id="a2.1.1", tainted=True, tainted_by=an_approval().tainted_by)

    said = approval_event(event_pb2.Event(approval_requested=asked))
    asked.ClearField("tainted_by")
    unknown = approval_event(event_pb2.Event(approval_requested=asked))

    assert said.endswith("; tainted by c2.1 fetch\x1b[2J of run before, an earlier turn of the session (event 9), "
                         "by calls of run older, an earlier turn of the session, which are not on record, "
                         "by c1.2 fetch (event 14), by 4 more")  # fmt: skip
    assert unknown.endswith("; tainted by calls that are not on record: an older server asked for this")
