"""Package files: whatever is wrong with one is said with the file, the place and the rule, and never otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from runwright.adapters.json_schema import JsonSchemaChecker
from runwright.adapters.package_documents import MAX_DOCUMENT_BYTES as MAX_FILE_BYTES
from runwright.adapters.package_documents import MAX_FINDINGS
from runwright.adapters.package_files import examine_package, load_package
from runwright.adapters.yaml_documents import MAX_NODES
from runwright.core.errors import AgentError, ErrorReason

from tests import builders as b

YAML = """
format: runwright-package-v0
id: demo
agent: {id: demo, instructions: "Say hello."}
provider:
  adapter: scripted
  model: none
  parameters: {script: [{text: hi}]}
tools:
  - name: look
    executor: tools
    effect: read
"""
PARAMETERS = "{script: [{text: hi}]}"


def written(directory: Path, text: str) -> Path:
    """A file of that text."""
    path = directory / "package.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path) -> AgentError:
    """Why the file is no package."""
    with pytest.raises(AgentError) as caught:
        load_package(path)
    assert caught.value.reason is ErrorReason.PACKAGE_INVALID
    assert caught.value.metadata["package"] == str(path)
    assert str(path) in caught.value.message
    return caught.value


def test_a_yaml_file_is_a_package(tmp_path: Path) -> None:
    package = load_package(written(tmp_path, YAML))

    assert (package.id, package.agent.id, [tool.name for tool in package.tools]) == ("demo", "demo", ["look"])


def test_json_and_yaml_of_the_same_package_have_one_fingerprint(tmp_path: Path) -> None:
    made = b.package(b.asks("look"), b.says("hi"), tools=(b.tool(description="Füll"),))
    as_json = written(tmp_path, json.dumps(made.model_dump(mode="json")))

    assert load_package(as_json).fingerprint() == made.fingerprint()


@pytest.mark.parametrize(
    ("text", "path", "rule"),
    [
        (YAML.replace("id: demo\n", ""), "id", "required"),
        (YAML + "colour: red\n", "colour", "no key that is known"),
        (YAML.replace("effect: read", "effect: fly"), "tools.0.effect", "one of read, write"),
        (YAML.replace("adapter: scripted", "adapter: 1 2"), "provider.adapter", "an id: 1 to 128"),
        (YAML.replace("package-v0", "package-v9"), "format", "v0"),
        (YAML + "id: other\n", "id", "repeated keys"),
        (YAML.replace(PARAMETERS, "{a: 1, a: 2}"), "provider.parameters.a", "repeated keys"),
        (YAML.replace(PARAMETERS, "!!python/object/apply:os.getcwd []"), "provider.parameters", "YAML or JSON"),
        (YAML + "---\n" + YAML, "document", "YAML or JSON"),
        (YAML + "? [a]\n: b\n", "document", "YAML or JSON"),
        ("{", "document", "YAML or JSON"),
        ("- a list", "document", "keys with values"),
        ("just a text", "document", "keys with values"),
        ("", "document", "it is empty"),
        ("a: \0", "document", "YAML or JSON"),
        (YAML + "outputs: {}\n", "outputs", "field of a later version"),
        (YAML + "    max_concurrency: 2\n", "tools.0.max_concurrency", "field of a later version"),
        (YAML + "policies: [{remote: compliance, on_failure: allow}]\n", "policies.0.on_failure", "not there yet"),
        (YAML + "policies: [{remote: a, stages: [post_tool, pre_tool]}]\n", "policies.0.stages", "in the order in"),
        (YAML + "policies: [{remote: a, stages: [model_request]}]\n", "policies.0.stages.0", "not there yet"),
        (YAML + "policies: [{builtin: read-only, stages: [output]}]\n", "policies.0", "only beside `remote: NAME`"),
        (YAML + "policies: [{remote: a, stages: [output, input]}]\n", "policies.0.stages", "in the order in which"),
        (YAML + "policies: [{remote: a, stages: []}]\n", "policies.0.stages", "at least one stage"),
        (YAML + "policies: [{remote: a, builtin: read-only}]\n", "policies.0", "either `builtin: NAME`"),
        (YAML + "policies: [{remote: a, max_attempts: yes}]\n", "policies.0.max_attempts", "a whole number"),
        (
            YAML + "policies: [{rules: [{then: ask, approval: writes}]}]\n",
            "policies.0.rules.0.approval",
            "the name of one of `approvals`; there are none",
        ),
        (YAML + "policies: [{rules: [{then: modify}]}]\n", "policies.0.rules.0.then", "is not there yet"),
        (YAML + "policies: [{rules: [{then: defer}]}]\n", "policies.0.rules.0.then", "is not there yet"),
        (
            YAML + "policies: [{rules: [{stage: model_request, then: deny}]}]\n",
            "policies.0.rules.0.stage",
            "is not there yet",
        ),
        (
            YAML + "policies: [{rules: [{stage: post_tool, then: ask}]}]\n",
            "policies.0.rules.0",
            "another verdict than ask at stage post_tool",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, path: str, rule: str) -> None:
    error = refusal(written(tmp_path, text))

    assert path in error.metadata["path"]
    assert rule in error.metadata["rule"]


@pytest.mark.parametrize("number", [".nan", ".inf", "9007199254740993", "9" * 5000])
def test_a_number_json_cannot_hold_is_refused(tmp_path: Path, number: str) -> None:
    error = refusal(written(tmp_path, YAML.replace(PARAMETERS, f"{{seed: {number}}}")))

    assert error.metadata["rule"]


@pytest.mark.parametrize("parameters", ["&x {d: *x}", "{d: &x [*x]}", "{d: " + "[" * 3000 + "]" * 3000 + "}"])
def test_nesting_without_an_end_is_refused(tmp_path: Path, parameters: str) -> None:
    error = refusal(written(tmp_path, YAML.replace(PARAMETERS, parameters)))

    assert len(error.message) < 5_000


def test_aliases_cannot_make_a_package_larger_than_a_file_may_be(tmp_path: Path) -> None:
    text = "x" * 100_000
    aliases = ", ".join(["*t"] * 20)

    error = refusal(written(tmp_path, YAML.replace(PARAMETERS, f"{{t: &t {text}, all: [{aliases}]}}")))

    assert error.metadata["rule"]


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    error = refusal(written(tmp_path, YAML + "#" * MAX_FILE_BYTES))

    assert f"has more than {MAX_FILE_BYTES} bytes" in error.message


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")

    said = {
        binary: ("is not UTF-8 text: line 1 has byte 0xff", "Save it as UTF-8"),
        tmp_path: ("is a directory", f"such as {binary}"),
        tmp_path / "binary.yml": ("does not exist", "Did you mean binary.yaml?"),
    }
    for path, (cause, remedy) in said.items():
        error = refusal(path)
        assert f"The package file {path} {cause}" in error.message
        assert remedy in error.remedy


@pytest.mark.parametrize(
    ("written_as", "value"),
    [
        ("yes", "yes"),
        ("No", "No"),
        ("on", "on"),
        ("y", "y"),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("1:30", "1:30"),
        ("1:30:59", "1:30:59"),
        ("190:20:30.15", "190:20:30.15"),
        ("-1:0.5", "-1:0.5"),
        ("2020-01-01", "2020-01-01"),
        ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z"),
        ("010", 10),
        ("0o10", 8),
        ("0x1f", 31),
        ("0b1", "0b1"),
        ("1_000", "1_000"),
        ("1_000.5", "1_000.5"),
        ("+12", 12),
        ("1e3", 1000),
        ("1.", 1),
        (".5", 0.5),
        ("-1.5e-3", -0.0015),
        ("=", "="),
        ("<<", "<<"),
        ("'1'", "1"),
        ("0.1.2", "0.1.2"),
        ("1e", "1e"),
        (".", "."),
        ("._1", "._1"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(tmp_path: Path, written_as: str, value: object) -> None:
    package = load_package(written(tmp_path, YAML.replace(PARAMETERS, f"{{a: {written_as}}}")))

    assert package.provider.parameters == {"a": value}
    assert type(package.provider.parameters["a"]) is type(value) or isinstance(value, int)


@pytest.mark.parametrize("number", ["1" + ":59" * 200_000, "1" + ":59" * 200_000 + ".5"])
def test_a_number_of_base_60_is_a_text_however_long(tmp_path: Path, number: str) -> None:
    package = load_package(written(tmp_path, YAML.replace(PARAMETERS, f"{{a: {number}}}")))

    assert package.provider.parameters == {"a": number}


@pytest.mark.parametrize(
    ("parameters", "column", "rule"),
    [
        ("{a: 1, a: 2}", 22, "repeated keys"),
        ("{on: 1, on: 2}", 23, "repeated keys"),
        ("{a: &x 1, b: *x}", 28, "aliases"),
        ("{1: a}", 16, "keys are texts"),
        ("{true: a}", 16, "keys are texts"),
        ("{? [a] : b}", 18, "keys are texts"),
        ("{a: !!int '1:30'}", 19, "tags"),
        ("{a: !!float x}", 19, "tags"),
        ("{a: !!bool maybe}", 19, "tags"),
        ("{a: !!binary aGk=}", 19, "tags"),
        ("{a: !!set {b}}", 19, "tags"),
        ("{a: !own b}", 19, "tags"),
        ("{!!merge a: {b: c}}", 16, "tags"),
        ("{a: " + "9" * 401 + "}", 19, "400 digits"),
        ("{a: 0x" + "f" * 100_000 + "}", 19, "400 digits"),
        ("[" * 2000 + "]" * 2000, 113, "100 deep"),
    ],
)
def test_what_json_cannot_say_is_refused_with_line_and_column(
    tmp_path: Path, parameters: str, column: int, rule: str
) -> None:
    error = refusal(written(tmp_path, YAML.replace(PARAMETERS, parameters)))

    assert rule in error.metadata["rule"]
    assert f"line 8, column {column}: " in error.message


def test_a_merge_key_is_a_key_nobody_knows(tmp_path: Path) -> None:
    error = refusal(written(tmp_path, YAML.replace("agent: {id: demo,", "agent: {id: demo, <<: {name: x},")))

    assert error.metadata["path"] == "agent.<<"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (YAML.replace("effect: read", "effect: fly"), "line 12, column 13"),
        (YAML.replace("    effect: read\n", ""), "line 10, column 5"),
        (YAML + "colour: red\n", "line 13, column 9"),
    ],
)
def test_a_finding_names_line_and_column(tmp_path: Path, text: str, place: str) -> None:
    assert f", {place}: " in refusal(written(tmp_path, text)).message


def test_values_without_an_end_are_refused_before_they_are_made(tmp_path: Path) -> None:
    error = refusal(written(tmp_path, "[" + ",".join("0" * (MAX_NODES + 1)) + "]"))

    assert "values" in error.metadata["rule"]


def test_of_findings_without_an_end_the_first_are_told(tmp_path: Path) -> None:
    tools = "".join(f"  - {{name: t{number}, colour: red}}\n" for number in range(200))
    examined = examine_package(written(tmp_path, YAML.partition("  - name")[0] + tools), JsonSchemaChecker())

    assert examined.package is None
    assert len(examined.found) == MAX_FINDINGS


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    assert load_package(written(tmp_path, "\ufeff" + YAML)).id == "demo"


def test_the_values_of_a_file_are_not_repeated_in_the_error(tmp_path: Path) -> None:
    error = refusal(written(tmp_path, YAML.replace("model: none", "model: [sk-hunter2]")))

    assert "hunter2" not in str(error) + str(error.metadata)


@pytest.mark.parametrize("name", ["package.yaml", "package.json"])
def test_a_package_may_begin_with_a_byte_order_mark(tmp_path: Path, name: str) -> None:
    plain = tmp_path / f"plain-{name}"
    plain.write_text(YAML if name.endswith("yaml") else json.dumps(yaml.safe_load(YAML)))
    marked = tmp_path / name
    marked.write_bytes(b"\xef\xbb\xbf" + plain.read_bytes())

    assert load_package(marked) == load_package(plain)


@pytest.mark.parametrize("written", ["5", "2 h", "0s"])
def test_a_span_that_is_none_is_told_what_one_looks_like(tmp_path: Path, written: str) -> None:
    tool = {"name": "book", "executor": "desk", "effect": "write", "reconcilable": True, "reconcile_for": written}
    path = tmp_path / "one.json"
    path.write_text(json.dumps({**b.package(b.says("hi")).model_dump(mode="json"), "tools": [tool]}))

    [found] = examine_package(path, JsonSchemaChecker()).found

    assert "tools.0.reconcile_for" in found.message and "a whole number and s, m, h or d" in found.message
    assert found.remedy == "Write it as in 90s, 10m or 2h."


def test_a_summary_that_cannot_be_one_is_a_finding_at_its_place(tmp_path: Path) -> None:
    path = written(tmp_path, f"{YAML}    summary: '\"Look at \" + run.session_id'\n")

    [finding] = examine_package(path, JsonSchemaChecker()).found

    assert "tools.0.summary" in finding.message
    assert "the summary cannot be used: there is no variable run in a summary" in finding.message
    assert "docs/approvals.md" in finding.remedy
