"""The two built-in policies. Pure, so `decide` calls them and every decision is on record."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from runwright.core.package import ToolSpec


class PolicyRef(Enum):
    """The policies a package may name."""

    READ_ONLY = "builtin:read-only"
    ALLOW_DECLARED = "builtin:allow-declared"


class PolicyStage(Enum):
    """Where a policy decides. The numbers are those of `runwright.v1.PolicyStage`."""

    PRE_TOOL = 1


class Verdict(Enum):
    """What a policy says. The numbers are those of `runwright.v1.PolicyVerdict`."""

    ALLOW = 1
    DENY = 2


class Decision(Struct, frozen=True):
    """A verdict with the rule that gave it."""

    verdict: Verdict
    code: str


def decide_tool_call(policy: PolicyRef, tool: ToolSpec) -> Decision:
    """Decides on a call of a tool the package declares.

    `builtin:read-only` allows what only reads; it is the default because no
    policy named means nothing above *read* may run. `builtin:allow-declared`
    allows whatever the package lists, so a package must name it.
    """
    match policy:
        case PolicyRef.ALLOW_DECLARED:
            return Decision(Verdict.ALLOW, "tool.declared")
        case PolicyRef.READ_ONLY if tool.effect.value == "read":
            return Decision(Verdict.ALLOW, "effect.read")
        case PolicyRef.READ_ONLY:
            return Decision(Verdict.DENY, "effect.above_read")
