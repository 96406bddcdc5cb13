"""Policies as packages and operators write them: built-in ones by name, and rules with a condition each."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from functools import cached_property
from typing import Annotated, Literal

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from runwright.core.approval_rules import NAME
from runwright.core.policy import PolicyRef, PolicyStage, Verdict

MAX_RULES = 256  # of all policies of one package, or of one namespace
MAX_POLICIES = 64
MAX_CONDITION_BYTES = 1024
CODE_PATTERN = r"^[a-z][a-z0-9_.-]{0,63}$"

STAGES = {
    "pre_tool": PolicyStage.PRE_TOOL,
    "run_start": PolicyStage.RUN_START,
    "input": PolicyStage.INPUT,
    "post_tool": PolicyStage.POST_TOOL,
    "output": PolicyStage.OUTPUT,
}
VERDICTS = {
    "allow": Verdict.ALLOW,
    "deny": Verdict.DENY,
    "ask": Verdict.ASK,
    "interrupt": Verdict.INTERRUPT,
}
_MAY_ASK = ("pre_tool", "run_start", "output")


class PolicyMode(Enum):
    """Whether what a policy says counts."""

    ENFORCE = "enforce"
    SHADOW = "shadow"  # it is recorded, and changes nothing


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class PolicyRule(_Frozen):
    """What is said at a stage when a condition holds. `when` is CEL; without one the rule always holds.

    `code` is what decisions carry, `message` what the model, or the caller who is refused, is told. `approval` names
    one of the package's `approvals`, for a rule that asks; without one the built-in approval is asked for.
    """

    stage: Literal["pre_tool", "run_start", "input", "post_tool", "output"] = "pre_tool"
    when: Annotated[str, Field(max_length=MAX_CONDITION_BYTES)] = ""
    then: Literal["allow", "deny", "ask", "interrupt"]
    code: Annotated[str, Field(pattern=CODE_PATTERN)] | None = None
    message: Annotated[str, Field(max_length=256, exclude_if=lambda value: not value)] = ""
    approval: Annotated[str | None, Field(pattern=NAME, exclude_if=lambda value: value is None)] = None

    @field_validator("when")
    @classmethod
    def _is_short(cls, when: str) -> str:
        if len(when.encode("utf-8", "surrogatepass")) > MAX_CONDITION_BYTES:
            raise ValueError(f"at most {MAX_CONDITION_BYTES} bytes")
        return when

    @model_validator(mode="after")
    def _asks_where_one_can(self) -> PolicyRule:
        if self.then == "ask" and self.stage not in _MAY_ASK:
            raise ValueError(f"another verdict than ask at stage {self.stage}; one can ask at {', '.join(_MAY_ASK)}")
        if self.approval is not None and (self.then, self.stage) != ("ask", "pre_tool"):
            raise ValueError("`approval` only beside `then: ask` at stage pre_tool: calls are what can be approved")
        return self

    @property
    def at(self) -> PolicyStage:
        """The stage at which it is heard."""
        return STAGES[self.stage]

    @property
    def verdict(self) -> Verdict:
        """What it says."""
        return VERDICTS[self.then]


class HeardRule(Struct, frozen=True):
    """A rule as it is heard: its place among those of its policy, its condition, and what it says."""

    index: int
    when: str
    verdict: Verdict
    code: str
    message: str
    approval: str = ""


class PolicySpec(_Frozen):
    """One policy: `builtin` or `rules`."""

    builtin: Literal["read-only", "allow-declared"] | None = None
    rules: Annotated[tuple[PolicyRule, ...], Field(max_length=MAX_RULES)] = ()
    mode: PolicyMode = PolicyMode.ENFORCE

    @model_validator(mode="after")
    def _is_one_thing(self) -> PolicySpec:
        if (self.builtin is None) == (not self.rules):
            raise ValueError("either `builtin: NAME` or `rules: [...]` with at least one rule")
        return self

    @property
    def ref(self) -> PolicyRef | None:
        """The built-in policy that it is."""
        return PolicyRef(f"builtin:{self.builtin}") if self.builtin else None

    @cached_property
    def heard(self) -> Mapping[PolicyStage, tuple[HeardRule, ...]]:
        """The rules by the stage at which they are heard."""
        heard: dict[PolicyStage, tuple[HeardRule, ...]] = {}
        for index, rule in enumerate(self.rules):
            code = rule.code or f"rule.{rule.then}"
            said = HeardRule(index, rule.when, VERDICTS[rule.then], code, rule.message, rule.approval or "")
            heard[rule.at] = (*heard.get(rule.at, ()), said)
        return heard

    def is_heard_at(self, stage: PolicyStage) -> bool:
        """True when it may say something there: a built-in policy decides on calls alone."""
        return stage is PolicyStage.PRE_TOOL if self.builtin else stage in self.heard


def too_many_rules(policies: tuple[PolicySpec, ...]) -> bool:
    """True when the policies of one owner have more rules than are heard."""
    return sum(len(policy.rules) for policy in policies) > MAX_RULES
