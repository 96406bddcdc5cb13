"""Package files: whatever is wrong with one is said with the file, the place and the rule, and never otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from runwright.adapters.package_files import MAX_FILE_BYTES, load_package
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
        (YAML + "colour: red\n", "colour", "not permitted"),
        (YAML.replace("effect: read", "effect: fly"), "tools.0.effect", "'read'"),
        (YAML.replace("adapter: scripted", "adapter: 1 2"), "provider.adapter", "pattern"),
        (YAML.replace("package-v0", "package-v9"), "format", "v0"),
        (YAML.replace(PARAMETERS, "{day: 2020-01-01}"), "provider.parameters.day", "JSON"),
        (YAML + "id: other\n", "line 13", "repeated keys"),
        (YAML.replace(PARAMETERS, "{a: 1, a: 2}"), "line 8", "repeated keys"),
        (YAML.replace(PARAMETERS, "!!python/object/apply:os.getcwd []"), "line 8", "YAML or JSON"),
        (YAML + "---\n" + YAML, "line", "YAML or JSON"),
        (YAML + "? [a]\n: b\n", "line 13", "YAML or JSON"),
        ("{", "line", "YAML or JSON"),
        ("- a list", "", "dictionary"),
        ("just a text", "", "dictionary"),
        ("", "", "dictionary"),
        ("a: \0", "", "YAML or JSON"),
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

    assert str(MAX_FILE_BYTES) in error.metadata["rule"]


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")

    for path in (binary, tmp_path, tmp_path / "missing.yaml"):
        assert "readable UTF-8 file" in refusal(path).metadata["rule"]


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
