"""What has been read of a run: its calls, what was asked for in it, and what that came to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from runwright._gen.runwright.v1 import event_pb2

from tests.properties.approvals.people import People
from tests.properties.approvals.rules import Approval, Approvers, Call, Package, Policy

PENDING, APPROVED, SUPERSEDED = "PENDING", "APPROVED", "SUPERSEDED"


def micros(time: Any) -> int:
    """Microseconds of a timestamp."""
    return int(time.seconds) * 1_000_000 + int(time.nanos) // 1000


def sha256(data: bytes) -> str:
    """As events refer to contents."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True)
class Stored:
    """One event with its place and its hash in the chain."""

    position: int
    hash: bytes
    event: event_pb2.Event

    @property
    def body(self) -> str:
        """The name of what it says."""
        return str(self.event.WhichOneof("body"))


@dataclass
class Moment:
    """What is true while events of one step are written: the times of the clock, the rules, and who asked for what."""

    number: int
    first: int
    last: int
    operator: tuple[Policy, ...]
    asked: Sequence[tuple[str, Any]] = ()  # who, and the runwright.v1.DecisionRequest


@dataclass
class Asked:
    """An approval, as far as it has come. `call` is empty for one of the run as a whole."""

    id: str
    call: str
    event: Any
    spec: Approval
    at: int
    state: str = PENDING
    current: int = 0
    decided_by: str = ""
    request: Any = None
    is_spent: bool = False
    closed_in: int = 0
    edited: str = ""  # the digest of the arguments that it was given for, where those are others than were asked for
    given_digest: str = ""  # what it was given for
    delegations: list[Delegated] = field(default_factory=list)
    ends_with: tuple[str, ...] = ()  # the events that must stand right behind its end, in this order

    @property
    def expires_at(self) -> int:
        """From when on nobody may decide."""
        return micros(self.event.expires_at)

    def turn(self, at: int, since: int | None = None) -> int:
        """Whose turn it is then; nobody's comes back. With `since` as if it had been that one's last."""
        ends = self.spec.ends()
        by_time = next((index for index, end in enumerate(ends) if at < self.at + end), len(ends) - 1)
        return max(by_time, self.current if since is None else since)

    def approvers(self, at: int, before: int | None = None, since: int | None = None) -> Approvers:
        """Who may decide then: those whose turn it is, or those to whom that turn was delegated, and by whom.

        With `before` as if nothing had been delegated from that step on; `since` as for `turn`.
        """
        turn = self.turn(at, since)
        of_turn = [each for each in self.delegations if each.turn == turn and (before is None or each.step < before)]
        if not of_turn:
            return self.spec.turns[turn]
        names = [name for each in reversed(of_turn) for name in (each.to, each.by)]
        return Approvers(principals=tuple(dict.fromkeys(names)))

    def is_seen_by(self, people: People, who: str, before: int | None = None) -> bool:
        """Whether somebody may see it: observers, whoever is in one of its sets, and those it was delegated to.

        `before` as for `approvers`.
        """
        is_asked = any(people.is_in(who, each) for each in self.spec.turns)
        return (
            is_asked
            or people.has(who, "observer")
            or any(each.to == who and (before is None or each.step < before) for each in self.delegations)
        )


@dataclass
class Delegated:
    """Who had whom decide, in the place of which set, with which request."""

    by: str
    to: str
    turn: int
    request: Any
    step: int


class Told(NamedTuple):
    """A result that taints what the model asks for once it has been told it."""

    effect_id: str
    tool: str
    seq: int


@dataclass
class ReadCall:
    """One call. `grant` is the one that answered for it, by its id, and `digest` what that was used for."""

    call: Call
    arguments_digest: str
    schema_digest: str = ""
    tainted: bool = False
    told_before: tuple[Told, ...] = ()  # what the model had been told when it asked for it
    approval: Asked | None = None
    grant: str = ""
    digest: str = ""
    attempts: dict[int, Any] = field(default_factory=dict)
    closed_by: str = ""


@dataclass
class ReadRun:
    """One run."""

    id: str
    starter: str
    session: str
    agent: str
    package: Package
    calls: dict[str, ReadCall] = field(default_factory=dict)
    asked: dict[str, Asked] = field(default_factory=dict)
    position: int = 0
    time: int = 0  # of the last event; it never goes back, whatever the clock does
    told: list[Told] = field(default_factory=list)  # results of tools marked untrusted, in that order
    has_begun: bool = False
    has_passed: bool = False  # the rules had nothing against its answer when the model gave it
    is_ending: bool = False
    ended_by: str = ""
    stop: str = ""
    unknown: dict[str, int] = field(default_factory=dict)
    expected_stop: str = ""

    def given(self, kind: str, approval: str) -> bool:
        """Whether its start or its answer was approved by that name."""
        given = [each for each in self.asked.values() if not each.call and each.state == APPROVED]
        return any((each.event.approval, kind_of(each.event)) == (approval, kind) for each in given)


def kind_of(requested: Any) -> str:
    """What is to be approved, in a word."""
    return {1: "call", 2: "start", 3: "answer"}[requested.kind]
