"""Package files on a command line: read, or refused with everything that is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from runwright.adapters.json_schema import JsonSchemaChecker
from runwright.adapters.package_documents import MAX_DOCUMENT_BYTES
from runwright.adapters.package_files import examine_package
from runwright.adapters.sidecars import sidecar_path
from runwright.cli.errors import ExitCode, Problem, tell
from runwright.core.fingerprint import canonical_json
from runwright.core.package import RuntimePackage
from runwright.core.schema_digests import schema_digest
from runwright.files import read_text


class Form(StrEnum):
    """How a package is printed."""

    JSON = "json"
    YAML = "yaml"


SidecarsOption = Annotated[
    Path | None,
    typer.Option("--sidecars", metavar="DIR", help="Write schemas there, by digest; beside a package: `sidecars`."),
]
FormOption = Annotated[Form, typer.Option("--output", "-o", help="Form to print.")]


def package_of(file: Path) -> RuntimePackage:
    """The package in a file. Otherwise tells every fault and leaves with USAGE."""
    examined = examine_package(file, JsonSchemaChecker())
    for error in examined.found:
        tell(Problem.refused(error))
    if examined.package is None or examined.found:
        raise typer.Exit(ExitCode.USAGE)
    return examined.package


def sidecars_of(package: RuntimePackage) -> list[bytes]:
    """The schemas that a package names by digest, as they are sent, by ascending digest."""
    return [canonical_json(schema) for _, schema in sorted(package.sidecars.items())]


def document_of(file: Path) -> tuple[str, list[bytes]]:
    """The text of a file that is a package, and its sidecars; see `package_of`."""
    package = package_of(file)
    return read_text(file, MAX_DOCUMENT_BYTES), sidecars_of(package)


def write_sidecars(folder: Path, sidecars: Iterable[bytes]) -> None:
    """Writes schemas into a folder, where a package beside it finds them by digest. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    for data in sidecars:
        sidecar_path(folder, schema_digest(json.loads(data))).write_bytes(data)
