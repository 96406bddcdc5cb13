"""The model, its first half: what policies come to for a call, and how a package asks for approvals.

Written from docs/policies.md and docs/approvals.md, with nothing of the machine in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SECOND = 1_000_000
UNITS = {"s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND}


@dataclass(frozen=True)
class Tool:
    """A tool, as far as rules see it."""

    name: str
    executor: str
    effect: str
    idempotent: bool
    untrusted: bool = False
    grantable: bool = True


@dataclass(frozen=True)
class Call:
    """A call of a tool with its arguments."""

    tool: Tool
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Start:
    """A run that somebody starts."""

    principal: str


@dataclass(frozen=True)
class Answer:
    """What the model answers in the end."""

    text: str


CONDITIONS: Mapping[str, tuple[str, Callable[[Call], bool]]] = {
    "always": ("", lambda _: True),
    "writes": ('tool.effect == "write"', lambda call: call.tool.effect == "write"),
    "sends": ('tool.name == "send"', lambda call: call.tool.name == "send"),
    "is large": ("args.size > 5", lambda call: call.arguments["size"] > 5),
    "is secret": ('args.path.startsWith("/secret/")', lambda call: call.arguments["path"].startswith("/secret/")),
    "is mild": ('!args.path.startsWith("/secret/")', lambda call: not call.arguments["path"].startswith("/secret/")),
}

# The same of starts and of answers.
OF_STARTS: Mapping[str, tuple[str, Callable[[Start], bool]]] = {
    "always": ("", lambda _: True),
    "by cid": ('principal.name == "cid"', lambda start: start.principal == "cid"),
}
OF_ANSWERS: Mapping[str, tuple[str, Callable[[Answer], bool]]] = {
    "always": ("", lambda _: True),
    "is done": ('output.text == "done"', lambda answer: answer.text == "done"),
}
# What a grant may be bound to.
OF_ARGUMENTS: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "args.size > 5": lambda arguments: arguments["size"] > 5,
    'args.path == "/out/a"': lambda arguments: arguments["path"] == "/out/a",
    "args.missing == 1": lambda _: False,  # what cannot be found out does not hold
}
STAGES: Mapping[str, tuple[type, Mapping[str, tuple[str, Any]]]] = {
    "pre_tool": (Call, CONDITIONS),
    "run_start": (Start, OF_STARTS),
    "output": (Answer, OF_ANSWERS),
}
Subject = Call | Start | Answer


@dataclass(frozen=True)
class Rule:
    """One rule: the name of a condition of its stage, a word, and for an ask which approval; an empty one is the
    built-in one."""

    when: str
    then: str
    approval: str = ""
    stage: str = "pre_tool"

    def holds(self, subject: Subject) -> bool:
        """True when it says its word of the subject."""
        kind, conditions = STAGES[self.stage]
        return isinstance(subject, kind) and bool(conditions[self.when][1](subject))

    def as_file(self, number: int) -> dict[str, Any]:
        """As packages and the operator's file have it."""
        condition = STAGES[self.stage][1][self.when][0]
        form: dict[str, Any] = {"then": self.then, "code": f"rule_{number}", "stage": self.stage}
        if condition:
            form["when"] = condition
        if self.approval:
            form["approval"] = self.approval
        return form


@dataclass(frozen=True)
class Policy:
    """Rules, or a built-in policy by its name."""

    rules: tuple[Rule, ...] = ()
    builtin: str = ""

    def as_file(self) -> dict[str, Any]:
        """As packages and the operator's file have it."""
        if self.builtin:
            return {"builtin": self.builtin}
        return {"rules": [rule.as_file(number) for number, rule in enumerate(self.rules)]}

    def said(self, subject: Subject) -> list[tuple[str, str]]:
        """Every word on a subject with the approval that it names."""
        if self.builtin:
            is_call = isinstance(subject, Call)
            allows = is_call and (self.builtin == "allow-declared" or subject.tool.effect == "read")
            return [("allow", "")] if allows else []
        return [(rule.then, rule.approval) for rule in self.rules if rule.holds(subject)]


STRICTNESS = ("allow", "ask", "deny", "interrupt")


def said_by_all(subject: Subject, *owners: Sequence[Policy]) -> list[tuple[str, str]]:
    """Every word of all policies."""
    return [word for policies in owners for policy in policies for word in policy.said(subject)]


def asked_for(subject: Subject, *owners: Sequence[Policy]) -> set[str]:
    """The names of all approvals that are asked for."""
    return {name for word, name in said_by_all(subject, *owners) if word == "ask"}


def verdict(subject: Subject, *owners: Sequence[Policy]) -> tuple[str, str]:
    """The strictest word of all, of equal ones the first, with the approval that it names.

    Before a call nobody's allow is a deny, elsewhere nobody's word is an allow.
    """
    silence = ("deny" if isinstance(subject, Call) else "allow", "")
    said = said_by_all(subject, *owners)
    return max(said, key=lambda word: STRICTNESS.index(word[0]), default=silence)


@dataclass(frozen=True)
class Approvers:
    """One set; `turn` is as packages write it, empty in the last one."""

    roles: tuple[str, ...] = ()
    principals: tuple[str, ...] = ()
    turn: str = ""


@dataclass(frozen=True)
class Offer:
    """Which grants may be given with an approval, in the words of packages."""

    scopes: tuple[str, ...]
    matchers: tuple[str, ...]
    max_uses: int
    max_time: str
    tainted: bool = False

    def as_file(self) -> dict[str, Any]:
        """As packages have it."""
        lists = {"scopes": list(self.scopes), "matchers": list(self.matchers)}
        return {**lists, "max_uses": self.max_uses, "max_time": self.max_time, "tainted": self.tainted}


@dataclass(frozen=True)
class Approval:
    """One of a package's approvals."""

    sets: tuple[Approvers, ...] = (Approvers(roles=("approver",)),)
    expires: str = "24h"
    on_expiry: str = "deny"
    four_eyes: bool = False
    grants: Offer | None = None
    delegates: tuple[str, ...] = ()
    dispatchers: tuple[str, ...] = ()
    escalate: Approvers | None = None  # who decides once `expires` is over; `on_expiry` is what comes after them

    def as_file(self) -> dict[str, Any]:
        """As packages have it."""
        sets = []
        for each in self.sets:
            form: dict[str, Any] = {"roles": list(each.roles), "principals": list(each.principals)}
            sets.append(form | ({"for": each.turn} if each.turn else {}))
        fields = {"expires": self.expires, "on_expiry": self.on_expiry, "four_eyes": self.four_eyes}
        form = {"sets": sets, **fields, "delegates": list(self.delegates)}
        form["dispatchers"] = list(self.dispatchers)
        if self.escalate is not None:
            last = {"roles": list(self.escalate.roles), "principals": list(self.escalate.principals)}
            form["escalate"] = {**last, "for": self.escalate.turn, "then": self.on_expiry}
            form["on_expiry"] = "escalate"
        return form | ({"grants": self.grants.as_file()} if self.grants else {})

    @property
    def turns(self) -> tuple[Approvers, ...]:
        """All sets, one after the other, with those to whom it escalates."""
        return (*self.sets, *([self.escalate] if self.escalate else []))

    def ends(self) -> list[int]:
        """When the turn of each set is over, in microseconds after the ask; the last one's with the approval."""
        found, at = list[int](), 0
        for each in self.sets:
            at = at + span(each.turn) if each.turn else span(self.expires)
            found.append(at)
        return [*found, found[-1] + span(self.escalate.turn)] if self.escalate else found


BUILT_IN = Approval()


def span(text: str) -> int:
    """Microseconds of `90s`, `15m`, `8h`."""
    return int(text[:-1]) * UNITS[text[-1]]


@dataclass(frozen=True)
class Package:
    """What is known of a package beside its file."""

    fingerprint: str
    tools: Mapping[str, Tool]
    policies: tuple[Policy, ...]
    approvals: Mapping[str, Approval] = field(default_factory=dict)

    def approval(self, name: str) -> Approval:
        """The one of that name; the built-in one for none."""
        return self.approvals[name] if name else BUILT_IN

    def asks(self, *others: Sequence[Policy]) -> set[str]:
        """The approvals that its rules and those of others may ask for."""
        policies = [policy for each in (self.policies, *others) for policy in each]
        return {rule.approval for policy in policies for rule in policy.rules if rule.then == "ask"}
