"""Packages with anything anywhere: nothing is raised, every finding has a place and our words, none hides another."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from runwright.adapters.operator_policies import read_operator_policies
from runwright.core.errors import AgentError
from runwright.core.package_findings import PackageFinding

from tests.properties.test_packages import FULL, PYTHON, RULE, SEED, WITH_RULES, _as_json, at, told

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 2**31, 2**63, 2**53 + 1, 10**30, 1e20, 1e300, -0.0, float("nan"), float("-inf")),
    *("", " ", "x" * 5000, "\x00", "\ud800", "é", "\u202e", "yes", "1", "null", "~", "2020-01-01", "0x10", "1:30"),
    *([], {}, [None], {"": 1}, {"a.b": 1}, [[]], [{}], {"\ud800": 1}, {"é": [1, "a"]}, {"k" * 300: {}}, [["x"] * 50]),
)
KEYS = ("nmae", "é", "\ud800", "", "a b", "x" * 300, "<<", "when", "1", "null", "true", "risk", "approvals", "=")
LONGEST = 2_000  # characters of one finding


def mutated(package: dict[str, Any], chance: random.Random) -> None:
    """Puts something odd in place of any part, or beside it, or takes the part away."""
    paths = [path for path in _parts(package) if path]
    path = chance.choice(paths)
    parent, target, odd = at(package, path[:-1]), at(package, path), chance.choice(ODD)
    match chance.randrange(4):
        case 0 if isinstance(target, dict):
            target[chance.choice(KEYS)] = odd
        case 1 if isinstance(target, list):
            target.insert(0, odd)
        case 2 if isinstance(parent, dict):
            del parent[path[-1]]
        case _:
            parent[path[-1]] = odd


def _parts(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(one for key, part in inner for one in _parts(part, (*path, key)))]


def check(finding: PackageFinding) -> None:
    """A finding that can be shown to whoever wrote the package, whatever it was."""
    words = f"{finding.expected} {finding.remedy} {finding.path} {finding.meant}"
    assert finding.path and finding.expected and finding.remedy, finding
    assert finding.line > 0 and finding.column > 0, finding
    assert not PYTHON.search(f"{finding.expected} {finding.remedy}"), finding
    assert len(words) <= LONGEST, finding
    assert words.encode(), "it can be sent"


@pytest.mark.parametrize("batch", range(3))
def test_whatever_stands_anywhere_is_told_with_its_place_in_our_words(batch: int) -> None:
    chance = random.Random(SEED + 100 + batch)
    for _ in range(150):
        package = json.loads(json.dumps(chance.choice([FULL, WITH_RULES])))
        for _ in range(chance.randint(1, 4)):
            mutated(package, chance)
        for finding in told(_as_json(json.dumps(package))):
            check(finding)


WHOLE = yaml.safe_dump(FULL, sort_keys=False)
TEXTS: dict[str, tuple[str, list[str]]] = {
    "nothing": ("", ["document"]),
    "a comment": ("# a package", ["document"]),
    "null": ("null", ["document"]),
    "a list": ("[]", ["document"]),
    "a text": ("hello", ["document"]),
    "a mark of the byte order": ("\ufeff" + WHOLE, []),
    "lines of another system": (WHOLE.replace("\n", "\r\n"), []),
    "tabs": (WHOLE.replace("  ", "\t", 1), ["document"]),
    "an object of Python": (WHOLE.replace("id: desk", "id: !!python/object/apply:os.getcwd []"), ["id"]),
    "a name of Python": (WHOLE.replace("id: clerk", "id: !!python/name:os.system ''"), ["agent.id"]),
    "bytes": (WHOLE.replace("id: desk", "id: !!binary aGVsbG8="), ["id"]),
    "a tag of nobody": (WHOLE.replace("id: desk", "id: !mine desk"), ["id"]),
    "a tag that is so": (WHOLE.replace("id: desk", "id: !!str desk"), []),
    "an anchor": (WHOLE.replace("id: desk", "id: &here desk"), []),
    "keys that are merged": (f"<<: {{id: other}}\n{WHOLE}", ["<<"]),
    "an alias that is merged": (WHOLE.replace("agent:\n", "agent: &a\n") + "<<: *a\n", ["<<"]),
    "a key twice": (f"{WHOLE}id: other\n", ["id"]),
    "a key twice, far inside": (WHOLE.replace("  rounds: 5\n", "  rounds: 5\n  rounds: 6\n"), ["budget.rounds"]),
    "a number for a key": (f"{WHOLE}1: 2\n", ["document"]),
    "null for a key": (f"{WHOLE}~: 2\n", ["document"]),
    "a list for a key": (f"{WHOLE}? [a]\n: 2\n", ["document"]),
    "two documents": (f"{WHOLE}---\n{WHOLE}", ["document"]),
    "no end of a text": (f'{WHOLE}x: "abc', ["document"]),
    "no end of a list": (f"{WHOLE}x: [1, 2", ["document"]),
    "a character that is none": (WHOLE.replace("Clerk", "Cl\x07erk"), ["document"]),
    "zero": ("\x00", ["document"]),
    "yes for true": (WHOLE.replace("idempotent: true", "idempotent: yes", 1), ["tools.0.idempotent"]),
    "one for true": (WHOLE.replace("idempotent: true", "idempotent: 1", 1), ["tools.0.idempotent"]),
    "true for a text": (WHOLE.replace("name: Clerk", "name: true"), ["agent.name"]),
    "null for a list": (WHOLE.partition("tools:")[0] + "tools:\n", ["tools"]),
    "a number of base 60": (WHOLE.replace("rounds: 5", "rounds: 1:30"), ["budget.rounds"]),
    "more digits than a number has": (WHOLE.replace("rounds: 5", f"rounds: {'9' * 5000}"), ["budget.rounds"]),
    "a number that JSON does not hold": (WHOLE.replace("rounds: 5", f"rounds: {'9' * 30}"), ["budget.rounds"]),
    "not a number": (WHOLE.replace("rounds: 5", "rounds: .nan"), ["budget.rounds"]),
    "keys as long as they may be": (json.dumps({"k" * 1000: {"z" * 1000: 1}, **FULL}), ["k" * 128 + "…"]),
    "as Python writes it": (str(FULL), []),
}


@pytest.mark.parametrize("name", TEXTS)
def test_what_a_text_has_that_json_has_not_is_told_where_it_stands(name: str) -> None:
    text, paths = TEXTS[name]

    found = told(text)

    assert [finding.path for finding in found if "untrusted" not in finding.path] == paths
    for finding in found:
        check(finding)


@pytest.mark.parametrize("ascii_only", [True, False])
def test_json_is_read_as_other_libraries_write_it(ascii_only: bool) -> None:
    full = json.loads(json.dumps(FULL))
    full["agent"]["instructions"] = "Be kind. \U0001f600 \u2028 \U0010ffff"
    full["provider"]["parameters"]["\U0001f600"] = "\U0001f600"

    assert told(json.dumps(full, ensure_ascii=ascii_only)) == []


def _in_two_places(package: dict[str, Any]) -> str:
    package["policy"] = "builtin:allow-declared"
    return "document"


def _both(package: dict[str, Any]) -> str:
    package["policies"][1]["rules"] = [RULE]
    return "policies.1"


def _asks_in_vain(package: dict[str, Any]) -> str:
    package["policies"][0]["rules"][0] |= {"stage": "input", "when": "", "then": "ask"}
    return "policies.0.rules.0"


def _too_many(package: dict[str, Any]) -> str:
    package["policies"] += [{"rules": [{"then": "deny"}] * 200}] * 2
    return "document"


OF_SEVERAL_FIELDS: tuple[Callable[[dict[str, Any]], str], ...] = (_in_two_places, _both, _asks_in_vain, _too_many)
OF_ONE: dict[str, tuple[tuple[str | int, ...], Any]] = {
    "nmae": (("nmae",), 1),
    "id": (("id",), "a b"),
    "agent": (("agent",), 5),
    "provider.model": (("provider", "model"), None),
    "policies.0.mode": (("policies", 0, "mode"), "shadw"),
    "policies.0.rules.1.code": (("policies", 0, "rules", 1, "code"), "A B"),
    "tools.0": (("tools", 0), "look"),
    "tools.1.effect": (("tools", 1, "effect"), "fly"),
    "fallbacks.0": (("fallbacks", 0), []),
    "budget": (("budget",), "much"),
}


@pytest.mark.parametrize("field", OF_ONE)
@pytest.mark.parametrize("rule", OF_SEVERAL_FIELDS)
def test_a_rule_over_several_fields_is_told_beside_what_is_wrong_with_one(
    rule: Callable[[dict[str, Any]], str], field: str
) -> None:
    package = json.loads(json.dumps(WITH_RULES))
    expected = {rule(package), field}
    path, value = OF_ONE[field]
    at(package, path[:-1])[path[-1]] = value

    found = told(json.dumps(package))

    assert {finding.path for finding in found} == expected
    assert len(found) == len(expected)


def test_a_file_of_the_operators_with_anything_anywhere_is_refused_in_our_words(tmp_path: Any) -> None:
    chance = random.Random(SEED)
    path = tmp_path / "policies.yaml"
    whole = {"format": "runwright-policies-v0", "namespaces": {"*": WITH_RULES["policies"], "team-b": []}}
    for _ in range(150):
        file = json.loads(json.dumps(whole))
        for _ in range(chance.randint(1, 3)):
            mutated(file, chance)
        path.write_text(_as_json(json.dumps(file)))
        try:
            read_operator_policies(path)
        except AgentError as error:
            assert not PYTHON.search(f"{error.message} {error.remedy}"), error.message
            assert len(f"{error.message} {error.remedy}") < LONGEST + len(str(path))
