"""What policies say, and how many of them come to one decision. Where they are heard: `core/machine/gates.py`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum

from msgspec import Struct

from runwright.core.grants import AnsweringGrant


class PolicyRef(Enum):
    """The built-in policies."""

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
    ASK = 3
    INTERRUPT = 4
    MODIFY = 5  # this and the next one are of remote policies alone
    DEFER = 6

    __hash__ = object.__hash__


_STRICTNESS = (Verdict.ALLOW, Verdict.MODIFY, Verdict.ASK, Verdict.DEFER, Verdict.DENY, Verdict.INTERRUPT)
PACKAGE, OPERATOR, SERVER = "package", "operator", "server"  # whose policy it is
ALL_POLICIES = "policies"  # the policy of a decision that none of them gave
CONDITION_FAILED = "policy.condition_failed"
NOT_FOUND_OUT = "policy.not_found_out"
NO_ALLOW = "policy.no_allow"
NO_OBJECTION = "policy.no_objection"


class Decision(Struct, frozen=True):
    """A verdict with the code of the rule that gave it."""

    verdict: Verdict
    code: str


class PolicyOpinion(Struct, frozen=True):
    """What one policy says about a subject. `rule` is its place; a built-in policy has none."""

    verdict: Verdict
    policy_ref: str
    rule: str
    code: str
    decider: str
    message: str = ""
    approval: str = ""  # of an ask: which of the package's approvals; empty for the built-in one


class RemotePolicy(Struct, frozen=True):
    """A policy that is asked over the network: its name, its place, whose it is, and how it is asked.

    One in `shadow` mode changes nothing: there is one attempt, and no host is waited for.
    """

    policy: str
    policy_ref: str
    decider: str
    timeout_ms: int
    max_attempts: int
    unavailable_timeout_ms: int
    cache: bool = False
    shadow: bool = False


class PolicyFindings(Struct, frozen=True):
    """What all policies say about one subject, found at the edge: conditions need its bytes.

    `subject_digest` is the digest of what was looked at: the opinions count for nothing else. `operator_digest` is
    that of the operator's rules that were heard, empty without any. `remotes` are to be asked beside that. `grants` are
    those that may answer what is asked, the narrowest first. `summary` is the call in one line, for whoever is asked.
    `dispatchers` are those that the operator has told of every approval, by name.
    """

    stage: PolicyStage
    subject_digest: str
    operator_digest: str = ""
    opinions: tuple[PolicyOpinion, ...] = ()
    shadow: tuple[PolicyOpinion, ...] = ()
    remotes: tuple[RemotePolicy, ...] = ()
    grants: tuple[AnsweringGrant, ...] = ()
    summary: str = ""
    dispatchers: tuple[str, ...] = ()


def builtin_opinion(policy: PolicyRef, effect: str, decider: str = PACKAGE) -> PolicyOpinion | None:
    """What a built-in policy says of a call; `effect` is the tool's, as files name it.

    `builtin:read-only` allows what only reads and says nothing of anything else; `builtin:allow-declared` allows
    whatever the package lists.
    """
    if policy is PolicyRef.ALLOW_DECLARED:
        return PolicyOpinion(Verdict.ALLOW, policy.value, "", "tool.declared", decider)
    if effect == "read":
        return PolicyOpinion(Verdict.ALLOW, policy.value, "", "effect.read", decider)
    return None


def decided(stage: PolicyStage, opinions: Iterable[PolicyOpinion], answered: str | None = None) -> PolicyOpinion:
    """The decision that all of them come to: the strictest says it, of equal ones the first.

    Before a tool call nobody's allow is a denial; at the other stages nobody's objection is an allow. `answered` is
    the approval that was given for this very subject, by its name: an ask for another one comes before an ask for it.
    """
    strictest: PolicyOpinion | None = None
    for opinion in opinions:
        if strictest is None or _is_stricter(opinion, strictest, answered):
            strictest = opinion
    if strictest is not None:
        return strictest
    if stage is PolicyStage.PRE_TOOL:
        return PolicyOpinion(Verdict.DENY, ALL_POLICIES, "", NO_ALLOW, SERVER)
    return PolicyOpinion(Verdict.ALLOW, ALL_POLICIES, "", NO_OBJECTION, SERVER)


def _is_stricter(one: PolicyOpinion, other: PolicyOpinion, answered: str | None) -> bool:
    if one.verdict is other.verdict is Verdict.ASK:
        return other.approval == answered != one.approval
    return _STRICTNESS.index(one.verdict) > _STRICTNESS.index(other.verdict)


def decided_for_call(
    found: PolicyFindings | None, builtins: Sequence[PolicyRef], effect: str, answered: str | None = None
) -> PolicyOpinion:
    """The decision on a call: by what was found for it, or without any findings by the built-in policies alone.

    `answered` as in `decided`.
    """
    if found is not None:
        return decided(PolicyStage.PRE_TOOL, found.opinions, answered)
    heard = [opinion for ref in builtins if (opinion := builtin_opinion(ref, effect)) is not None]
    if not heard and tuple(builtins) == (PolicyRef.READ_ONLY,):
        # Alone it is the whole policy, so what it does not allow it denies.
        return PolicyOpinion(Verdict.DENY, PolicyRef.READ_ONLY.value, "", "effect.above_read", PACKAGE)
    return decided(PolicyStage.PRE_TOOL, heard)
