"""Policies as packages and operators write them: built-in ones by name, and rules with a condition each."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from functools import cached_property
from typing import Annotated, Literal

from msgspec import Struct
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

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
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$"  # of callbacks, as `core/ids.py` has it
_Stage = Literal["run_start", "input", "pre_tool", "post_tool", "output"]
_PRE_TOOL: tuple[_Stage, ...] = ("pre_tool",)
_IN_ORDER = ("run_start", "input", "pre_tool", "post_tool", "output")
_IN_ORDER_TEXT = ", ".join(_IN_ORDER)
_OF_REMOTE = frozenset({"stages", "timeout_ms", "max_attempts", "unavailable_timeout_ms", "cache"})
# What a remote policy has where nothing is said.
TIMEOUT_MS = 10_000
MAX_ATTEMPTS = 3
UNAVAILABLE_TIMEOUT_MS = 60_000
_MAY_ASK = ("pre_tool", "run_start", "output")


def _not_a_switch(value: object) -> object:
    # YAML's yes and true would otherwise count as 1.
    if isinstance(value, bool):
        raise ValueError("a whole number, not true or false")
    return value


Whole = Annotated[int, BeforeValidator(_not_a_switch)]
Milliseconds = Annotated[Whole, Field(ge=1, le=86_400_000)]


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
        if self.approval is not None and self.then != "ask":
            raise ValueError("`approval` only beside `then: ask`")
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
    """One policy: `builtin`, `rules` or `remote`. What only a remote one has is left out of the canonical form else.

    A remote policy is asked at `stages`. An attempt at it has `timeout_ms`; without an answer there are `max_attempts`.
    A host that is not there is waited for as long as `unavailable_timeout_ms`. With `cache` an allow or a deny counts
    for the same subject of the same run again. In shadow mode there is one attempt, and no host is waited for.
    """

    builtin: Literal["read-only", "allow-declared"] | None = None
    rules: Annotated[tuple[PolicyRule, ...], Field(max_length=MAX_RULES)] = ()
    mode: PolicyMode = PolicyMode.ENFORCE
    remote: Annotated[str | None, Field(pattern=_NAME, exclude_if=lambda value: value is None)] = None
    stages: Annotated[
        tuple[_Stage, ...],
        Field(max_length=5, exclude_if=lambda value: value == _PRE_TOOL),
    ] = _PRE_TOOL
    timeout_ms: Annotated[Milliseconds, Field(exclude_if=lambda value: value == TIMEOUT_MS)] = TIMEOUT_MS
    max_attempts: Annotated[Whole, Field(ge=1, le=10, exclude_if=lambda value: value == MAX_ATTEMPTS)] = MAX_ATTEMPTS
    unavailable_timeout_ms: Annotated[Milliseconds, Field(exclude_if=lambda value: value == UNAVAILABLE_TIMEOUT_MS)] = (
        UNAVAILABLE_TIMEOUT_MS
    )
    cache: Annotated[bool, Field(strict=True, exclude_if=lambda value: not value)] = False

    @field_validator("stages")
    @classmethod
    def _in_their_order(cls, stages: tuple[str, ...]) -> tuple[str, ...]:
        # One way to say it, so that one fingerprint: nobody has to sort them.
        if not stages or stages != tuple(stage for stage in _IN_ORDER if stage in stages):
            raise ValueError(
                f"at least one stage, each once, in the order in which a run comes to them: {_IN_ORDER_TEXT}"
            )
        return stages

    @model_validator(mode="after")
    def _is_one_thing(self) -> PolicySpec:
        if sum((self.builtin is not None, bool(self.rules), self.remote is not None)) != 1:
            raise ValueError("either `builtin: NAME`, `rules: [...]` with at least one rule, or `remote: NAME`")
        if self.remote is None and self.model_fields_set & _OF_REMOTE:
            raise ValueError(f"{', '.join(sorted(_OF_REMOTE))} only beside `remote: NAME`")
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
        if self.remote is not None:
            return stage in self.asked_at
        return stage is PolicyStage.PRE_TOOL if self.builtin else stage in self.heard

    @cached_property
    def asked_at(self) -> frozenset[PolicyStage]:
        """The stages of a remote policy."""
        return frozenset(STAGES[stage] for stage in self.stages)


def too_many_rules(policies: tuple[PolicySpec, ...]) -> bool:
    """True when the policies of one owner have more rules than are heard."""
    return sum(len(policy.rules) for policy in policies) > MAX_RULES
