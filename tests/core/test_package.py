"""Packages: what is valid, what has no meaning, and what the fingerprint is made of."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from pydantic import ValidationError
from runwright.core.package import BudgetSpec, RuntimePackage, ToolSpec
from runwright.core.package_fields import INSTEAD, LATER_CHOICES, LATER_FIELDS
from runwright.core.policy import PolicyRef, Verdict, decided_for_call
from runwright.core.policy_rules import STAGES, VERDICTS, PolicySpec

from tests.core import builders as b

# The canonical form of a small package, written by hand: keys sorted, defaults spelled out, no spaces.
SMALL_CANONICAL = (
    b'{"agent":{"id":"helper","instructions":"Be brief.","name":""},'
    b'"budget":{"parallel_calls":8,"rounds":3,"tool_calls":64},'
    b'"format":"runwright-package-v0",'
    b'"id":"small",'
    b'"policy":"builtin:read-only",'
    b'"provider":{"adapter":"demo","model":"m-1","parameters":{"a":"\xc3\xa9","temperature":0.5}},'
    b'"tools":[{"description":"","effect":"read","executor":"tools","idempotent":true,"max_attempts":3,'
    b'"name":"lookup","parameters":{"additionalProperties":false,"type":"object"},"timeout_ms":30000,'
    b'"unavailable_timeout_ms":600000}]}'
)
SMALL_FINGERPRINT = "sha256:runwright-package-v0:3b839976de4969660599e2583a246cb53082426cc7c03438e1ca6de448c6462d"


def small(**fields: Any) -> RuntimePackage:
    """The package whose canonical form is written above."""
    return RuntimePackage.model_validate(
        {
            "format": "runwright-package-v0",
            "id": "small",
            "agent": {"id": "helper", "instructions": "Be brief."},
            "provider": {"adapter": "demo", "model": "m-1", "parameters": {"temperature": 0.5, "a": "é"}},
            "budget": {"rounds": 3},
            "tools": [{"name": "lookup", "executor": "tools", "effect": "read"}],
            **fields,
        }
    )


def invalid(fields: dict[str, Any]) -> list[str]:
    """Paths of what is wrong with a package."""
    with pytest.raises(ValidationError) as refused:
        RuntimePackage.model_validate(fields)
    return [".".join(str(part) for part in error["loc"]) for error in refused.value.errors()]


def test_the_canonical_form_is_what_the_rules_say() -> None:
    canonical = small().canonical()

    assert canonical == SMALL_CANONICAL


def test_the_fingerprint_is_the_digest_of_tag_zero_byte_and_canonical_form() -> None:
    expected = hashlib.sha256(b"runwright-package-v0\0" + SMALL_CANONICAL).hexdigest()

    printed = small().fingerprint()

    assert printed == f"sha256:runwright-package-v0:{expected}"
    assert printed == SMALL_FINGERPRINT


SPARE = {"adapter": "spare", "model": "m-2"}


def test_fallbacks_are_in_the_canonical_form_when_there_are_any() -> None:
    canonical = small(fallbacks=[SPARE, {**SPARE, "max_attempts": 1}]).canonical()

    spelled = (
        b'"fallbacks":[{"adapter":"spare","model":"m-2","parameters":{}},'
        b'{"adapter":"spare","max_attempts":1,"model":"m-2","parameters":{}}],"format"'
    )
    assert canonical == SMALL_CANONICAL.replace(b'"format"', spelled)
    assert RuntimePackage.model_validate_json(canonical).canonical() == canonical


def test_the_order_of_fallbacks_makes_a_difference() -> None:
    first, second = SPARE, {**SPARE, "model": "m-3"}

    assert small(fallbacks=[first, second]).fingerprint() != small(fallbacks=[second, first]).fingerprint()


def test_what_is_said_as_it_would_be_anyway_keeps_the_fingerprint() -> None:
    provider = {"adapter": "demo", "model": "m-1", "parameters": {"temperature": 0.5, "a": "é"}, "max_attempts": 3}

    assert small(fallbacks=[], provider=provider).fingerprint() == SMALL_FINGERPRINT


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"fallbacks": [{"adapter": "spare"}]}, "fallbacks.0.model"),
        ({"fallbacks": [{**SPARE, "fallbacks": []}]}, "fallbacks.0.fallbacks"),
        ({"fallbacks": [{**SPARE, "max_attempts": 0}]}, "fallbacks.0.max_attempts"),
        ({"fallbacks": [{**SPARE, "max_attempts": 11}]}, "fallbacks.0.max_attempts"),
        ({"fallbacks": [{**SPARE, "max_attempts": True}]}, "fallbacks.0.max_attempts"),
        ({"fallbacks": [{**SPARE, "model": f"m-{n}"} for n in range(9)]}, "fallbacks"),
        ({"fallbacks": [SPARE, SPARE]}, ""),
        ({"fallbacks": [{"adapter": "scripted", "model": "model-1"}]}, ""),
    ],
)
def test_a_fallback_follows_the_rules_of_a_route_and_differs_from_those_before(
    fields: dict[str, Any], path: str
) -> None:
    assert invalid(b.package_fields(**fields)) == [path]


def test_the_order_of_tools_makes_no_difference() -> None:
    tools = [b.tool("a"), b.tool("b"), b.tool("c", effect="write")]

    first, second = b.package(*tools), b.package(*reversed(tools))

    assert first == second
    assert first.fingerprint() == second.fingerprint()
    assert [tool.name for tool in second.tools] == ["a", "b", "c"]


def test_spelling_out_a_default_makes_no_difference() -> None:
    spelled = small(
        policy="builtin:read-only", tools=[b.tool("lookup", idempotent=True, timeout_ms=30_000, description="")]
    )

    assert spelled.fingerprint() == small().fingerprint()


@pytest.mark.parametrize(
    "context", [{}, {"session_turns": 20}, {"session_turns": 20, "session_bytes": 65_536}], ids=str
)
def test_a_context_policy_that_says_the_default_is_not_in_the_form(context: dict[str, int]) -> None:
    """Packages written before there was one keep their fingerprint, and what is stored reads back the same."""
    spelled = small(context=context)

    assert spelled.canonical() == SMALL_CANONICAL
    assert spelled.fingerprint() == SMALL_FINGERPRINT


def test_a_context_policy_that_differs_reads_back_as_it_was() -> None:
    policy = small(context={"session_turns": 0})

    assert b'"context":{"session_bytes":65536,"session_turns":0}' in policy.canonical()
    assert RuntimePackage.model_validate_json(policy.canonical()) == policy


@pytest.mark.parametrize(
    "context", [{"session_turns": 101}, {"session_turns": -1}, {"session_bytes": 1_048_577}, {"turns": 1}], ids=str
)
def test_a_context_policy_beyond_its_bounds_is_refused(context: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        small(context=context)


@pytest.mark.parametrize(
    "changed",
    [
        {"id": "other"},
        {"agent": {"id": "other", "instructions": "Be brief."}},
        {"agent": {"id": "helper", "instructions": "Be brief"}},
        {"agent": {"id": "helper", "instructions": "Be brief.", "name": "Helper"}},
        {"provider": {"adapter": "other", "model": "m-1", "parameters": {"temperature": 0.5, "a": "é"}}},
        {"provider": {"adapter": "demo", "model": "m-2", "parameters": {"temperature": 0.5, "a": "é"}}},
        {"provider": {"adapter": "demo", "model": "m-1", "parameters": {"temperature": 0.6, "a": "é"}}},
        {"provider": {"adapter": "demo", "model": "m-1"}},
        {"policy": "builtin:allow-declared"},
        {"budget": {"rounds": 4}},
        {"budget": {"rounds": 3, "tool_calls": 63}},
        {"budget": {"rounds": 3, "parallel_calls": 7}},
        {"tools": []},
        {"tools": [b.tool("look_up")]},
        {"tools": [b.tool(description="Looks up.")]},
        {"tools": [b.tool(parameters={})]},
        {"tools": [b.tool(executor="other")]},
        {"tools": [b.tool(effect="network", idempotent=True)]},
        {"tools": [b.tool(idempotent=False)]},
        {"tools": [b.tool(timeout_ms=30_001)]},
        {"tools": [b.tool(unavailable_timeout_ms=600_001)]},
        {"tools": [b.tool(max_attempts=4)]},
        {"tools": [b.tool(), b.tool("send")]},
        {"context": {"session_turns": 19}},
        {"context": {"session_bytes": 0}},
    ],
    ids=str,
)
def test_every_change_of_meaning_changes_the_fingerprint(changed: dict[str, Any]) -> None:
    edited = small(**changed)

    assert edited.fingerprint() != small().fingerprint()


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"colour": "blue"}, "colour"),
        ({"agent": {"id": "a", "colour": "blue"}}, "agent.colour"),
        ({"provider": {"adapter": "a", "model": "m", "api_key": "x"}}, "provider.api_key"),
        ({"budget": {"round": 3}}, "budget.round"),
        ({"tools": [b.tool(timeout=3)]}, "tools.0.timeout"),
    ],
)
def test_a_key_nobody_knows_is_refused_by_its_path(fields: dict[str, Any], path: str) -> None:
    found = invalid(b.package_fields(**fields) if "tools" not in fields else {**b.package_fields(), **fields})

    assert found == [path]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"format": "runwright-package-v9"}, "format"),
        ({"id": "a b"}, "id"),
        ({"id": "a\n"}, "id"),
        ({"id": ""}, "id"),
        ({"id": 123}, "id"),
        ({"agent": {"id": "-a"}}, "agent.id"),
        ({"agent": {"id": "a", "instructions": "x" * 65_537}}, "agent.instructions"),
        ({"provider": {"adapter": "a", "model": ""}}, "provider.model"),
        ({"policy": "builtin:allow-all"}, "policy"),
        ({"budget": {"rounds": 0}}, "budget.rounds"),
        ({"budget": {"rounds": 1001}}, "budget.rounds"),
        ({"budget": {"tool_calls": -1}}, "budget.tool_calls"),
        ({"budget": {"parallel_calls": 65}}, "budget.parallel_calls"),
        ({"tools": [b.tool("1st")]}, "tools.0.name"),
        ({"tools": [b.tool("look up")]}, "tools.0.name"),
        ({"tools": [b.tool("lookup\n")]}, "tools.0.name"),
        ({"tools": [b.tool("x" * 65)]}, "tools.0.name"),
        ({"tools": [b.tool(effect="delete")]}, "tools.0.effect"),
        ({"tools": [b.tool(), b.tool("send", timeout_ms=0)]}, "tools.1.timeout_ms"),
        ({"tools": [b.tool(max_attempts=0)]}, "tools.0.max_attempts"),
        ({"tools": [b.tool(), b.tool("b"), b.tool()]}, "tools"),
        ({"tools": [b.tool(f"tool_{index}") for index in range(129)]}, "tools"),
    ],
)
def test_a_broken_rule_is_refused_by_its_path(fields: dict[str, Any], path: str) -> None:
    found = invalid({**b.package_fields(), **fields})

    assert found == [path]


def test_all_findings_are_reported_at_once() -> None:
    fields = b.package_fields(b.tool("look up"), id="a b", colour="blue", budget={"rounds": 0})

    found = invalid(fields)

    assert sorted(found) == ["budget.rounds", "colour", "id", "tools.0.name"]


def test_a_tool_that_appears_twice_is_named() -> None:
    with pytest.raises(ValidationError, match="a name of its own"):
        b.package(b.tool(), b.tool("send"), b.tool())


@pytest.mark.parametrize(
    ("effect", "idempotent"), [("read", True), ("write", False), ("process", False), ("network", False)]
)
def test_only_reading_may_be_repeated_unless_the_package_says_so(effect: str, idempotent: bool) -> None:
    silent = b.package(b.tool(effect=effect)).tools[0]
    said = b.package(b.tool(effect=effect, idempotent=not idempotent)).tools[0]

    assert silent.idempotent is idempotent
    assert said.idempotent is not idempotent


@pytest.mark.parametrize("rounds", [7, 7.0, "7"])
def test_a_whole_number_is_the_same_however_a_file_spells_it(rounds: object) -> None:
    written = b.package(budget={"rounds": rounds})

    assert written.budget.rounds == 7
    assert written.fingerprint() == b.package(budget={"rounds": 7}).fingerprint()


@pytest.mark.parametrize("rounds", [7.5, "seven", None, [7]])
def test_what_is_not_a_whole_number_is_refused(rounds: object) -> None:
    found = invalid(b.package_fields(budget={"rounds": rounds}))

    assert found == ["budget.rounds"]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 2**60, 1e20])
def test_a_number_the_canonical_form_cannot_hold_is_refused_with_the_package(number: float) -> None:
    # 1e20 has a canonical form, but read back it is an integer that has none.
    fields = b.package_fields(provider={"adapter": "demo", "model": "m-1", "parameters": {"seed": number}})

    with pytest.raises(ValidationError):
        RuntimePackage.model_validate(fields)


def test_a_package_cannot_be_changed() -> None:
    pinned = small()

    with pytest.raises(ValidationError):
        pinned.id = "other"


def test_a_tool_is_found_by_its_exact_name() -> None:
    pinned = small()

    assert pinned.tool("lookup") == pinned.tools[0]
    assert pinned.tool("Lookup") is None


@pytest.mark.parametrize("name", ["lookup", "_x", "a" * 64, "Look-Up_2"])
def test_a_tool_may_have_this_name(name: str) -> None:
    assert ToolSpec.model_validate({"name": name, "executor": "x", "effect": "read"}).name == name


@pytest.mark.parametrize("name", ["", "1st", "look up", "a" * 65, "-a", "é", "a.b", "\nlookup", "lookup\n"])
def test_no_tool_may_have_this_name(name: str) -> None:
    with pytest.raises(ValidationError):
        ToolSpec.model_validate({"name": name, "executor": "x", "effect": "read"})


@pytest.mark.parametrize(
    ("policy", "effect", "verdict", "code"),
    [
        (PolicyRef.READ_ONLY, "read", Verdict.ALLOW, "effect.read"),
        (PolicyRef.READ_ONLY, "write", Verdict.DENY, "effect.above_read"),
        (PolicyRef.READ_ONLY, "process", Verdict.DENY, "effect.above_read"),
        (PolicyRef.READ_ONLY, "network", Verdict.DENY, "effect.above_read"),
        (PolicyRef.ALLOW_DECLARED, "read", Verdict.ALLOW, "tool.declared"),
        (PolicyRef.ALLOW_DECLARED, "write", Verdict.ALLOW, "tool.declared"),
        (PolicyRef.ALLOW_DECLARED, "process", Verdict.ALLOW, "tool.declared"),
        (PolicyRef.ALLOW_DECLARED, "network", Verdict.ALLOW, "tool.declared"),
    ],
)
def test_a_policy_decides_by_effect(policy: PolicyRef, effect: str, verdict: Verdict, code: str) -> None:
    # An idempotent tool is still denied by what it does, not by whether it may be repeated.
    tool = b.package(b.tool(effect=effect, idempotent=True)).tools[0]

    decision = decided_for_call(None, [policy], tool.effect.value)

    assert (decision.verdict, decision.code) == (verdict, code)


def test_no_policy_named_means_reading_only() -> None:
    fields = b.package_fields()
    del fields["policy"]

    pinned = RuntimePackage.model_validate(fields)

    assert pinned.policy is PolicyRef.READ_ONLY


V1_CANONICAL = (
    b'{"agent":{"id":"helper","instructions":"Be brief."},'
    b'"budget":{"rounds":3},'
    b'"format":"runwright-package-v1-draft",'
    b'"id":"small",'
    b'"provider":{"adapter":"demo","model":"m-1","parameters":{"a":"\xc3\xa9","temperature":0.5}},'
    b'"tools":[{"effect":"read","executor":"tools","name":"lookup"}]}'
)


def test_the_draft_of_v1_leaves_out_whatever_is_as_it_is_by_default() -> None:
    package = small(format="runwright-package-v1-draft")

    assert package.canonical() == V1_CANONICAL
    assert package.fingerprint().startswith("sha256:runwright-package-v1-draft:")
    assert RuntimePackage.model_validate_json(V1_CANONICAL) == package


@pytest.mark.parametrize(
    ("effect", "idempotent", "is_written"),
    [("read", True, False), ("read", False, True), ("write", False, False), ("write", True, True)],
)
def test_of_a_tool_v1_says_whether_it_is_idempotent_where_its_effect_does_not(
    effect: str, idempotent: bool, is_written: bool
) -> None:
    tool = {"name": "lookup", "executor": "tools", "effect": effect, "idempotent": idempotent}
    package = small(format="runwright-package-v1-draft", tools=[tool])

    assert (b'"idempotent"' in package.canonical()) is is_written
    assert RuntimePackage.model_validate_json(package.canonical()) == package


def test_a_field_is_either_served_or_of_a_later_version() -> None:
    parts = {
        "": RuntimePackage,
        "budget": BudgetSpec,
        "tools": ToolSpec,
        "policies": PolicySpec,
    }

    assert parts.keys() == LATER_FIELDS.keys()
    assert not [name for part, model in parts.items() for name in LATER_FIELDS[part] if name in model.model_fields]


def test_what_to_do_instead_is_said_of_what_is_not_there_yet_and_of_nothing_else() -> None:
    later = {f"{part}.{name}" for part, names in LATER_FIELDS.items() for name in names}
    choices = {f"{field}.{value}" for field, values in LATER_CHOICES.items() for value in values}

    assert choices <= INSTEAD.keys() <= later | choices
    of_remote = LATER_CHOICES["policies.stages"]
    of_rules = {value for field, values in LATER_CHOICES.items() for value in values if field != "policies.stages"}
    assert not of_rules & {*STAGES, *VERDICTS}
    for stage in of_remote:
        with pytest.raises(ValidationError):
            PolicySpec.model_validate({"remote": "compliance", "stages": [stage]})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"effect": "read", "reconcilable": True}, "reconcilable only where idempotent is false"),
        ({"effect": "write", "idempotent": True, "reconcilable": True}, "reconcilable only where idempotent is false"),
        ({"effect": "write", "reconcile_for": "2h"}, "reconcile_for only beside"),
        ({"effect": "write", "reconcilable": True, "reconcile_for": "31d"}, "at most 30d"),
        ({"effect": "write", "reconcilable": True, "reconcile_for": "soon"}, "reconcile_for"),
        ({"effect": "write", "reconcilable": True, "reconcile_for": "0s"}, "reconcile_for"),
    ],
)
def test_a_tool_is_asked_about_only_where_that_can_mean_something(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        RuntimePackage.model_validate(b.package_fields(b.tool(**fields)))
