"""The chain of policies that a subject is put to: the package's, then the operator's. Rules are heard by outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from functools import cached_property
from typing import TypeAlias

from msgspec import Struct

from runwright.core.policy import (
    CONDITION_FAILED,
    OPERATOR,
    PACKAGE,
    PolicyFindings,
    PolicyOpinion,
    PolicyRef,
    PolicyStage,
    RemotePolicy,
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
    """The operator's policies for one namespace, and the digest of them; empty without any.

    `dispatchers` are told of every approval there, beside those that its package names.
    """

    policies: tuple[PolicySpec, ...] = ()
    digest: str = ""
    dispatchers: tuple[str, ...] = ()


NO_OPERATOR = OperatorRules()
_Opinions: TypeAlias = tuple[PolicyOpinion, ...]


class _Said(Struct, frozen=True):
    """What one rule says, if its condition holds and if it fails. `condition` is its place; None: it always holds."""

    condition: int | None
    holds: PolicyOpinion
    failed: PolicyOpinion


class _Heard(Struct, frozen=True):
    """One policy at a stage: a built-in one by its name, or what its rules say."""

    is_enforced: bool
    decider: str
    builtin: PolicyRef | None = None
    rules: tuple[_Said, ...] = ()


class PolicyChain(Struct, frozen=True, dict=True):
    """Everything that is heard at one stage; what follows from it is found once."""

    stage: PolicyStage
    package: tuple[PolicySpec, ...]
    operator: OperatorRules

    @cached_property
    def is_used(self) -> bool:
        """True when somebody may say something at the stage."""
        return any(policy.is_heard_at(self.stage) for policy in (*self.package, *self.operator.policies))

    @cached_property
    def may_hold(self) -> bool:
        """True when somebody may be asked at the stage: a person by a rule, or a remote policy, which may want one."""
        asking = (policy for policy in (*self.package, *self.operator.policies) if policy.mode is PolicyMode.ENFORCE)
        return any(
            policy.is_heard_at(self.stage)
            and (
                policy.remote is not None
                or any(rule.verdict is Verdict.ASK for rule in policy.heard.get(self.stage, ()))
            )
            for policy in asking
        )

    @cached_property
    def needs_findings(self) -> bool:
        """True when more is heard than the package's built-in policies, which decide alone.

        An operator who wrote rules is heard even where they say nothing at this stage: that is on record.
        """
        own = any(policy.rules or policy.remote or policy.mode is PolicyMode.SHADOW for policy in self.package)
        return own or bool(self.operator.policies)

    @cached_property
    def remotes(self) -> tuple[RemotePolicy, ...]:
        """The remote policies to ask at the stage, in their order."""
        found = []
        for policies, decider, owner in self._owners():
            for index, policy in enumerate(policies):
                if policy.remote is not None and policy.is_heard_at(self.stage):
                    found.append(
                        RemotePolicy(
                            policy.remote,
                            f"{owner}policies.{index}",
                            decider,
                            policy.timeout_ms,
                            policy.max_attempts,
                            policy.unavailable_timeout_ms,
                            policy.cache,
                            policy.mode is PolicyMode.SHADOW,
                        )
                    )
        return tuple(found)

    def _owners(self) -> tuple[tuple[tuple[PolicySpec, ...], str, str], ...]:
        """Whose policies they are: the policies, the owner's word on record, and what their places begin with."""
        return (self.package, PACKAGE, ""), (self.operator.policies, OPERATOR, "operator.")

    @cached_property
    def conditions(self) -> tuple[str, ...]:
        """The conditions to find out, in the order in which `findings` takes their outcomes; none twice."""
        stage, policies = self.stage, (*self.package, *self.operator.policies)
        said = [rule.when for policy in policies for rule in policy.heard.get(stage, ()) if rule.when]
        return tuple(dict.fromkeys(said))

    @cached_property
    def approvals(self) -> tuple[str, ...]:
        """The approvals that its rules may ask for, by name, none twice; an empty one is the built-in one."""
        enforced = [each for each in (*self.package, *self.operator.policies) if each.mode is PolicyMode.ENFORCE]
        heard = [rule for policy in enforced for rule in policy.heard.get(self.stage, ())]
        return tuple(dict.fromkeys(rule.approval for rule in heard if rule.verdict is Verdict.ASK))

    def findings(self, effect: str, subject_digest: str, outcomes: Sequence[Outcome]) -> PolicyFindings:
        """What is said of a subject; `effect` is that of a call's tool, empty for a run."""
        if len(outcomes) != len(self.conditions):
            raise ValueError(f"{len(outcomes)} outcomes of {len(self.conditions)} conditions")
        if outcomes != self._no_outcomes:
            said = self._opinions(effect, outcomes)
        elif effect in self._silent:
            said = self._silent[effect]
        else:
            said = self._silent[effect] = self._opinions(effect, outcomes)
        operator = self.operator
        return PolicyFindings(
            self.stage, subject_digest, operator.digest, *said, self.remotes, dispatchers=operator.dispatchers
        )

    @cached_property
    def _no_outcomes(self) -> tuple[Outcome, ...]:
        """Those of conditions of which none holds, as they mostly are."""
        return (Outcome.DOES_NOT_HOLD,) * len(self.conditions)

    @cached_property
    def _silent(self) -> dict[str, tuple[_Opinions, _Opinions]]:
        """What is said then, by the effect of the call's tool: there are only so many."""
        return {}

    def _opinions(self, effect: str, outcomes: Sequence[Outcome]) -> tuple[_Opinions, _Opinions]:
        """The opinions that count, and those in shadow mode."""
        enforced: list[PolicyOpinion] = []
        shadow: list[PolicyOpinion] = []
        for heard in self._heard:
            said = enforced if heard.is_enforced else shadow
            if heard.builtin is not None and (opinion := builtin_opinion(heard.builtin, effect, heard.decider)):
                said.append(opinion)
            # All of them: a later, stricter one is not hidden by an earlier one.
            for rule in heard.rules:
                outcome = Outcome.HOLDS if rule.condition is None else outcomes[rule.condition]
                if outcome is not Outcome.DOES_NOT_HOLD:
                    said.append(rule.holds if outcome is Outcome.HOLDS else rule.failed)
        return tuple(enforced), tuple(shadow)

    @cached_property
    def _heard(self) -> tuple[_Heard, ...]:
        places = {condition: place for place, condition in enumerate(self.conditions)}
        heard: list[_Heard] = []
        for policies, decider, owner in self._owners():
            for index, policy in enumerate(policies):
                if not policy.is_heard_at(self.stage):
                    continue
                name, rules = f"{owner}policies.{index}", policy.heard.get(self.stage, ())
                said = tuple(_said(rule, name, decider, places.get(rule.when)) for rule in rules)
                heard.append(_Heard(policy.mode is PolicyMode.ENFORCE, decider, policy.ref, said))
        return tuple(heard)


def _said(rule: HeardRule, place: str, decider: str, condition: int | None) -> _Said:
    where = f"{place}.rules.{rule.index}"
    return _Said(
        condition,
        PolicyOpinion(rule.verdict, place, where, rule.code, decider, rule.message, rule.approval),
        PolicyOpinion(Verdict.DENY, place, where, CONDITION_FAILED, decider),
    )
