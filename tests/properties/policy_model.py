"""What policies must come to, said anew: a small model with nothing of the machine in it.

Policies are the dictionaries that a file has. A condition is a name of CONDITIONS, or of RESULTS for a rule of
`post_tool`, which says it in CEL for the machine and as a function of what a call is, or came to, for this model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Call:
    """A call as somebody would describe it."""

    tool: str
    effect: str
    risk: str
    path: str | None
    size: int
    tainted: bool
    rounds: int  # that the run has used


Holds = Callable[[Call], bool | None]  # None: it fails

CONDITIONS: Mapping[str, tuple[str, Holds]] = {
    "always": ("", lambda _: True),
    "writes": ('tool.effect == "write"', lambda call: call.effect == "write"),
    "is risky": ('tool.risk in ["high", "critical"]', lambda call: call.risk in ("high", "critical")),
    "is tainted": ("call.tainted", lambda call: call.tainted),
    "below out": (
        'args.path.startsWith("/srv/out/")',
        lambda call: None if call.path is None else call.path.startswith("/srv/out/"),
    ),
    "has a path": ("has(args.path)", lambda call: call.path is not None),
    "is large": ("args.size > 10", lambda call: call.size > 10),
    "is late": ("usage.rounds >= 2", lambda call: call.rounds >= 2),
    "divides": ("10 / args.size > 1", lambda call: None if call.size == 0 else call.size <= 5),
    "is no truth": ("args.size", lambda _: None),
}


@dataclass(frozen=True)
class Came:
    """What a call came to, as somebody would describe it."""

    call: Call
    ok: bool
    text: str


RESULTS: Mapping[str, tuple[str, Callable[[Came], bool | None]]] = {
    "always": ("", lambda _: True),
    "has a secret": ('result.text.contains("secret")', lambda came: "secret" in came.text),
    "failed": ("!result.ok", lambda came: not came.ok),
    "is long": ("result.size > 6", lambda came: len(came.text) > 6),
    "of a write": ('tool.effect == "write"', lambda came: came.call.effect == "write"),
    "of a path": ('args.path.startsWith("/etc")', lambda came: came.call.path and came.call.path.startswith("/etc")),
    "is no JSON": ("result.json == 1", lambda _: None),
}
SEVERITY = {"allow": 0, "ask": 1, "defer": 2, "deny": 3, "interrupt": 4}


def verdict(call: Call, *owners: Sequence[Mapping[str, Any]]) -> str:
    """The strictest of everything that is said about a call by the policies of all owners; nobody's allow is a deny."""
    return max(rules(call, *owners), key=SEVERITY.__getitem__, default="deny")


MOST_REPLACEMENTS, MOST_DEFERS = 3, 10
FINAL = ("deny", "interrupt")


Subject = Call | Came


@dataclass(frozen=True)
class Replaced:
    """A remote policy puts another call in the place of this one, or another result."""

    subject: Subject


Answer = str | Replaced
Says = Callable[[str, Subject], Answer]  # what a remote policy says, by its name; "deny" where nobody knows


def outcome(
    subject: Subject, replacements: int, answered: Sequence[str], says: Says, *owners: Sequence[Mapping[str, Any]]
) -> Answer:
    """What becomes of a call or a result, or of what stands in its place, once all who are asked have answered.

    `answered` are those that have: what rules deny by then is not asked about any further.
    """
    local = said_of(subject, *owners)
    answers: list[Answer] = []
    if any(word in FINAL for word in local):
        answers = [says(name, subject) for name in answered]
        words = [*local, *(answer for answer in answers if isinstance(answer, str))]
        return max(words, key=SEVERITY.__getitem__)
    for name in remotes("pre_tool" if isinstance(subject, Call) else "post_tool", *owners):
        answer = says(name, subject)
        if answer in FINAL:
            return answer
        answers.append(answer)
    changed = [answer for answer in answers if isinstance(answer, Replaced)]
    if changed:
        return changed[0] if replacements < MOST_REPLACEMENTS else "deny"
    words = [*local, *(answer for answer in answers if isinstance(answer, str))]
    return max(words, key=SEVERITY.__getitem__, default="deny" if isinstance(subject, Call) else "allow")


def remotes(stage: str, *owners: Sequence[Mapping[str, Any]]) -> list[str]:
    """The remote policies that count at a stage, in the order in which they are asked."""
    here = [policy for policies in owners for policy in policies if "remote" in policy and "mode" not in policy]
    return [policy["remote"] for policy in here if stage in policy.get("stages", ["pre_tool"])]


def is_anybody_asked(*owners: Sequence[Mapping[str, Any]]) -> bool:
    """Whether there is a remote policy at all; in shadow mode, too."""
    return any("remote" in policy for policies in owners for policy in policies)


def said_of(subject: Subject, *owners: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is said of a call or a result without asking anybody."""
    return rules(subject, *owners) if isinstance(subject, Call) else result_rules(subject, *owners)


def rules(call: Call, *owners: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is said without asking anybody."""
    here = [policy for policies in owners for policy in policies if "mode" not in policy and "remote" not in policy]
    return [word for policy in here for word in _said(call, policy)]


def are_results_heard(*owners: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the model has to wait for what policies say of results; in shadow mode, too."""
    return any(
        "post_tool" in policy.get("stages", ()) or any(_is_of_result(rule) for rule in policy.get("rules", ()))
        for policies in owners
        for policy in policies
    )


def result_rules(came: Came, *owners: Sequence[Mapping[str, Any]]) -> list[str]:
    """Everything that rules say about what a call came to."""
    said = []
    for policies in owners:
        for policy in policies:
            for rule in policy.get("rules", ()) if "mode" not in policy else ():
                holds = RESULTS[rule["if"]][1](came) if _is_of_result(rule) else False
                if holds is None:
                    said.append("deny")
                elif holds:
                    said.append(rule["then"])
    return said


def _is_of_result(rule: Mapping[str, Any]) -> bool:
    return rule.get("stage") == "post_tool"


def _said(call: Call, policy: Mapping[str, Any]) -> list[str]:
    match policy.get("builtin"):
        case "allow-declared":
            return ["allow"]
        case "read-only":
            return ["allow"] if call.effect == "read" else []
    said = []
    for rule in policy["rules"]:
        if _is_of_result(rule):
            continue
        holds = CONDITIONS[rule["if"]][1](call)
        if holds is None:
            said.append("deny")
        elif holds:
            said.append(rule["then"])
    return said


def as_file(policies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same policies, their conditions in CEL."""
    return [
        {**policy, "rules": [_in_cel(rule) for rule in policy["rules"]]} if "rules" in policy else dict(policy)
        for policy in policies
    ]


def _in_cel(rule: Mapping[str, Any]) -> dict[str, Any]:
    if _is_of_result(rule):
        return {"stage": "post_tool", "when": RESULTS[rule["if"]][0], "then": rule["then"]}
    return {"when": CONDITIONS[rule["if"]][0], "then": rule["then"]}
