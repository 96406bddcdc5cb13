"""The operator's policies from a YAML or JSON file: by namespace, `*` for all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from runwright.adapters.cel_conditions import condition_problem
from runwright.adapters.package_rules import CHECK_REMEDY, Rule, explained
from runwright.adapters.yaml_documents import Document, DocumentError, read_document
from runwright.core.approval_dispatches import MAX_DISPATCHERS
from runwright.core.approval_rules import NAME
from runwright.core.content import digest
from runwright.core.errors import AgentError, invalid_request
from runwright.core.fingerprint import canonical_json
from runwright.core.ids import Namespace
from runwright.core.package import ID_PATTERN
from runwright.core.policy_chain import OperatorRules
from runwright.core.policy_rules import MAX_POLICIES, MAX_RULES, PolicySpec, too_many_rules
from runwright.files import UnreadableFileError, read_text
from runwright.ports.conditions import CONDITION_REMEDY, condition_problems

MAX_FILE_BYTES = 1024 * 1024
ALL = "*"
_CHECK = "Write it so, and check with `runwright config check --policies FILE`."
_EXAMPLE = "Begin with format: runwright-policies-v0 and namespaces, as docs/policy.md shows."


_Item = TypeVar("_Item")
_Own = TypeVar("_Own")


class OperatorPolicies(BaseModel):
    """The file. What stands under `*` is heard, or told, in every namespace, before the namespace's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["runwright-policies-v0"]
    namespaces: dict[str, Annotated[tuple[PolicySpec, ...], Field(max_length=MAX_POLICIES)]] = {}
    dispatchers: dict[str, tuple[Annotated[str, Field(pattern=NAME)], ...]] = {}

    @field_validator("namespaces", "dispatchers")
    @classmethod
    def _by_namespace(cls, found: dict[str, _Own]) -> dict[str, _Own]:
        for name in found:
            if name != ALL and not re.match(ID_PATTERN, name):
                raise ValueError(f"namespaces by name, letters, digits and . _ : @ -, or {ALL} for all; not {name!r}")
        return found

    @field_validator("dispatchers")
    @classmethod
    def _dispatchers_are_few_and_differ(cls, found: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name, own in found.items():
            if len(set(own)) < len(own):
                raise ValueError(f"each dispatcher of namespace {name} once")
            if len({*found.get(ALL, ()), *own}) > MAX_DISPATCHERS:
                raise ValueError(f"at most {MAX_DISPATCHERS} dispatchers for namespace {name}, those of {ALL} counted")
        return found

    @field_validator("namespaces")
    @classmethod
    def _few_enough(cls, found: dict[str, tuple[PolicySpec, ...]]) -> dict[str, tuple[PolicySpec, ...]]:
        for name, own in found.items():
            if too_many_rules((*(found.get(ALL, ()) if name != ALL else ()), *own)):
                raise ValueError(f"at most {MAX_RULES} rules for namespace {name}, those of {ALL} counted")
        return found

    @field_validator("namespaces")
    @classmethod
    def _ask_for_what_is_built_in(cls, found: dict[str, tuple[PolicySpec, ...]]) -> dict[str, tuple[PolicySpec, ...]]:
        rules = (rule for own in found.values() for policy in own for rule in policy.rules)
        if any(rule.approval is not None for rule in rules):
            raise ValueError("no `approval` here: packages have approvals, and an operator's rule asks role approver")
        return found

    @model_validator(mode="after")
    def _say_something(self) -> OperatorPolicies:
        if not self.model_fields_set & {"namespaces", "dispatchers"}:
            raise ValueError("namespaces, dispatchers, or both")
        return self

    def rules(self) -> dict[str, OperatorRules]:
        """The rules of each namespace that is named, and of `*`: of all others; with whom its approvals are told."""
        found = {}
        for name in dict.fromkeys((*self.namespaces, *self.dispatchers)):
            chain, told = _with_all(self.namespaces, name), _with_all(self.dispatchers, name)
            if chain or told:
                found[name] = OperatorRules(chain, _digest(chain) if chain else "", tuple(dict.fromkeys(told)))
        return found


def _with_all(by_namespace: Mapping[str, tuple[_Item, ...]], name: str) -> tuple[_Item, ...]:
    """What stands under `*`, then the namespace's own."""
    return by_namespace.get(ALL, ()) + (by_namespace.get(name, ()) if name != ALL else ())


def read_operator_policies(path: Path) -> Mapping[Namespace, OperatorRules]:
    """Reads and examines the file; it blocks. Raises INVALID_REQUEST naming the place of the first thing wrong."""
    try:
        document = read_document(read_text(path, MAX_FILE_BYTES))
    except UnreadableFileError as error:
        raise _unusable(path, "", Rule(f"a file that can be read; it {error.cause}", error.remedy)) from None
    except DocumentError as error:
        where = f"line {error.line}, column {error.column}" if error.line else ""
        raise _unusable(path, where, Rule(error.rule, "Mend it there.")) from None
    if document.value is None and not document.faults:
        raise _unusable(path, "", Rule("rules, and it is empty", _EXAMPLE))
    if document.faults:  # what is no JSON is left out of the value: a rule that was passed over would not be heard
        first_fault = min(document.faults, key=lambda fault: (fault.line, fault.column))
        where = _named(first_fault.path, first_fault.line, first_fault.column)
        raise _unusable(path, where, Rule(first_fault.rule, "Mend it there."))
    try:
        policies = OperatorPolicies.model_validate(document.value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _unusable(path, _place(document, first["loc"]), explained(first, OperatorPolicies)) from None
    for name, own in policies.namespaces.items():
        for where_inside, problem in condition_problems(own, condition_problem):
            place = _place(document, ("namespaces", name, *where_inside))
            raise _unusable(path, place, Rule(f"a condition that can be used: {problem}", CONDITION_REMEDY))
    return {Namespace(name): rules for name, rules in policies.rules().items()}


def _digest(chain: tuple[PolicySpec, ...]) -> str:
    return digest(canonical_json([policy.model_dump(mode="json") for policy in chain]))


def _place(document: Document, where: tuple[str | int, ...]) -> str:
    return _named(where, *document.place(where))


def _named(where: Sequence[str | int], line: int, column: int) -> str:
    inside = f"{'.'.join(map(str, where))}, " if where else ""
    return f"{inside}line {line}, column {column}"


def _unusable(path: Path, place: str, rule: Rule) -> AgentError:
    where = ", ".join(part for part in (str(path), place) if part)
    remedy = _CHECK if rule.remedy == CHECK_REMEDY else rule.remedy or _EXAMPLE
    return invalid_request("--policies", rule.expected, remedy, message=f"{where}: {rule.expected}.")
