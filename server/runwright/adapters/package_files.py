"""Packages from YAML or JSON files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from runwright.adapters.yaml_documents import Document, DocumentError, read_document
from runwright.core.errors import AgentError, ErrorReason
from runwright.core.package import RuntimePackage
from runwright.ports.schemas import SchemaChecker

MAX_FILE_BYTES = 1024 * 1024
MAX_FINDINGS = 100
_EXACT = "numbers that JSON can hold exactly"


def load_package(path: Path) -> RuntimePackage:
    """Reads one package. Raises PACKAGE_INVALID naming the file, the path inside, its line and the rule."""
    package, found, _ = _validated(path)
    if package is None:
        raise found[0]
    return package


def examine_package(path: Path, schemas: SchemaChecker) -> tuple[RuntimePackage | None, list[AgentError]]:
    """The package of a file and what is wrong with it: a PACKAGE_INVALID for each of the first hundred findings."""
    package, found, document = _validated(path)
    if package is None or document is None:
        return None, found
    problems = [(index, schemas.schema_problem(tool.parameters)) for index, tool in enumerate(package.tools)]
    names = [tool.name for tool in package.tools]
    return package, [
        _finding(path, document, ("tools", index, "parameters"), problem.rstrip("."), named=names[index])
        for index, problem in problems
        if problem
    ]


def _validated(path: Path) -> tuple[RuntimePackage | None, list[AgentError], Document | None]:
    try:
        document = _read(path)
    except AgentError as error:
        return None, [error], None
    try:
        return RuntimePackage.model_validate(document.value), [], document
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[:MAX_FINDINGS]
        return None, [_finding(path, document, one["loc"], one["msg"]) for one in found], document
    except (ValueError, RecursionError):
        return None, [_invalid(path, "", _EXACT)], document


def _read(path: Path) -> Document:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise _invalid(path, "", f"at most {MAX_FILE_BYTES} bytes")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)  # it may grow, or be no file at all
    except OSError:
        raise _invalid(path, "", "a readable UTF-8 file") from None
    if len(data) > MAX_FILE_BYTES:
        raise _invalid(path, "", f"at most {MAX_FILE_BYTES} bytes")
    try:
        return read_document(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise _invalid(path, "", "a readable UTF-8 file") from None
    except DocumentError as error:
        where = f"line {error.line}, column {error.column}" if error.line else ""
        raise _invalid(path, where, error.rule) from None


def _finding(path: Path, document: Document, where: Sequence[str | int], rule: str, *, named: str = "") -> AgentError:
    line, column = document.place(where)
    inside = ".".join(str(step) for step in where) + (f" ({named})" if named else "")
    return _invalid(path, inside, rule, f"line {line}, column {column}")


def _invalid(path: Path, inside: str, rule: str, place: str = "") -> AgentError:
    where = ", ".join(part for part in (str(path), inside, place) if part)
    return AgentError(
        ErrorReason.PACKAGE_INVALID,
        f"{where}: {rule}.",
        metadata={"package": str(path), "path": inside, "rule": rule},
    )
