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
SEVERITY = {"allow": 0, "ask": 1, "deny": 2, "interrupt": 3}


def verdict(call: Call, *owners: Sequence[Mapping[str, Any]]) -> str:
    """The strictest of everything that is said about a call by the policies of all owners; nobody's allow is a deny."""
    said = [word for policies in owners for policy in policies if "mode" not in policy for word in _said(call, policy)]
    return max(said, key=SEVERITY.__getitem__, default="deny")


def are_results_heard(*owners: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the model has to wait for what policies say of results; in shadow mode, too."""
    return any(_is_of_result(rule) for policies in owners for policy in policies for rule in policy.get("rules", ()))


def release(came: Came, *owners: Sequence[Mapping[str, Any]]) -> str:
    """The strictest of everything that is said about what a call came to; nobody's objection is an allow."""
    said = []
    for policies in owners:
        for policy in policies:
            for rule in policy.get("rules", ()) if "mode" not in policy else ():
                holds = RESULTS[rule["if"]][1](came) if _is_of_result(rule) else False
                if holds is None:
                    said.append("deny")
                elif holds:
                    said.append(rule["then"])
    return max(said, key=SEVERITY.__getitem__, default="allow")


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
