"""By which calls something is tainted: in words for whoever decides, and for whoever reads the events."""

from __future__ import annotations

from runwright._gen.runwright.v1 import approval_pb2, event_pb2
from runwright.cli.approval_text import approval_event, approval_lines

from tests.cli.test_approvals import an_approval

HAD_SEEN = "tainted    the model had seen untrusted results: "
TAINT = approval_pb2.Taint(
    calls=[
        approval_pb2.TaintingCall(effect_id="c2.1", tool="fetch", seq=9, run_id="before"),
        approval_pb2.TaintingCall(run_id="older"),
        approval_pb2.TaintingCall(effect_id="c1.2", tool="fetch", seq=14),
    ],
    more=4,
)
NAMED = (
    "c2.1 fetch (event 9 of run before, an earlier turn of the session); "
    "calls of run older, an earlier turn of the session, which are not on record; c1.2 fetch (event 14); and 4 more"
)
UNKNOWN = "calls that are not on record (an older server asked for this)"


def tainted_lines(taint: approval_pb2.Taint | None, *, tainted: bool = True) -> list[str]:
    """What is said of an approval."""
    approval = an_approval()
    approval.ClearField("tainted_by")
    approval.tainted = tainted
    if taint is not None:
        approval.tainted_by.CopyFrom(taint)
    return [each for each in approval_lines(approval, 0.0) if each.startswith("tainted")]


def test_calls_are_named_with_the_run_of_an_earlier_turn_and_how_many_more_there_are() -> None:
    assert tainted_lines(TAINT) == [HAD_SEEN + NAMED]


def test_of_what_an_older_server_asked_for_nobody_says_by_which_calls_and_that_is_said() -> None:
    assert tainted_lines(None) == [HAD_SEEN + UNKNOWN]


def test_of_what_is_not_tainted_nothing_is_said() -> None:
    assert tainted_lines(None, tainted=False) == []


def test_the_event_of_a_tainted_ask_names_the_calls_too() -> None:
    asked = event_pb2.ApprovalRequested(approval_id="a2.1.1", tainted=True, tainted_by=TAINT)

    said = approval_event(event_pb2.Event(approval_requested=asked))
    asked.ClearField("tainted_by")
    unknown = approval_event(event_pb2.Event(approval_requested=asked))
    asked.tainted = False

    assert said.endswith(f"; tainted by {NAMED}")
    assert unknown.endswith(f"; tainted by {UNKNOWN}")
    assert "tainted" not in approval_event(event_pb2.Event(approval_requested=asked))
