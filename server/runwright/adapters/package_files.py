"""Packages from YAML or JSON files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct
from pydantic import ValidationError

from runwright.adapters.cel_conditions import condition_problem
from runwright.adapters.package_rules import Rule, explained
from runwright.adapters.yaml_documents import Document, DocumentError, read_document
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.package import RuntimePackage
from runwright.files import UnreadableFileError, read_text
from runwright.ports.conditions import CONDITION_REMEDY, condition_problems
from runwright.ports.schemas import SchemaChecker

MAX_FILE_BYTES = 1024 * 1024
MAX_FINDINGS = 100
_EXACT = "numbers that JSON can hold exactly"
_EXAMPLE = "Begin with format: runwright-package-v0, id, agent and provider, as examples/workspace/package.yaml does."
_SCHEMA = "Write parameters as JSON Schema (draft 2020-12), as in {type: object, properties: {path: {type: string}}}."


class PackageFile(Struct, frozen=True):
    """A file, the package in it unless it is none, and everything that is wrong with it: PACKAGE_INVALID each."""

    path: Path
    package: RuntimePackage | None
    found: list[AgentError]
    document: Document | None = None

    def finding(self, where: Sequence[str | int], rule: Rule) -> AgentError:
        """Something that breaks a rule at a place inside, with its line and column."""
        assert self.document is not None, "only a package that was read is looked at further"
        return _finding(self.path, self.document, self._written(where), rule)

    def _written(self, where: Sequence[str | int]) -> Sequence[str | int]:
        """The path as the file has it: a package keeps its tools by name."""
        match where:
            case ["tools", int(index), *inside] if self.package is not None and self.document is not None:
                value = self.document.value
                tools = value.get("tools") if isinstance(value, dict) else None
                names = [tool.get("name") for tool in tools if isinstance(tool, dict)] if tools else []
                name = self.package.tools[index].name
                return ["tools", names.index(name) if name in names else index, *inside]
            case _:
                return where


def load_package(path: Path) -> RuntimePackage:
    """Reads one package. Raises PACKAGE_INVALID naming the file, the path inside, its line and the rule."""
    file = _validated(path)
    if file.package is None:
        raise file.found[0]
    return file.package


def examine_package(path: Path, schemas: SchemaChecker) -> PackageFile:
    """The package of a file, its schemas and conditions examined; what is wrong up to the first hundred findings."""
    file = _validated(path)
    if file.package is None:
        return file
    for index, tool in enumerate(file.package.tools):
        problem = schemas.schema_problem(tool.parameters)
        if problem:
            rule = Rule(f"the schema of tool {tool.name} cannot be used: {problem.rstrip('.')}", _SCHEMA)
            file.found.append(file.finding(["tools", index, "parameters"], rule))
    for where, problem in condition_problems(file.package.policies, condition_problem):
        rule = Rule(f"the condition cannot be used: {problem}", CONDITION_REMEDY)
        file.found.append(file.finding(["policies", *where], rule))
    return file


def _validated(path: Path) -> PackageFile:
    try:
        document = _read(path)
    except AgentError as error:
        return PackageFile(path, None, [error])
    try:
        return PackageFile(path, RuntimePackage.model_validate(document.value), [], document)
    except ValidationError as error:
        found = error.errors(include_url=False)[:MAX_FINDINGS]
        return PackageFile(
            path, None, [_finding(path, document, one["loc"], explained(one)) for one in found], document
        )
    except (ValueError, RecursionError):
        return PackageFile(path, None, [_invalid(path, "", Rule(_EXACT, "Write such a number as a text, in quotes."))])


def _read(path: Path) -> Document:
    try:
        text = read_text(path, MAX_FILE_BYTES)
    except UnreadableFileError as error:
        raise AgentError(
            ErrorReason.PACKAGE_INVALID,
            f"The package file {error.message}.",
            metadata={"package": str(path), "path": "", "rule": "a UTF-8 file that can be read"},
            remedy=error.remedy,
        ) from None
    try:
        document = read_document(text)
    except DocumentError as error:
        where = f"line {error.line}, column {error.column}" if error.line else ""
        raise _invalid(
            path, where, Rule(error.rule, f"Mend it there, then: runwright package validate {path}")
        ) from None
    if document.value is None:
        raise _invalid(path, "", Rule("a package, and it is empty", _EXAMPLE))
    return document


def _finding(path: Path, document: Document, where: Sequence[str | int], rule: Rule) -> AgentError:
    line, column = document.place(where)
    inside = ".".join(str(step) for step in where)
    return _invalid(path, inside, rule, f"line {line}, column {column}")


def _invalid(path: Path, inside: str, rule: Rule, place: str = "") -> AgentError:
    where = ", ".join(part for part in (str(path), inside, place) if part)
    return AgentError(
        ErrorReason.PACKAGE_INVALID,
        f"{where}: {rule.expected}.",
        metadata={"package": str(path), "path": inside, "rule": rule.expected},
        remedy=rule.remedy,
    )
