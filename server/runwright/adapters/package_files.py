"""Packages from YAML or JSON files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from runwright.adapters.package_documents import (
    MAX_DOCUMENT_BYTES,
    NO_MODELS,
    ExaminedDocument,
    examine_document,
    placed,
)
from runwright.adapters.package_rules import Rule
from runwright.adapters.sidecars import FileSidecars
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.package import RuntimePackage
from runwright.core.package_findings import WHOLE, PackageFinding
from runwright.files import UnreadableFileError, read_text
from runwright.ports.schemas import SchemaChecker


class PackageFile(Struct, frozen=True):
    """A file, the package in it unless it is none, and everything that is wrong with it: PACKAGE_INVALID each."""

    path: Path
    package: RuntimePackage | None
    found: list[AgentError]
    examined: ExaminedDocument | None = None

    def finding(self, where: Sequence[str | int], rule: Rule) -> AgentError:
        """Something that breaks a rule at a place inside, with its line and column."""
        assert self.examined is not None, "only a package that was read is looked at further"
        assert self.examined.document is not None, "only a package that was read is looked at further"
        return _error(self.path, placed(self.examined.document, self._written(where), rule))

    def _written(self, where: Sequence[str | int]) -> Sequence[str | int]:
        """The path as the file has it: a package keeps its tools by name."""
        document = self.examined.document if self.examined else None
        match where:
            case ["tools", int(index), *inside] if self.package is not None and document is not None:
                value = document.value
                tools = value.get("tools") if isinstance(value, dict) else None
                names = [tool.get("name") for tool in tools if isinstance(tool, dict)] if tools else []
                name = self.package.tools[index].name
                return ["tools", names.index(name) if name in names else index, *inside]
            case _:
                return where


def load_package(path: Path) -> RuntimePackage:
    """Reads one package, its schemas and conditions unexamined.

    Raises PACKAGE_INVALID naming the file, the path inside, its line and the rule.
    """
    file = _examined(path, None)
    if file.package is None:
        raise file.found[0]
    return file.package


def examine_package(path: Path, schemas: SchemaChecker, models: Mapping[str, str] = NO_MODELS) -> PackageFile:
    """The package of a file, its schemas and conditions examined; what is wrong up to the first hundred findings.

    `models` are the kinds of the adapters for real models, by name: the parameters for them are examined.
    """
    return _examined(path, schemas, models)


def _examined(path: Path, schemas: SchemaChecker | None, models: Mapping[str, str] = NO_MODELS) -> PackageFile:
    try:
        text = read_text(path, MAX_DOCUMENT_BYTES)
    except UnreadableFileError as error:
        unreadable = AgentError(
            ErrorReason.PACKAGE_INVALID,
            f"The package file {error.message}.",
            metadata={"package": str(path), "path": WHOLE, "rule": "a UTF-8 file that can be read"},
            remedy=error.remedy,
        )
        return PackageFile(path, None, [unreadable])
    examined = examine_document(text, schemas, FileSidecars(path), models)
    return PackageFile(path, examined.package, [_error(path, finding) for finding in examined.findings], examined)


def _error(path: Path, finding: PackageFinding) -> AgentError:
    inside = "" if finding.path == WHOLE else finding.path
    where = ", ".join(part for part in (str(path), inside, finding.place) if part)
    return AgentError(
        ErrorReason.PACKAGE_INVALID,
        f"{where}: {finding.expected}.",
        metadata={"package": str(path), "path": finding.path, "rule": finding.expected},
        remedy=finding.remedy,
    )
