"""The inbox by itself: what it holds, and what is seen of it on a terminal of any size."""

from __future__ import annotations

import pytest
from prompt_toolkit.utils import get_cwidth
from runwright._gen.runwright.v1 import approval_pb2, grant_pb2
from runwright._gen.runwright.v1 import approval_service_pb2 as pb
from runwright.cli.decisions import ABORT_RUN, APPROVE, DENY, RESPOND
from runwright.cli.inbox.drawing import HELP, draw, fit, wrapped
from runwright.cli.inbox.state import Approval, Inbox, Mode

from tests.cli.test_approvals import an_approval

NOW = 1_700_000_000.0
HOSTILE = "\x1b[2J\x1b]0;t\x07\u202egnp\u200b漢字e\u0301\u0301\U000e0041\x9b31m"


def one(number: int = 1, arguments: str = '{"to":"bob"}', **fields: object) -> Approval:
    """A pending approval with its arguments."""
    approval = an_approval()
    approval.approval_id, approval.digest = f"run-{number}/a1.1.1", f"sha256:runwright-approval-v1:{number:064}"
    approval.arguments_content.text = arguments
    for name, value in fields.items():
        setattr(approval, name, value)
    return approval


def without_arguments(approval: Approval) -> Approval:
    """As lists have it."""
    listed = Approval()
    listed.CopyFrom(approval)
    listed.ClearField("arguments_content")
    return listed


def ended(approval: Approval) -> Approval:
    """It, denied by ann."""
    closed = without_arguments(approval)
    closed.state = approval_pb2.APPROVAL_STATE_DENIED
    closed.decision.decided_by = "ann"
    return closed


def holding(*approvals: Approval) -> Inbox:
    """An inbox with these, and the arguments of the first."""
    inbox = Inbox()
    for approval in approvals:
        inbox.take(without_arguments(approval))
    if approvals:
        inbox.take_details(approvals[0])
    return inbox


def decisions(inbox: Inbox, text: str = "") -> list[pb.DecisionRequest]:
    """What would be sent."""
    assert inbox.intent is not None
    made = inbox.intent.decisions(text)
    assert not isinstance(made, str), made
    return made


def looked_at(inbox: Inbox, columns: int = 100, rows: int = 50) -> list[str]:
    """What is seen, as the screen does it."""
    drawing = draw(inbox, columns, rows, NOW)
    inbox.scroll = drawing.scroll
    inbox.seen |= drawing.seen
    return [line.text for line in drawing.lines]


@pytest.mark.parametrize("is_batch", [False, True])
@pytest.mark.parametrize("columns", [20, 80, 100, 120])
def test_how_to_leave_is_seen_on_a_terminal_of_any_width(columns: int, is_batch: bool) -> None:
    inbox = holding(one(1), one(2))
    if is_batch:
        inbox.begin_batch()

    last = looked_at(inbox, columns)[-1]

    assert last.endswith("? help  q quit"), last
    assert columns < 80 or last.startswith("a approve")


def test_what_is_decided_is_the_digest_that_was_on_the_screen() -> None:
    inbox = holding(one(1), one(2))
    looked_at(inbox)

    inbox.begin(APPROVE)
    assert inbox.intent is not None
    [decision] = decisions(inbox)

    assert inbox.mode is Mode.CONFIRM
    assert (decision.approval_id, decision.digest) == ("run-1/a1.1.1", one(1).digest)


@pytest.mark.parametrize("seen", [False, True])
def test_nothing_is_approved_before_the_screen_has_shown_it(seen: bool) -> None:
    inbox = holding(one())
    if seen:
        looked_at(inbox)

    inbox.begin(APPROVE)

    assert (inbox.intent is not None) is seen
    assert ("not all of it" in inbox.message) is not seen


def test_nothing_is_decided_while_the_arguments_have_not_come() -> None:
    inbox = holding(one())
    inbox.details.clear()
    looked_at(inbox)

    for verdict in (APPROVE, DENY, ABORT_RUN):
        inbox.begin(verdict)
        assert (inbox.intent, inbox.message) == (None, "the arguments have not come yet")


def test_arguments_that_cannot_be_shown_are_denied_and_not_approved() -> None:
    approval = one()
    approval.arguments_content.omitted = True
    inbox = holding(approval)
    looked_at(inbox)

    inbox.begin(APPROVE)
    assert "too many to show" in inbox.message
    inbox.begin(DENY)
    assert inbox.mode is Mode.TYPING


def test_what_is_decided_elsewhere_leaves_the_list_and_the_question() -> None:
    inbox = holding(one(1), one(2), one(3))
    looked_at(inbox)
    inbox.begin(APPROVE)

    inbox.take(ended(one(1)))

    assert (inbox.selected, inbox.mode, inbox.intent) == ("run-2/a1.1.1", Mode.LIST, None)
    assert inbox.message == "run-1/a1.1.1 is DENIED by ann"
    assert list(inbox.pending) == ["run-2/a1.1.1", "run-3/a1.1.1"]


def test_after_the_last_one_comes_the_one_above_and_after_the_only_one_nothing() -> None:
    inbox = holding(one(1), one(2))
    inbox.move(5)
    inbox.take(ended(one(2)))
    assert inbox.selected == "run-1/a1.1.1"
    inbox.take(ended(one(1)))
    assert (inbox.selected, inbox.looked_at(), inbox.lacking()) == ("", [], "")
    inbox.take(ended(one(1)))
    inbox.begin(APPROVE)
    assert inbox.message == "there is nothing to decide"


def test_an_update_of_what_is_looked_at_is_looked_at_again() -> None:
    inbox = holding(one())
    escalated = without_arguments(one())
    escalated.current_set = 1

    inbox.take(escalated)

    assert inbox.lacking() == "run-1/a1.1.1"


def test_a_batch_has_what_is_alike_and_no_more_than_one_request_takes() -> None:
    alike = [one(number) for number in range(1, 151)]
    inbox = holding(
        *alike, one(200, tool="book"), one(201, risk="low"), one(202, agent_id="other"), one(203, executor="e")
    )

    inbox.begin_batch()
    assert inbox.marked is not None
    assert len(inbox.marked) == len(inbox.rows()) == 100
    assert {approval.tool for approval in inbox.rows()} == {one().tool}
    inbox.end_batch()
    inbox.selected = "run-150/a1.1.1"
    inbox.begin_batch()
    assert [approval.approval_id for approval in inbox.rows()][-1] == "run-150/a1.1.1"


def test_a_batch_needs_all_arguments_on_the_screen_and_only_approves_and_denies() -> None:
    inbox = holding(one(1), one(2))
    inbox.begin_batch()
    inbox.begin(APPROVE)
    assert inbox.message == "the arguments have not come yet"
    inbox.take_details(one(2))
    looked_at(inbox, rows=16)
    inbox.begin(APPROVE)
    assert "not all of it" in inbox.message
    looked_at(inbox)
    inbox.begin(ABORT_RUN)
    assert "approved or denied" in inbox.message
    inbox.begin(APPROVE)
    assert inbox.intent is not None
    assert {each.digest for each in decisions(inbox)} == {one(1).digest, one(2).digest}


def offering() -> Approval:
    """One with which a grant may be given."""
    approval = one()
    approval.grants.scopes.extend([grant_pb2.GRANT_SCOPE_RUN, grant_pb2.GRANT_SCOPE_SESSION])
    approval.grants.max_uses, approval.grants.max_time = 20, "8h"
    return approval


@pytest.mark.parametrize(
    ("typed", "scope", "matcher", "uses", "time"),
    [
        ("", grant_pb2.GRANT_SCOPE_RUN, grant_pb2.GRANT_MATCHER_EXACT_ARGUMENTS, 20, "8h"),
        ("session 5 2h", grant_pb2.GRANT_SCOPE_SESSION, grant_pb2.GRANT_MATCHER_EXACT_ARGUMENTS, 5, "2h"),
        ("30m ANY namespace", grant_pb2.GRANT_SCOPE_NAMESPACE, grant_pb2.GRANT_MATCHER_ANY, 20, "30m"),
    ],
)
def test_a_grant_is_typed_and_what_is_not_typed_is_as_is_offered(
    typed: str, scope: int, matcher: int, uses: int, time: str
) -> None:
    inbox = holding(offering())
    looked_at(inbox)

    inbox.begin(APPROVE, grants=True)
    [decision] = decisions(inbox, typed)

    assert (inbox.mode, decision.verdict, decision.digest) == (Mode.TYPING, APPROVE, one().digest)
    grant = decision.grant
    assert (grant.scope, grant.matcher, grant.uses, grant.valid_for) == (scope, matcher, uses, time)
    assert inbox.intent is not None
    assert "'forever' is none of: run" in inbox.intent.decisions("run forever")


def test_no_grant_is_given_that_is_not_offered_and_nothing_unseen() -> None:
    inbox = holding(one())
    looked_at(inbox)
    inbox.begin(APPROVE, grants=True)
    assert (inbox.intent, inbox.message) == (None, "no grant is offered here")
    inbox = holding(offering())
    inbox.begin(APPROVE, grants=True)
    assert "not all of it" in inbox.message


def test_what_may_not_be_decided_on_it_is_not_asked_for() -> None:
    answer = one(kind=approval_pb2.APPROVAL_KIND_OUTPUT, tool="")
    answer.allowed_verdicts.extend([APPROVE, DENY, ABORT_RUN])
    inbox = holding(answer)
    assert "the answer of the run" in "".join(looked_at(inbox))

    inbox.begin(RESPOND)

    assert (inbox.intent, inbox.message) == (None, "nobody can respond to this")


def test_one_that_is_left_out_of_a_batch_is_not_decided() -> None:
    inbox = holding(one(1), one(2))
    inbox.begin_batch()
    inbox.toggle()
    inbox.take_details(one(2))
    looked_at(inbox)
    inbox.begin(APPROVE)
    assert inbox.intent is not None
    assert [each.approval_id for each in decisions(inbox)] == ["run-2/a1.1.1"]


@pytest.mark.parametrize("columns", [1, 2, 10, 40, 80, 300])
@pytest.mark.parametrize("rows", [1, 2, 4, 10, 24, 100])
@pytest.mark.parametrize("mode", [Mode.LIST, Mode.HELP])
def test_no_line_is_wider_and_nothing_is_higher_than_the_terminal(columns: int, rows: int, mode: Mode) -> None:
    hostile = one(1, f'{{"x":"{HOSTILE}","y":["漢字"]}}', tool=HOSTILE, agent_id=HOSTILE, message=HOSTILE * 20)
    inbox = holding(hostile, one(2), one(3))
    inbox.mode, inbox.message, inbox.connection = mode, HOSTILE, HOSTILE

    lines = looked_at(inbox, columns, rows)

    assert len(lines) <= rows
    assert all(get_cwidth(line) <= max(columns, 2) for line in lines)
    assert not {"\x1b", "\x07", "\x9b", "\u202e", "\u200b", "\U000e0041"} & set("".join(lines))


def test_a_narrow_terminal_shows_all_of_it_page_by_page() -> None:
    arguments = '{"path":"/srv/out/report.md","text":"' + "words and words " * 20 + 'the end"}'
    inbox = holding(one(1, arguments), one(2))
    shown: dict[int, str] = {}
    for _ in range(200):
        drawing = draw(inbox, 40, 10, NOW)
        shown |= {drawing.scroll + at: line.text for at, line in enumerate(drawing.lines[4:-1])}
        inbox.seen |= drawing.seen
        if inbox.seen:
            break
        inbox.scroll = drawing.scroll + drawing.page

    assert "words and words " * 20 + 'the end"' in "".join(shown[at] for at in sorted(shown))
    assert inbox.seen == {one(1).digest}


def test_deadline_risk_turn_and_rule_are_on_the_screen() -> None:
    lines = "\n".join(looked_at(holding(one())))

    for fact in (
        "8h00m",
        "risk high",
        "role approver",
        "policies.1.rules.0",
        "writes",
        "(their turn now)",
        '"to": "bob"',
    ):
        assert fact in lines
    assert "over" in draw(holding(one()), 100, 30, NOW + 90_000).lines[1].text


def test_sixty_four_kibibytes_are_wrapped_and_not_cut() -> None:
    text = "漢" * 21_000
    pieces = wrapped(f'  "{text}"', 79)

    assert "".join(pieces) == f'  "{text}"'
    assert max(map(get_cwidth, pieces)) <= 79


def test_the_help_names_every_key() -> None:
    assert [line.split()[0] for line in HELP.splitlines()] == [
        "j",
        "space,",
        "a",
        "e",
        "d",
        "r",
        "g",
        "x",
        "b",
        "m",
        "Esc",
        "?",
        "q,",
    ]
    assert fit("漢字漢字", 5) == "漢字~"
