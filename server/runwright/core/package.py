"""The RuntimePackage: an agent as data. Immutable, validated, fingerprinted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator
from pydantic_core import PydanticCustomError

from runwright.core.approval_rules import MAX_APPROVALS, ApprovalSpec
from runwright.core.fingerprint import PACKAGE_TAG, PACKAGE_TAG_V1, canonical_json, fingerprint, has_canonical_form
from runwright.core.policy import PolicyRef, PolicyStage
from runwright.core.policy_chain import NO_OPERATOR, OperatorRules, PolicyChain
from runwright.core.policy_rules import (
    MAX_CONDITION_BYTES,
    MAX_POLICIES,
    MAX_RULES,
    Milliseconds,
    PolicySpec,
    Whole,
    too_many_rules,
)
from runwright.core.schema_digests import SCHEMA_DIGEST_PATTERN, schema_digest
from runwright.core.units import span_us

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$"
NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$"
SPAN_PATTERN = r"^[1-9][0-9]{0,6}[smhd]$"  # what `span_us` reads
POINTER_PATTERN = r"^(/([^~/]|~[01])*)+$"  # a JSON pointer (RFC 6901) to a part of a value, not to all of it
MAX_HIGHLIGHT = 16
DEFAULT_MODEL_ATTEMPTS = 3
DEFAULT_RECONCILE_FOR = "10m"
LONGEST_RECONCILE_FOR = "30d"
MAX_TOOLS = 128
_MAX_CHAINS = 64  # at a time; an operator has as many rules as there are namespaces, and a stage has its own
NO_ARGUMENTS: Mapping[str, JsonValue] = MappingProxyType({"type": "object", "additionalProperties": False})


Id = Annotated[str, Field(pattern=ID_PATTERN)]
PackageFormat = Literal["runwright-package-v0", "runwright-package-v1-draft"]
FORMATS = (PACKAGE_TAG, PACKAGE_TAG_V1)


class _Frozen(BaseModel):
    # A key nobody knows is a typing error of the author, not something to ignore.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


def is_sidecar(digest: str, schema: Mapping[str, JsonValue]) -> bool:
    """True for a schema that has a canonical form, and that digest."""
    return has_canonical_form(schema) and schema_digest(schema) == digest


class EffectClass(Enum):
    """What a call can do to the world; files use the lower-case names."""

    READ = "read"
    WRITE = "write"
    PROCESS = "process"
    NETWORK = "network"


class AgentSpec(_Frozen):
    """Who the agent is and what it is told."""

    id: Id
    name: Annotated[str, Field(max_length=256)] = ""
    instructions: Annotated[str, Field(max_length=65_536)] = ""


class ProviderRoute(_Frozen):
    """Which provider adapter answers, with which model and parameters, and how often a request is tried."""

    adapter: Id
    model: Annotated[str, Field(min_length=1, max_length=256)]
    parameters: dict[str, JsonValue] = {}
    # Left out of the canonical form where it says nothing new: older fingerprints stand.
    max_attempts: Annotated[Whole, Field(ge=1, le=10, exclude_if=lambda value: value == DEFAULT_MODEL_ATTEMPTS)] = (
        DEFAULT_MODEL_ATTEMPTS
    )


class BudgetSpec(_Frozen):
    """What one run may use up. `parallel_calls` keeps the snapshot row small."""

    rounds: Annotated[Whole, Field(ge=1, le=1000)] = 16
    tool_calls: Annotated[Whole, Field(ge=0, le=10_000)] = 64
    parallel_calls: Annotated[Whole, Field(ge=1, le=64)] = 8


class ContextPolicy(_Frozen):
    """How much of its session's earlier turns a run sees; with no turns every run stands alone."""

    session_turns: Annotated[Whole, Field(ge=0, le=100)] = 20
    session_bytes: Annotated[Whole, Field(ge=0, le=1024 * 1024)] = 64 * 1024


class ToolSpec(_Frozen):
    """A tool the model may ask for. `idempotent` defaults to whether the tool only reads."""

    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    description: Annotated[str, Field(max_length=4096)] = ""
    parameters: dict[str, JsonValue] = dict(NO_ARGUMENTS)
    executor: Id
    effect: EffectClass
    idempotent: Annotated[bool, Field(strict=True)]
    timeout_ms: Milliseconds = 30_000
    unavailable_timeout_ms: Milliseconds = 600_000
    max_attempts: Annotated[Whole, Field(ge=1, le=100)] = 3
    # For policies; both are left out of the canonical form where they say nothing.
    risk: Annotated[
        Literal["low", "medium", "high", "critical"] | None, Field(exclude_if=lambda value: value is None)
    ] = None
    untrusted: Annotated[bool, Field(strict=True, exclude_if=lambda value: not value)] = False
    # Whether the executor can be asked what became of a call, and for how long it is; left out like those above.
    reconcilable: Annotated[bool, Field(strict=True, exclude_if=lambda value: not value)] = False
    reconcile_for: Annotated[
        str, Field(pattern=SPAN_PATTERN, exclude_if=lambda value: value == DEFAULT_RECONCILE_FOR)
    ] = DEFAULT_RECONCILE_FOR
    # False: no grant answers for just any call of it.
    grantable: Annotated[bool, Field(strict=True, exclude_if=lambda value: value)] = True
    # A call in one line for whoever approves it: an expression in CEL.
    summary: Annotated[str, Field(max_length=MAX_CONDITION_BYTES, exclude_if=lambda value: not value)] = ""
    # For whoever approves a call: whether what it does can be undone, and which arguments they are to look at first.
    reversible: Annotated[bool, Field(strict=True, exclude_if=lambda value: not value)] = False
    highlight: Annotated[
        tuple[Annotated[str, Field(pattern=POINTER_PATTERN, max_length=256)], ...],
        Field(max_length=MAX_HIGHLIGHT, exclude_if=lambda value: not value),
    ] = ()
    # In place of `parameters`: the schema is kept beside the package, among its `sidecars`.
    schema_digest: Annotated[
        str | None, Field(pattern=SCHEMA_DIGEST_PATTERN, exclude_if=lambda value: value is None)
    ] = None
    # What the model is shown in place of the schema that checks the arguments.
    model_view: Annotated[dict[str, JsonValue] | None, Field(exclude_if=lambda value: value is None)] = None

    @cached_property
    def arguments_digest(self) -> str:
        """The digest of the schema that checks the arguments: what hosts of the tool say they have."""
        return self.schema_digest or schema_digest(self.parameters)

    @model_validator(mode="before")
    @classmethod
    def _idempotent_when_reading(cls, value: object) -> object:
        if isinstance(value, dict) and value.get("idempotent") is None:
            return {**value, "idempotent": value.get("effect") in ("read", EffectClass.READ)}
        return value

    @field_validator("summary")
    @classmethod
    def _is_short(cls, value: str) -> str:
        if len(value.encode("utf-8", "surrogatepass")) > MAX_CONDITION_BYTES:
            raise ValueError(f"at most {MAX_CONDITION_BYTES} bytes")
        return value

    @field_validator("reconcile_for")
    @classmethod
    def _not_for_ever(cls, value: str) -> str:
        if span_us(value) > span_us(LONGEST_RECONCILE_FOR):
            raise ValueError(f"at most {LONGEST_RECONCILE_FOR}")
        return value

    @model_validator(mode="after")
    def _reconciles_what_is_not_repeated(self) -> ToolSpec:
        if self.reconcilable and self.idempotent:
            raise ValueError("reconcilable only where idempotent is false: what may be repeated is sent again")
        if self.reconcile_for != DEFAULT_RECONCILE_FOR and not self.reconcilable:
            raise ValueError("reconcile_for only beside `reconcilable: true`")
        return self


_NAMED = {ref: (PolicySpec.model_validate({"builtin": ref.value.partition(":")[2]}),) for ref in PolicyRef}


class RuntimePackage(_Frozen):
    """An immutable definition of an agent's behaviour.

    Tools are kept by ascending name: their order has no meaning and must not
    change the fingerprint.
    """

    format: PackageFormat
    id: Id
    agent: AgentSpec
    provider: ProviderRoute
    # In the order in which they are taken; left out of the canonical form when there are none, as `context` is when
    # it is the default.
    fallbacks: Annotated[tuple[ProviderRoute, ...], Field(max_length=8, exclude_if=lambda value: not value)] = ()
    policy: PolicyRef = PolicyRef.READ_ONLY
    policies: Annotated[tuple[PolicySpec, ...], Field(max_length=MAX_POLICIES, exclude_if=lambda value: not value)] = ()
    approvals: Annotated[
        dict[Id, ApprovalSpec], Field(max_length=MAX_APPROVALS, exclude_if=lambda value: not value)
    ] = {}
    budget: BudgetSpec = BudgetSpec()
    tools: Annotated[tuple[ToolSpec, ...], Field(max_length=MAX_TOOLS)] = ()
    context: Annotated[ContextPolicy, Field(exclude_if=lambda value: value == ContextPolicy())] = ContextPolicy()
    # The schemas that tools name by `schema_digest`: beside the package, so in no canonical form. The digests are.
    sidecars: Annotated[
        dict[Annotated[str, Field(pattern=SCHEMA_DIGEST_PATTERN)], dict[str, JsonValue]],
        Field(max_length=MAX_TOOLS, exclude=True),
    ] = {}

    @field_validator("tools")
    @classmethod
    def _sorted_and_unique(cls, tools: tuple[ToolSpec, ...]) -> tuple[ToolSpec, ...]:
        seen: set[str] = set()
        for tool in tools:
            if tool.name in seen:
                raise PydanticCustomError("repeated_tool", "each tool has a name of its own")
            seen.add(tool.name)
        return tuple(sorted(tools, key=lambda tool: tool.name))

    @model_validator(mode="after")
    def _policies_are_in_one_place(self) -> RuntimePackage:
        if self.policies and self.policy is not PolicyRef.READ_ONLY:
            raise ValueError("either `policy` or `policies`; write `- builtin: allow-declared` into policies")
        if too_many_rules(self.policies):
            raise ValueError(f"policies with at most {MAX_RULES} rules together")
        return self

    @model_validator(mode="after")
    def _approvals_are_there(self) -> RuntimePackage:
        named = (rule.approval for policy in self.policies for rule in policy.rules if rule.approval)
        if missing := next((name for name in named if name not in self.approvals), ""):
            known = ", ".join(self.approvals) or "there are none"
            raise PydanticCustomError(
                "unknown_approval",
                "rules that ask for one of `approvals` ({known}), not for {missing}",
                {"known": known, "missing": missing},
            )
        return self

    @model_validator(mode="after")
    def _routes_differ(self) -> RuntimePackage:
        for index, route in enumerate(self.routes):
            if route in self.routes[:index]:
                raise PydanticCustomError("repeated_route", "each fallback is another route")
        return self

    @model_validator(mode="after")
    def _has_a_canonical_form(self) -> RuntimePackage:
        if not has_canonical_form(self.model_dump(mode="json")):
            raise PydanticCustomError("inexact", "numbers that JSON can hold exactly, and Unicode texts")
        return self

    @model_validator(mode="after")
    def _sidecars_are_those_that_tools_name(self) -> RuntimePackage:
        named = {tool.schema_digest for tool in self.tools if tool.schema_digest is not None}
        if any(tool.schema_digest and tool.parameters != NO_ARGUMENTS for tool in self.tools):
            raise PydanticCustomError("sidecar", "either `parameters` or `schema_digest` of a tool")
        if named != self.sidecars.keys():
            raise PydanticCustomError("sidecar", "the schema of each `schema_digest` among `sidecars`, and no other")
        if any(not is_sidecar(digest, schema) for digest, schema in self.sidecars.items()):
            raise PydanticCustomError("sidecar", "each sidecar under the digest of what it is")
        return self

    def arguments_schema(self, tool: ToolSpec) -> dict[str, JsonValue]:
        """The schema that checks the arguments of one of its tools, from wherever it is kept."""
        return tool.parameters if tool.schema_digest is None else self.sidecars[tool.schema_digest]

    def model_schema(self, tool: ToolSpec) -> dict[str, JsonValue]:
        """The schema that the model is shown of one of its tools."""
        return self.arguments_schema(tool) if tool.model_view is None else tool.model_view

    def stored(self) -> bytes:
        """What is kept of the package: its canonical form, with its sidecars where it has any. It reads back whole."""
        canonical = self.canonical()
        if not self.sidecars:
            return canonical
        whole: dict[str, JsonValue] = json.loads(canonical)
        whole["sidecars"] = dict(self.sidecars)
        return canonical_json(whole)

    def canonical(self) -> bytes:
        """The package in RFC 8785 form: what is stored and fingerprinted.

        Of the draft of v1, what is as it is by default is left out, everywhere. Of v0 defaults are spelled out, but
        for fields that came later. Either way a package that does not use a new field keeps its fingerprint.
        """
        if self.format == PACKAGE_TAG:
            return canonical_json(self.model_dump(mode="json"))
        form = self.model_dump(mode="json", exclude_defaults=True)
        for tool in form.get("tools", ()):
            if tool["idempotent"] == (tool["effect"] == EffectClass.READ.value):
                del tool["idempotent"]
        return canonical_json(form)

    def fingerprint(self) -> str:
        """`sha256:<format>:<hex>` over the canonical form."""
        return fingerprint(self.canonical(), self.format)

    @property
    def effective_policies(self) -> tuple[PolicySpec, ...]:
        """What decides: `policies`, or the one that `policy` names."""
        return self.policies or _NAMED[self.policy]

    @property
    def builtin_policies(self) -> tuple[PolicyRef, ...]:
        """The built-in ones of them, in their order."""
        return tuple(policy.ref for policy in self.effective_policies if policy.ref is not None)

    def chain(self, stage: PolicyStage, operator: OperatorRules = NO_OPERATOR) -> PolicyChain:
        """What is heard at a stage: made once for each rules of the operator, which differ by namespace and in time."""
        key = (stage, operator.digest)
        known = self._chains.get(key)
        if known is None or known.operator is not operator:
            if len(self._chains) >= _MAX_CHAINS:
                self._chains.clear()
            known = self._chains[key] = PolicyChain(stage, self.effective_policies, operator)
        return known

    @cached_property
    def _chains(self) -> dict[tuple[PolicyStage, str], PolicyChain]:
        return {}

    @property
    def routes(self) -> tuple[ProviderRoute, ...]:
        """Every way to a model: `provider`, then the fallbacks in their order."""
        return (self.provider, *self.fallbacks)

    def tool(self, name: str) -> ToolSpec | None:
        """The tool of that name, if the package has it."""
        return next((tool for tool in self.tools if tool.name == name), None)
