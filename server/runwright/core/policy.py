"""What policies are and say, and the two built-in ones. Where they are heard: `core/machine/gates.py`."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct


class PolicyRef(Enum):
    """The policies a package may name."""

    READ_ONLY = "builtin:read-only"
    ALLOW_DECLARED = "builtin:allow-declared"


class PolicyStage(Enum):
    """Where it is decided whether a run or a call goes on. The numbers are those of `runwright.v1.PolicyStage`.

    Which of them are walked, and what is looked at there: `GATES` in `core/machine/gates.py`.
    """

    PRE_TOOL = 1
    RUN_START = 2
    INPUT = 3
    MODEL_REQUEST = 4
    POST_TOOL = 5
    OUTPUT = 6

    # A member is only equal to itself; Enum would hash its name, in Python.
    __hash__ = object.__hash__


class Verdict(Enum):
    """What a policy says. The numbers are those of `runwright.v1.PolicyVerdict`."""

    ALLOW = 1
    DENY = 2


class Decision(Struct, frozen=True):
    """A verdict with the rule that gave it."""

    verdict: Verdict
    code: str


def decide_tool_call(policy: PolicyRef, effect: str) -> Decision:
    """Decides on a call of a tool the package declares; `effect` is the tool's, as files name it.

    `builtin:read-only` allows what only reads; it is the default because no
    policy named means nothing above *read* may run. `builtin:allow-declared`
    allows whatever the package lists, so a package must name it.
    """
    match policy:
        case PolicyRef.ALLOW_DECLARED:
            return Decision(Verdict.ALLOW, "tool.declared")
        case PolicyRef.READ_ONLY if effect == "read":
            return Decision(Verdict.ALLOW, "effect.read")
        case PolicyRef.READ_ONLY:
            return Decision(Verdict.DENY, "effect.above_read")
