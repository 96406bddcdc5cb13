"""Schemas beside a package: found by digest, never missing without a word, and shown to nobody who is shown a view."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from runwright.adapters.json_schema import JsonSchemaChecker
from runwright.adapters.package_documents import examine_document
from runwright.adapters.package_files import examine_package
from runwright.adapters.sidecars import SentSidecars
from runwright.core.errors import AgentError
from runwright.core.package import RuntimePackage
from runwright.core.package_findings import PackageFinding
from runwright.core.schema_digests import schema_digest
from runwright.runtime.builder import check_schemas

from tests.cli.files import TOOL, package_file

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"path": {"type": "string", "pattern": "^/srv/"}}}
VIEW = {"type": "object", "properties": {"path": {"type": "string"}}}
DIGEST = schema_digest(SCHEMA)
TOOLS = [{**TOOL, "schema_digest": DIGEST, "model_view": VIEW}]


def beside(folder: Path, schema: object = SCHEMA, digest: str = DIGEST) -> Path:
    """A sidecar where a package of the folder looks for it."""
    path = folder / "sidecars" / f"{digest.removeprefix('sha256:')}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(schema if isinstance(schema, str) else json.dumps(schema, indent=3))
    return path


def found(path: Path) -> list[str]:
    """Everything that is wrong with a file: where, and in which words."""
    examined = examine_package(path, JsonSchemaChecker())
    return [f"{error.metadata['path']}: {error.metadata['rule']}" for error in examined.found]


def findings(tools: list[dict[str, Any]], *sent: object, **fields: Any) -> list[PackageFinding]:
    """Everything that is wrong with a text and the schemas sent along."""
    text = json.dumps({**BARE, "tools": tools, **fields})
    data = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in sent]
    return list(examine_document(text, JsonSchemaChecker(), SentSidecars(data)).findings)


BARE = {
    "format": "runwright-package-v1-draft",
    "id": "one",
    "agent": {"id": "clerk"},
    "provider": {"adapter": "demo", "model": "demo-1"},
}


def test_a_schema_beside_the_file_is_the_tools_and_the_view_the_models(tmp_path: Path) -> None:
    beside(tmp_path)
    file = package_file(tmp_path, tools=TOOLS)

    package = examine_package(file, JsonSchemaChecker()).package

    assert found(file) == []
    assert package is not None
    [tool] = package.tools
    assert package.arguments_schema(tool) == SCHEMA
    assert package.model_schema(tool) == VIEW
    assert tool.arguments_digest == DIGEST
    assert b"sidecars" not in package.canonical() and b"sidecars" in package.stored()
    assert RuntimePackage.model_validate_json(package.stored()) == package


def test_a_sidecar_that_is_missing_or_another_is_named_with_its_path(tmp_path: Path) -> None:
    file = package_file(tmp_path, tools=TOOLS)
    [missing] = found(file)
    path = beside(tmp_path, {"type": "object"})
    [other] = found(file)
    beside(tmp_path, "{")
    [broken] = found(file)
    beside(tmp_path, '{"type": "object", "maximum": 9007199254740993}')
    [inexact] = found(file)

    assert missing.startswith(f"tools.0.schema_digest: a sidecar that is there, and {path} does not exist")
    assert other == (
        f"tools.0.schema_digest: a sidecar with its schema, and what {path} holds has the digest "
        f"{schema_digest({'type': 'object'})}"
    )
    assert broken == inexact == (
        f"tools.0.schema_digest: a sidecar with its schema, and {path} holds no JSON object in canonical numbers"
    )  # fmt: skip


def test_an_unusable_schema_or_view_is_told_at_its_field_with_all_else(tmp_path: Path) -> None:
    wrong = {"type": "objekt"}
    beside(tmp_path, wrong, schema_digest(wrong))
    tools = [{**TOOL, "effect": "magic", "schema_digest": schema_digest(wrong), "model_view": {"type": "string"}}]

    told = found(package_file(tmp_path, tools=tools))

    assert [line.partition(":")[0] for line in told] == [
        "tools.0.effect",
        "tools.0.schema_digest",
        "tools.0.model_view",
    ]


def test_what_a_text_names_and_what_comes_with_it_must_be_the_same() -> None:
    gone = "sha256:" + "0" * 64
    odd = [{**TOOL, "schema_digest": "sha256:x"}]

    assert findings(TOOLS, SCHEMA) == []
    assert findings(TOOLS, sidecars={DIGEST: SCHEMA}) == []
    for told, path, words in (
        (findings([{**TOOL, "schema_digest": gone}]), "tools.0.schema_digest", f"there is no {gone}"),
        (findings([TOOL], SCHEMA), "sidecars.0", f"none names {DIGEST}"),
        (findings(TOOLS, SCHEMA, b"[]"), "sidecars.1", "a JSON object"),
        (findings([TOOL], sidecars={DIGEST: SCHEMA}), f"sidecars.{DIGEST}", "a schema that a tool names"),
        (findings(TOOLS, sidecars={DIGEST: VIEW}), f"sidecars.{DIGEST}", "the schema whose digest this is"),
        (findings([{**TOOLS[0], "parameters": VIEW}], SCHEMA), "tools.0.parameters", "beside `schema_digest`"),
        (findings(odd), "tools.0.schema_digest", "sha256: and 64 hex digits"),
        (findings(TOOLS, SCHEMA, sidecars=[1]), "sidecars", "keys with values"),
    ):
        assert [finding.path for finding in told] == [path], told
        assert words in told[0].expected
        assert told[0].remedy and "model" not in told[0].expected


def test_tools_that_name_one_schema_share_it_and_each_missing_one_is_told() -> None:
    two = [{**TOOL, "name": name, "schema_digest": DIGEST} for name in ("look", "peek")]

    assert findings(two, SCHEMA) == []
    assert [finding.path for finding in findings(two)] == ["tools.0.schema_digest", "tools.1.schema_digest"]


def test_a_package_of_a_program_is_never_without_its_schemas() -> None:
    for changes in ({}, {"sidecars": {DIGEST: VIEW}}, {"sidecars": {DIGEST: SCHEMA, schema_digest(VIEW): VIEW}}):
        with pytest.raises(ValueError, match="type=sidecar"):
            RuntimePackage.model_validate({**BARE, "tools": TOOLS, **changes})
    unusable = {**BARE, "tools": [{**TOOLS[0], "model_view": {"type": "string"}}], "sidecars": {DIGEST: SCHEMA}}
    with pytest.raises(AgentError, match="PACKAGE_INVALID"):
        check_schemas(RuntimePackage.model_validate(unusable), JsonSchemaChecker())
