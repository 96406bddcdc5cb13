"""What policies must come to, said anew: a small model with nothing of the machine in it.

Policies are the dictionaries that a file has. A condition is a name of CONDITIONS, which says it in CEL for the machine
and as a function of what a call is for this model.
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
SEVERITY = {"allow": 0, "ask": 1, "deny": 2, "interrupt": 3}


def verdict(call: Call, *owners: Sequence[Mapping[str, Any]]) -> str:
    """The strictest of everything that is said about a call by the policies of all owners; nobody's allow is a deny."""
    said = [word for policies in owners for policy in policies if "mode" not in policy for word in _said(call, policy)]
    return max(said, key=SEVERITY.__getitem__, default="deny")


def _said(call: Call, policy: Mapping[str, Any]) -> list[str]:
    match policy.get("builtin"):
        case "allow-declared":
            return ["allow"]
        case "read-only":
            return ["allow"] if call.effect == "read" else []
    said = []
    for rule in policy["rules"]:
        holds = CONDITIONS[rule["if"]][1](call)
        if holds is None:
            said.append("deny")
        elif holds:
            said.append(rule["then"])
    return said


def as_file(policies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same policies, their conditions in CEL."""
    return [
        {
            **policy,
            "rules": [{"when": CONDITIONS[rule["if"]][0], "then": rule["then"]} for rule in policy["rules"]],
        }
        if "rules" in policy
        else dict(policy)
        for policy in policies
    ]
