"""The schema checker refuses what is dangerous or wrong, and says where without saying what."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from runwright.adapters.json_schema import MAX_INSTANCE_BYTES, MAX_SCHEMA_BYTES, JsonSchemaChecker
from runwright.adapters.schema_bounds import MAX_BRANCHES, MAX_DEPTH, MAX_LIST
from runwright.ports.schemas import Instance

CHECKER = JsonSchemaChecker()
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z]+$"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["name"],
    "additionalProperties": False,
}


def schema(**properties: Any) -> dict[str, Any]:
    """A schema of an object with these properties."""
    return {"type": "object", "properties": properties}


def nested(levels: int) -> dict[str, Any]:
    """A schema as deep as asked for, the top level included."""
    inner: dict[str, Any] = {}
    for _ in range(levels - 2):
        inner = {"not": inner}
    return {"type": "object", "not": inner}


def problem_of(schema: dict[str, Any], instance: dict[str, Any]) -> str | None:
    """What is wrong with an instance."""
    value = Instance(schema, instance, json.dumps(instance).encode())
    [problem] = asyncio.run(CHECKER.problems([value]))
    return problem


SOUND: dict[str, dict[str, Any]] = {
    "an empty object": {"type": "object"},
    "the usual": PERSON,
    "a local reference": {"$defs": {"a": {"type": "string"}}, **schema(x={"$ref": "#/$defs/a"})},
    "a recursive one": schema(child={"$ref": "#"}),
    "a reference that is escaped": {"$defs": {"a b/c": {}}, **schema(x={"$ref": "#/$defs/a%20b~1c"})},
    "a reference into a list": schema(x={"anyOf": [{}]}, y={"$ref": "#/properties/x/anyOf/0"}),
    "an anchor": {"$defs": {"a": {"$anchor": "here"}}, **schema(x={"$ref": "#here"})},
    "a dynamic anchor": {"$defs": {"a": {"$dynamicAnchor": "here"}}, **schema(x={"$dynamicRef": "#here"})},
    "a name of its own": {"$id": "urn:own", "$defs": {"a": {}}, **schema(x={"$ref": "urn:own#/$defs/a"})},
    "data that looks like a reference": schema(x={"const": {"$ref": "#/nowhere"}}),
    "properties named like keywords": schema(**{"$ref": {}, "$id": {}, "enum": {"$ref": "#"}, "pattern": {}}),
    "a nested repetition": schema(x={"type": "string", "pattern": "(a+)+$"}),
    "as deep as may be": nested(MAX_DEPTH),
    "as many branches as may be": schema(x={"anyOf": [{"const": number} for number in range(MAX_BRANCHES)]}),
    "as long a list as may be": schema(x={"enum": list(range(MAX_LIST))}),
}
UNSOUND: dict[str, dict[str, Any]] = {
    "no type": {},
    "another type": {"type": "array"},
    "any type": {"type": ["object", "null"]},
    "a type nobody knows": schema(x={"type": "strin"}),
    "a rule of the wrong kind": schema(x={"minLength": "3"}),
    "a reference to a server": schema(x={"$ref": "http://127.0.0.1:1/x.json"}),
    "a reference to a file": schema(x={"$ref": "file:///etc/passwd"}),
    "a reference to nothing": schema(x={"$ref": "#/$defs/nothing"}),
    "a reference to no anchor": schema(x={"$ref": "#here"}),
    "a dynamic reference to no anchor": schema(x={"$dynamicRef": "#here"}),
    "an id below the top": {"$defs": {"a": {"$id": "urn:a"}}, **schema(x={"$ref": "urn:a"})},
    "a base elsewhere": {"$id": "http://127.0.0.1:1/", **schema(x={"$ref": "other.json"})},
    "a back reference": schema(x={"pattern": r"(a)\1"}),
    "a look-ahead": schema(x={"pattern": "(?=a)b"}),
    "a pattern that is none": schema(x={"pattern": "("}),
    "too deep": nested(MAX_DEPTH + 1),
    "far too deep": nested(5_000),
    "too many branches": schema(x={"oneOf": [{"const": number} for number in range(MAX_BRANCHES + 1)]}),
    "too long a list": schema(x={"enum": list(range(MAX_LIST + 1))}),
    "too large": schema(x={"description": "x" * MAX_SCHEMA_BYTES}),
}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_schema_has_no_problem(name: str) -> None:
    assert CHECKER.schema_problem(SOUND[name]) is None


@pytest.mark.parametrize("name", UNSOUND)
def test_an_unsound_schema_is_refused_in_a_sentence(name: str) -> None:
    problem = CHECKER.schema_problem(UNSOUND[name])

    assert problem is not None and problem.endswith(".")


@pytest.mark.parametrize(
    ("instance", "where"),
    [
        ({"name": 4711}, "name"),
        ({"name": "SECRET"}, "name"),
        ({}, "the top level"),
        ({"name": "ann", "SECRET": 1}, "the top level"),
        ({"name": "ann", "tags": ["a", 4711]}, "tags/1"),
    ],
)
def test_a_bad_instance_is_told_where_and_not_what(instance: dict[str, Any], where: str) -> None:
    problem = problem_of(PERSON, instance)

    assert problem is not None and problem.startswith(f"at {where}: the rule ")
    assert "4711" not in problem and "SECRET" not in problem


def test_what_is_missing_is_named_and_what_is_too_much_is_not() -> None:
    wants = {"type": "object", "properties": {"to": {}}, "required": ["to"], "additionalProperties": False}

    assert problem_of(wants, {}) == "at the top level: the rule required does not hold: to is missing."
    assert "secret" not in (problem_of(wants, {"to": 1, "secret": 2}) or "secret")


def test_a_key_without_an_end_is_not_repeated() -> None:
    problem = problem_of({"type": "object", "additionalProperties": {"type": "string"}}, {"k" * 10_000: 1})

    assert problem is not None and problem.startswith("at kkk") and len(problem) < 200


def test_a_good_instance_has_no_problem() -> None:
    assert problem_of(PERSON, {"name": "ann", "tags": ["a"]}) is None


def test_a_large_instance_is_refused_before_it_is_looked_at() -> None:
    problem = problem_of({"type": "object"}, {"x": "x" * MAX_INSTANCE_BYTES})

    assert problem is not None and str(MAX_INSTANCE_BYTES) in problem


def test_a_pattern_that_would_take_for_ever_takes_no_time() -> None:
    hostile = schema(x={"type": "string", "pattern": "^(a+)+$"})

    problem = problem_of(hostile, {"x": "a" * 50_000 + "!"})

    assert problem is not None


@pytest.mark.parametrize("levels", [10, 100, 250, 300, 900])
def test_no_depth_of_an_instance_is_too_much(levels: int) -> None:
    instance: dict[str, Any] = {}
    for _ in range(levels):
        instance = {"child": instance}

    assert problem_of(schema(child={"$ref": "#"}), instance) is None


def test_formats_are_words_and_nothing_more() -> None:
    assert problem_of(schema(x={"format": "email"}), {"x": "no address"}) is None


def test_a_whole_float_is_an_integer() -> None:
    assert problem_of(schema(x={"type": "integer"}), {"x": 1.0}) is None


WAYS_TO_REFER = {
    "a pointer": lambda n: {"$ref": f"#/$defs/d{n}"},
    "a pointer with escapes": lambda n: {"$ref": f"#/%24defs/%64{n}"},
    "an anchor": lambda n: {"$ref": f"#a{n}"},
    "a dynamic reference": lambda n: {"$dynamicRef": f"#b{n}"},
    "the document's own name": lambda n: {"$ref": f"urn:own#/$defs/d{n}"},
}


@pytest.mark.parametrize("way", WAYS_TO_REFER)
def test_definitions_that_double_at_every_level_are_refused_at_once(way: str) -> None:
    refer = WAYS_TO_REFER[way]
    levels = {f"d{n}": {"$anchor": f"a{n}", "$dynamicAnchor": f"b{n}", "allOf": [refer(n + 1)] * 2} for n in range(60)}
    last = {"d60": {"$anchor": "a60", "$dynamicAnchor": "b60"}}
    schema = {"$id": "urn:own", "type": "object", "properties": {"a": refer(0)}, "$defs": {**levels, **last}}

    problem = CHECKER.schema_problem(schema)

    assert problem is not None
    assert "expand" in problem


def test_references_that_lead_on_and_on_are_refused() -> None:
    chain = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(1000)}
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": {**chain, "d1000": {}}}

    problem = CHECKER.schema_problem(schema)

    assert problem is not None
    assert "nested deeper" in problem


def test_a_schema_that_refers_to_itself_is_usable() -> None:
    schema = {"type": "object", "properties": {"child": {"$ref": "#"}, "next": {"$ref": "#/properties/child"}}}

    assert CHECKER.schema_problem(schema) is None
    assert problem_of(schema, {"child": {"child": {}}}) is None
