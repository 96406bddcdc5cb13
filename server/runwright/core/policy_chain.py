"""The chain of policies that a subject is put to: the package's, then the operator's. Rules are heard by outcomes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum

from msgspec import Struct

from runwright.core.policy import (
    CONDITION_FAILED,
    OPERATOR,
    PACKAGE,
    PolicyFindings,
    PolicyOpinion,
    PolicyStage,
    Verdict,
    builtin_opinion,
)
from runwright.core.policy_rules import HeardRule, PolicyMode, PolicySpec


class Outcome(Enum):
    """What came of a condition."""

    HOLDS = 1
    DOES_NOT_HOLD = 2
    FAILED = 3  # an error in it, a value that is not true or false, or too slow


class OperatorRules(Struct, frozen=True):
    """The operator's policies for one namespace, and the digest of them; empty without any."""

    policies: tuple[PolicySpec, ...] = ()
    digest: str = ""


class PolicyChain(Struct, frozen=True):
    """Everything that is heard at one stage."""

    stage: PolicyStage
    package: tuple[PolicySpec, ...]
    operator: OperatorRules

    @property
    def is_used(self) -> bool:
        """True when somebody may say something at the stage."""
        return any(policy.is_heard_at(self.stage) for policy in (*self.package, *self.operator.policies))

    @property
    def needs_findings(self) -> bool:
        """True when more is heard than the package's built-in policies, which decide alone.

        An operator who wrote rules is heard even where they say nothing at this stage: that is on record.
        """
        own = any(policy.rules or policy.mode is PolicyMode.SHADOW for policy in self.package)
        return own or bool(self.operator.policies)

    def conditions(self) -> tuple[str, ...]:
        """The conditions to find out, in the order in which `findings` takes their outcomes; none twice."""
        stage, policies = self.stage, (*self.package, *self.operator.policies)
        said = [rule.when for policy in policies for rule in policy.heard.get(stage, ()) if rule.when]
        return tuple(dict.fromkeys(said))

    def findings(self, effect: str, subject_digest: str, outcomes: Sequence[Outcome]) -> PolicyFindings:
        """What is said of a subject; `effect` is that of a call's tool, empty for a run."""
        found = dict(zip(self.conditions(), outcomes, strict=True))
        enforced: list[PolicyOpinion] = []
        shadow: list[PolicyOpinion] = []
        for policies, decider, owner in ((self.package, PACKAGE, ""), (self.operator.policies, OPERATOR, "operator.")):
            for index, policy in enumerate(policies):
                said = enforced if policy.mode is PolicyMode.ENFORCE else shadow
                if policy.builtin:
                    said += _builtin(policy, self.stage, effect, decider)
                else:
                    said += _said(policy.heard.get(self.stage, ()), f"{owner}policies.{index}", decider, found)
        return PolicyFindings(self.stage, subject_digest, self.operator.digest, tuple(enforced), tuple(shadow))


def _builtin(policy: PolicySpec, stage: PolicyStage, effect: str, decider: str) -> list[PolicyOpinion]:
    heard = builtin_opinion(policy.ref, effect, decider) if policy.ref and policy.is_heard_at(stage) else None
    return [heard] if heard is not None else []


def _said(
    rules: Sequence[HeardRule], place: str, decider: str, found: Mapping[str, Outcome]
) -> Iterator[PolicyOpinion]:
    """What the rules of a policy say, all of them: a later, stricter one is not hidden by an earlier one."""
    for rule in rules:
        outcome = found[rule.when] if rule.when else Outcome.HOLDS
        if outcome is Outcome.DOES_NOT_HOLD:
            continue
        where = f"{place}.rules.{rule.index}"
        if outcome is Outcome.FAILED:
            yield PolicyOpinion(Verdict.DENY, place, where, CONDITION_FAILED, decider)
        else:
            yield PolicyOpinion(rule.verdict, place, where, rule.code, decider, rule.message, rule.approval)
