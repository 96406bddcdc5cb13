"""Packages: what moves a fingerprint, and what is said of files that somebody has got wrong."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from runwright.adapters.json_schema import JsonSchemaChecker
from runwright.adapters.package_documents import examine_document
from runwright.core.approval_rules import ApprovalSpec
from runwright.core.grant_rules import GrantsSpec
from runwright.core.package import FORMATS, RuntimePackage, ToolSpec
from runwright.core.package_findings import PackageFinding
from runwright.core.policy_rules import PolicyRule, PolicySpec
from runwright.core.schema_digests import schema_digest

SEED = 20_251
SIDECAR = {"type": "object", "properties": {"path": {"type": "string", "maxLength": 9}}, "required": ["path"]}
FULL: dict[str, Any] = {
    "format": "runwright-package-v0",
    "id": "desk",
    "agent": {"id": "clerk", "name": "Clerk", "instructions": "Be brief."},
    "provider": {"adapter": "demo", "model": "m-1", "parameters": {"t": 0.5, "stop": ["a", "b"]}, "max_attempts": 2},
    "fallbacks": [{"adapter": "demo", "model": "m-2", "parameters": {"t": 1}, "max_attempts": 4}],
    "policy": "builtin:allow-declared",
    "budget": {"rounds": 5, "tool_calls": 9, "parallel_calls": 2},
    "context": {"session_turns": 3, "session_bytes": 4096},
    "tools": [
        {
            "name": name,
            "description": "Does it.",
            "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "additionalProperties": False},
            "executor": "desk",
            "effect": "write",
            "idempotent": name == "look",
            "timeout_ms": 100,
            "unavailable_timeout_ms": 200,
            "max_attempts": 2,
            "risk": "high",
            "untrusted": True,
            "grantable": False,
            "reversible": True,
            "highlight": ["/path", "/deep/0"],
            "summary": '"About " + tool.name',
            **({"reconcilable": True, "reconcile_for": "90s"} if name == "write" else {}),
        }
        for name in ("look", "write")
    ]
    + [
        {
            "name": "seal",
            "executor": "desk",
            "effect": "write",
            "schema_digest": schema_digest(SIDECAR),
            "model_view": {"type": "object", "description": "Less."},
        }
    ],
    "sidecars": {schema_digest(SIDECAR): SIDECAR},
}
RULE = {"stage": "run_start", "when": "run.session_id == 'a'", "then": "deny", "code": "too.bold", "message": "No."}
ASKING = {"stage": "pre_tool", "then": "ask", "approval": "writes"}
APPROVERS = [{"roles": ["approver"], "principals": ["ann"], "for": "1h"}, {"principals": ["bob"]}]
GRANTS = {"scopes": ["run"], "matchers": ["any"], "max_uses": 3, "max_time": "3h", "tainted": True}
ESCALATION = {"roles": ["approver"], "principals": ["ann"], "for": "1h", "then": "abort_run"}
APPROVAL = {
    **{"sets": APPROVERS, "expires": "8h", "on_expiry": "escalate", "four_eyes": True},
    **{"delegates": ["dan", "eve"], "escalate": ESCALATION, "grants": GRANTS},
    "dispatchers": ["chat", "tickets"],
}
REMOTE = {
    **{"remote": "compliance", "stages": ["input", "pre_tool"], "cache": True},
    **{"timeout_ms": 20, "max_attempts": 2, "unavailable_timeout_ms": 30},
}
# `policy` and `policies` exclude each other: no package sets both.
WITH_RULES: dict[str, Any] = {
    **{name: value for name, value in FULL.items() if name != "policy"},
    "policies": [
        {"rules": [RULE, {**RULE, "then": "interrupt"}], "mode": "shadow"},
        {"builtin": "allow-declared"},
        REMOTE,
        {"rules": [ASKING]},
    ],
    "approvals": {"writes": APPROVAL, "sends": {**APPROVAL, "expires": "30h"}},
}
OTHER: dict[str, Any] = {
    "runwright-package-v0": "runwright-package-v1-draft",
    "builtin:allow-declared": "builtin:read-only",
    "write": "process",
    "object": None,  # what must be so is no leaf that can be changed
    "ask": None,  # beside an approval
    "writes": "sends",
    "approver": "admin",
    "1h": "90m",
    "8h": "9h",
    "30h": "2d",
    "3h": "4h",
    "run": "session",
    "any": "constraints",
    "abort_run": "deny",
    "escalate": None,  # beside how it does
    "high": "low",
    "run_start": "output",
    "input": "run_start",
    "pre_tool": "output",
    "deny": "ask",
    "interrupt": "allow",
    "shadow": "enforce",
    "90s": "91s",
    "allow-declared": "read-only",
}


# What cannot stand beside the other value of a field.
WITHOUT = {"stage": ("approval",), "idempotent": ("reconcilable", "reconcile_for"), "reconcilable": ("reconcile_for",)}


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The paths of everything that holds nothing further."""
    if isinstance(value, dict | list) and value:
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, key))
    else:
        yield path


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    """What stands there."""
    for step in path:
        value = value[step]
    return value


def changed(value: Any, path: tuple[str | int, ...], other: Any) -> dict[str, Any]:
    """A copy with something else there."""
    copy = json.loads(json.dumps(value))
    at(copy, path[:-1])[path[-1]] = other
    return copy  # type: ignore[no-any-return]


def other_than(value: Any) -> Any:
    """A value that may stand in its place."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value + 0.25
        case str():
            return OTHER.get(value, f"{value}x")
        case _:
            raise AssertionError(value)


def test_the_packages_above_set_every_field() -> None:
    for model, written in (
        (RuntimePackage, [FULL, WITH_RULES]),
        (ToolSpec, FULL["tools"]),
        (PolicySpec, WITH_RULES["policies"]),
        (PolicyRule, [RULE, ASKING]),
        (ApprovalSpec, [APPROVAL]),
        (GrantsSpec, [GRANTS]),
    ):
        assert set(model.model_fields) == {name for each in written for name in each}, model


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("of", [FULL, WITH_RULES], ids=["policy", "policies"])
def test_every_leaf_of_a_package_changes_its_fingerprint(of: dict[str, Any], format_: str) -> None:
    full = {**of, "format": format_}
    before = RuntimePackage.model_validate(full).fingerprint()
    seen = {before}
    beside = [path for path in leaves(full) if "sidecars" in path or "schema_digest" in path]
    left = [("format",), *beside]
    paths = [path for path in leaves(full) if OTHER.get(at(full, path), "") is not None and path not in left]

    for path in paths:
        other = other_than(at(full, path)) if path[-1] != "name" or path[0] == "agent" else f"{at(full, path)}_x"
        altered = changed(full, path, other)
        for name in WITHOUT.get(str(path[-1]), ()):
            at(altered, path[:-1]).pop(name, None)
        seen.add(RuntimePackage.model_validate(altered).fingerprint())

    assert len(seen) == len(paths) + 1
    assert len({RuntimePackage.model_validate({**full, "format": one}).fingerprint() for one in FORMATS}) == len(
        FORMATS
    )


@pytest.mark.parametrize("format_", FORMATS)
def test_every_leaf_of_a_schema_beside_a_package_changes_its_fingerprint(format_: str) -> None:
    seen = {RuntimePackage.model_validate({**FULL, "format": format_}).fingerprint()}
    paths = [path for path in leaves(SIDECAR) if at(SIDECAR, path) != "object"]

    for path in paths:
        schema = changed(SIDECAR, path, other_than(at(SIDECAR, path)))
        tools = [*FULL["tools"][:2], {**FULL["tools"][2], "schema_digest": schema_digest(schema)}]
        package = {**FULL, "format": format_, "tools": tools, "sidecars": {schema_digest(schema): schema}}
        seen.add(RuntimePackage.model_validate(package).fingerprint())
        with pytest.raises(ValidationError, match="the digest of what it is"):
            RuntimePackage.model_validate({**FULL, "sidecars": {schema_digest(SIDECAR): schema}})

    assert len(seen) == len(paths) + 1


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("of", [FULL, WITH_RULES], ids=["policy", "policies"])
def test_order_without_meaning_and_defaults_spelled_out_do_not(of: dict[str, Any], format_: str) -> None:
    full = {**of, "format": format_}
    before = RuntimePackage.model_validate(full).fingerprint()
    chance = random.Random(SEED)

    for _ in range(50):
        shuffled = _shuffled(full, chance)
        shuffled["tools"] = chance.sample(shuffled["tools"], len(shuffled["tools"]))
        assert RuntimePackage.model_validate(shuffled).fingerprint() == before
    spelled = RuntimePackage.model_validate(
        json.loads(RuntimePackage.model_validate(full).model_dump_json()) | {"sidecars": full["sidecars"]}
    )
    assert spelled.fingerprint() == before


def _shuffled(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict):
        return {key: _shuffled(value[key], chance) for key in chance.sample(list(value), len(value))}
    return [_shuffled(inner, chance) for inner in value] if isinstance(value, list) else value


# What people get wrong, each a change of a valid package at a place where the fault must be told.
Fault = Callable[[dict[str, Any], random.Random], str]


def _dicts(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The parts of a package whose keys are known, and so not what is within parameters."""
    if path and path[-1] in ("parameters", "model_view", "sidecars"):
        return
    if isinstance(value, dict):
        yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _dicts(inner, (*path, key))


def _dotted(path: tuple[str | int, ...]) -> str:
    return ".".join(map(str, path)) or "document"


def misspelled(package: dict[str, Any], chance: random.Random) -> str:
    """A key with a letter too many."""
    where = chance.choice([path for path in _dicts(package) if at(package, path)])
    name = chance.choice(sorted(at(package, where))) + "q"
    at(package, where)[name] = 1
    return _dotted((*where, name))


def wrong_kind(package: dict[str, Any], chance: random.Random) -> str:
    """A list where something else than a list belongs."""
    where = ("tools.0", "tools.1", "budget", "context", "provider")[chance.randrange(5)]
    path = tuple(int(step) if step.isdigit() else step for step in where.split("."))
    key = chance.choice(sorted(set(at(package, path)) - {"parameters", "highlight"}))
    at(package, path)[key] = [["x"]]
    return _dotted((*path, key))


def out_of_bounds(package: dict[str, Any], chance: random.Random) -> str:
    """A number that no limit allows."""
    path = chance.choice([("budget", "rounds"), ("context", "session_turns"), ("tools", 1, "timeout_ms")])
    at(package, path[:-1])[path[-1]] = chance.choice([-1, 10**9, 2.5, "many", True, 2**60])
    return _dotted(path)


def left_out(package: dict[str, Any], chance: random.Random) -> str:
    """A field that must be there."""
    path = chance.choice([("id",), ("agent", "id"), ("provider", "model"), ("tools", 0, "executor"), ("format",)])
    at(package, path[:-1]).pop(path[-1], None)
    return _dotted(path)


def inexact(package: dict[str, Any], chance: random.Random) -> str:
    """A number that JSON does not hold."""
    package["provider"]["parameters"]["seed"] = chance.choice([2**53 + 1, float("nan"), float("inf"), 1e20])
    return "provider.parameters.seed"


def not_a_schema(package: dict[str, Any], chance: random.Random) -> str:
    """A schema of a tool that is none."""
    package["tools"][1]["parameters"] = {"type": chance.choice(["objekt", "string"])}
    return "tools.1.parameters"


def no_condition(package: dict[str, Any], chance: random.Random) -> str:
    """A rule whose condition nobody can find out."""
    package["policies"][0]["rules"][1]["when"] = chance.choice(["args.path ==", "no_such_thing > 1", "tool.name // x"])
    return "policies.0.rules.1.when"


def of_a_later_version(package: dict[str, Any], chance: random.Random) -> str:
    """A field that nothing serves yet."""
    package["outputs"] = {}
    return "outputs"


def another_sidecar(package: dict[str, Any], chance: random.Random) -> str:
    """A schema beside the package that was changed there, or went missing."""
    digest = package["tools"][2]["schema_digest"]
    if chance.randrange(2):
        package["sidecars"] = {}
        return "tools.2.schema_digest"
    package["sidecars"] = {digest: {**SIDECAR, "title": "Other"}}
    return f"sidecars.{digest}"


FAULTS: tuple[Fault, ...] = (
    another_sidecar,
    misspelled,
    wrong_kind,
    out_of_bounds,
    left_out,
    inexact,
    not_a_schema,
    no_condition,
    of_a_later_version,
)
# Words of pydantic, PyYAML and Python that a person who writes a package must not meet.
PYTHON = re.compile(
    r"Input should|Traceback|pydantic|Value error|NoneType|<class|Error\(|object at 0x|dict\b|tuple|Extra inputs|"
    r"Field required|valid (integer|string|boolean|dictionary|list|tuple)|\bNone\b|\bTrue\b|\bFalse\b"
)


def told(text: str) -> list[PackageFinding]:
    """Everything that is said of a text."""
    return list(examine_document(text, CHECKER).findings)


CHECKER = JsonSchemaChecker()


@pytest.mark.parametrize("batch", range(3))
def test_all_faults_of_a_file_come_at_once_with_their_paths_in_our_words(batch: int) -> None:
    chance = random.Random(SEED + batch)
    for number in range(100):
        package = json.loads(json.dumps(WITH_RULES))
        faults = chance.sample(FAULTS, chance.randint(1, 4))
        expected = {fault(package, chance) for fault in faults}
        text = yaml.safe_dump(package, sort_keys=False) if number % 2 else json.dumps(package)

        found = told(_as_json(text))

        where = {finding.path for finding in found}
        # A part that another fault has replaced or taken away has no faults of its own.
        missed = {path for path in expected if path not in where and not any(path.startswith(f"{w}.") for w in where)}
        assert missed == set(), (batch, number, sorted(where))
        for finding in found:
            assert finding.path
            assert finding.line > 0
            assert finding.expected
            assert finding.remedy
            assert not PYTHON.search(f"{finding.expected} {finding.remedy}"), finding


def _as_json(text: str) -> str:
    """YAML's words for what JSON does not have, in a text that Python's json wrote."""
    return text.replace("NaN", ".nan").replace("Infinity", ".inf")


@pytest.mark.parametrize("batch", range(2))
def test_a_text_with_letters_changed_anywhere_is_told_in_our_words(batch: int) -> None:
    chance = random.Random(SEED - batch)
    whole = yaml.safe_dump(chance.choice([FULL, WITH_RULES]), sort_keys=False)
    for _ in range(60):
        text = list(whole)
        for _ in range(chance.randint(1, 6)):
            at_ = chance.randrange(len(text))
            text[at_] = chance.choice([":", "-", "[", "}", "'", "\n", "\t", "&", "*", "!", "x", "0", ""])
        for finding in told("".join(text)):
            assert finding.path
            assert not PYTHON.search(f"{finding.expected} {finding.remedy}"), finding


VECTORS = json.loads((Path(__file__).parents[1] / "conformance/package_vectors.json").read_text())


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_vectors_of_the_clients_hold(vector: dict[str, str]) -> None:
    package = RuntimePackage.model_validate(json.loads(vector["document"]))

    assert package.canonical().decode() == vector["canonical"]
    assert package.fingerprint() == vector["fingerprint"]
    assert RuntimePackage.model_validate_json(package.stored()) == package


def test_where_an_executor_is_and_what_it_does_is_in_no_fingerprint() -> None:
    named = {name for vector in VECTORS for name in re.findall(r'"(\w+)":', vector["canonical"])}

    assert not named & {"address", "endpoint", "url", "key", "credential", "executors"}


def test_the_vectors_set_every_field_of_both_formats() -> None:
    for format_ in FORMATS:
        written = [document for vector in VECTORS if (document := json.loads(vector["document"]))["format"] == format_]
        for model, values in (
            (RuntimePackage, written),
            (ToolSpec, [tool for document in written for tool in document.get("tools", ())]),
            (PolicySpec, [policy for document in written for policy in document.get("policies", ())]),
        ):
            named = {name for value in values for name in value}
            assert set(model.model_fields) == named, (format_, model)
