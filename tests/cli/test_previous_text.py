"""How a call differs from the last one that was approved, as people read it in a terminal."""

from __future__ import annotations

import pytest
from runwright._gen.runwright.v1 import approval_pb2
from runwright._gen.runwright.v1 import previous_approval_pb2 as pb
from runwright.cli.approval_text import approval_lines, difference_lines
from runwright.cli.ask_in_run import _Question
from runwright.cli.inbox.drawing import draw

from tests.cli.test_approvals import an_approval
from tests.cli.test_inbox import NOW, holding, one

ADDED, REMOVED = pb.ARGUMENT_CHANGE_KIND_ADDED, pb.ARGUMENT_CHANGE_KIND_REMOVED
CHANGED = pb.ARGUMENT_CHANGE_KIND_CHANGED
FROM = "difference from run-0/a1.1.1, approved by ann, 2023-11-14 22:10:00Z"


def compared(
    *changes: pb.ArgumentChange, has_more: bool = False, approval: approval_pb2.Approval | None = None
) -> approval_pb2.Approval:
    """An approval that was compared with Ann's, with these differences."""
    approval = approval or an_approval()
    previous = pb.PreviousApproval(
        comparison=pb.APPROVAL_COMPARISON_COMPARED,
        approval_id="run-0/a1.1.1",
        decided_by="ann",
        changes=changes,
        has_more=has_more,
    )
    previous.decided_at.FromSeconds(1_699_999_800)
    approval.previous.CopyFrom(previous)
    return approval


def change(
    pointer: str, before: str = "1", after: str = "2", kind: int = CHANGED, **fields: object
) -> pb.ArgumentChange:
    """One difference."""
    return pb.ArgumentChange(pointer=pointer, before=before, after=after, kind=kind, **fields)  # type: ignore[arg-type]


def test_what_differs_stands_right_above_the_arguments_one_value_a_line() -> None:
    approval = compared(
        change("/to", '"bob"', '"eve"', highlighted=True),
        change("/cc/0", "", '"dan"', ADDED),
        change("/n", "1", "", REMOVED),
        change("/text", '"x1', '"x2', before_cut=True, after_cut=True, skipped=1000),
    )

    lines = approval_lines(approval, 0.0)

    assert lines[lines.index("arguments") - 5 : lines.index("arguments")] == [
        FROM,
        '  changed  /to: "bob" -> "eve" (to be looked at)',
        '  added    /cc/0: "dan"',
        "  removed  /n: 1",
        '  changed  /text: "x1... -> "x2... (after 1000 characters that are the same)',
    ]


@pytest.mark.parametrize(
    ("comparison", "said"),
    [
        (pb.APPROVAL_COMPARISON_FIRST, "no such call was approved before in this run"),
        (pb.APPROVAL_COMPARISON_NOT_VISIBLE, "one was approved before in this run; you do not see it"),
        (pb.APPROVAL_COMPARISON_UNAVAILABLE, "what was approved before in this run cannot be read, or was removed"),
    ],
)
def test_where_nothing_is_compared_it_says_why(comparison: pb.ApprovalComparison.ValueType, said: str) -> None:
    approval = an_approval()
    approval.previous.comparison = comparison

    assert difference_lines(approval) == [f"difference {said}"]
    approval.session_id = "s"
    assert difference_lines(approval) == [f"difference {said.replace('this run', 'this session')}"]


def test_it_says_when_the_arguments_are_the_same() -> None:
    earlier = FROM.removeprefix("difference from ")

    assert difference_lines(compared()) == [f"difference none: the arguments are those of {earlier}"]
    assert difference_lines(an_approval()) == [], "an older server says nothing"


def test_no_name_of_an_argument_passes_for_a_value_or_reorders_the_line() -> None:
    hostile = compared(
        change('/to: "bob" -> "bob"'),
        change("/to\u202e"),
        change("/\x1b[2J\n", '"\u200b"', '"\u2066x"'),
        change("/a~1b"),
    )

    assert difference_lines(hostile)[1:] == [
        '  changed  "/to: \\"bob\\" -> \\"bob\\"": 1 -> 2',
        '  changed  "/to\\u202e": 1 -> 2',
        '  changed  "/\\u001b[2J\\n": "\\u200b" -> "\\u2066x"',
        "  changed  /a~1b: 1 -> 2",
    ]


def test_on_a_screen_few_are_shown_and_it_says_that_there_are_more() -> None:
    many = [change(f"/{number}", f'"{"x" * 400}"') for number in range(10)]
    some, lots = compared(*many), compared(*many, has_more=True)

    [_, first, *_, last] = difference_lines(some, 8)

    assert first == f'  changed  /0: "{"x" * 119}... -> 2'
    assert last == f"  more     2 that are not shown here; `runwright approvals show {some.approval_id}` has them"
    assert "2 at least that are not shown here" in difference_lines(lots, 8)[-1]
    assert difference_lines(lots)[-1] == "  more     THERE IS MORE that differs: read the arguments"
    assert len(difference_lines(some)) == 11


def test_in_the_inbox_each_of_a_batch_has_its_own_difference() -> None:
    first, second = compared(change("/to"), approval=one(1)), compared(change("/cc"), approval=one(2))
    inbox = holding(first, second)
    inbox.take_details(second)
    inbox.begin_batch()

    lines = [line.text.rstrip() for line in draw(inbox, 100, 60, NOW).lines]

    places = [lines.index(text) for text in ("  changed  /to: 1 -> 2", "  changed  /cc: 1 -> 2")]
    arguments = [lines.index(f"arguments of run-{number}/a1.1.1") for number in (1, 2)]
    assert places[0] < arguments[0] < places[1] < arguments[1]


class _Terminal:
    """What was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        """One more."""
        self.said.append(text)


def test_where_the_run_was_started_the_difference_is_shown_with_the_question() -> None:
    terminal = _Terminal()

    _Question(compared(change("/to", '"bob"', '"eve"')), terminal, lambda: NOW).show()  # type: ignore[arg-type]

    assert f'{FROM}\n  changed  /to: "bob" -> "eve"' in terminal.said[0]
