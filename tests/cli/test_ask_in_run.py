"""What `runwright run --approve` offers: the keys that can answer this question, and no other."""

from __future__ import annotations

import pytest
from runwright._gen.runwright.v1 import approval_pb2, run_pb2
from runwright.cli.ask_in_run import help_for, prompt_for, watch_and_ask
from runwright.cli.client import Client
from runwright.cli.connection import Connection
from runwright.cli.line_terminal import HasFileno, LineTerminal
from runwright.cli.run_feed import Item
from runwright.cli.view import QuietView

from tests.cli.story import RUN, Story
from tests.cli.test_approvals import FakeApprovals, serving

APPROVE, DENY, RESPOND, ABORT_RUN, EDIT = (
    approval_pb2.APPROVAL_VERDICT_APPROVE,
    approval_pb2.APPROVAL_VERDICT_DENY,
    approval_pb2.APPROVAL_VERDICT_RESPOND,
    approval_pb2.APPROVAL_VERDICT_ABORT_RUN,
    approval_pb2.APPROVAL_VERDICT_APPROVE_WITH_EDITS,
)


@pytest.mark.parametrize(
    ("verdicts", "offers_grants", "keys"),
    [
        ([APPROVE, DENY, RESPOND, ABORT_RUN, EDIT], True, "adregsxv"),
        ([APPROVE, DENY, RESPOND, ABORT_RUN, EDIT], False, "adresxv"),
        ([APPROVE, DENY, ABORT_RUN], False, "adsxv"),
    ],
    ids=["with grants", "a call", "a start or an answer"],
)
def test_what_can_be_decided_is_offered_and_nothing_else(verdicts: list[int], offers_grants: bool, keys: str) -> None:
    approval = approval_pb2.Approval(allowed_verdicts=verdicts)
    if offers_grants:
        approval.grants.max_uses = 1

    prompt, explained = prompt_for(approval), help_for(approval)

    assert [word[-2] for word in prompt.removesuffix(": ").split(", ")] == [*keys, "?"]
    assert [line[2] for line in explained.splitlines()[:-1]] == [*keys]


class Feed:
    """What comes of a run, in two parts: `first` before anybody is asked, `then` while the question stands."""

    def __init__(self, first: list[Item], then: list[Item]) -> None:
        self.left, self.then = first, then

    def next_now(self) -> Item | None:
        """What was given back, or has come before."""
        return self.left.pop(0) if self.left else None

    def next(self) -> Item:
        """The same; something is there."""
        return self.left.pop(0)

    def new(self) -> list[Item]:
        """All that comes while the question stands."""
        return self.then

    def give_back(self, items: list[Item]) -> None:
        """For later."""
        self.left.extend(items)


class Silent(LineTerminal):
    """A terminal at which nobody types; `said` is what stands there."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def discard(self) -> None:
        """Nothing was typed."""

    def say(self, text: str) -> None:
        """A line."""
        self.said.append(text)

    def prompt(self, text: str) -> None:
        """What would be answered."""

    def line(self, other: HasFileno) -> str | None:
        """Something has come of the run, always."""
        return None


def test_while_the_question_stands_what_dispatchers_are_told_is_not_said_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"approval_id": "a1.1.1", "dispatcher": "chat"}
    story = Story().begin().add("c1.1", approval_requested={"approval_id": "a1.1.1"})
    first = list(story.frames)
    story.add("n1.1.1.1", 1, approval_dispatch_started=told).add("n1.1.1.1", 1, approval_dispatched=told)
    story.add("c1.1", approval_escalated={"approval_id": "a1.1.1", "current_set": 1})
    story.add("c1.1", approval_decided={"approval_id": "a1.1.1", "verdict": DENY, "decided_by": "ann"})
    feed = Feed([*first], [*story.frames[len(first) :], run_pb2.RunSnapshot(run_id=RUN)])
    monkeypatch.setattr("runwright.cli.ask_in_run.RunFeed", lambda _: feed)
    terminal = Silent()
    with serving(FakeApprovals()) as server:
        watch_and_ask(Client(Connection(server=server)), RUN, QuietView(), terminal)

    assert [each.strip() for each in terminal.said if "meanwhile" in each] == [
        "meanwhile: a1.1.1: it is the turn of the next approvers",
        "meanwhile: a1.1.1: DENY by ann",
    ]
