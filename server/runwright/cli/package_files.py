"""Package files on a command line: read, or refused with everything that is wrong with them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from runwright.adapters.json_schema import JsonSchemaChecker
from runwright.adapters.package_documents import MAX_DOCUMENT_BYTES
from runwright.adapters.package_files import examine_package
from runwright.cli.errors import ExitCode, Problem, tell
from runwright.core.package import RuntimePackage
from runwright.files import read_text


class Form(StrEnum):
    """How a package is printed."""

    JSON = "json"
    YAML = "yaml"


FormOption = Annotated[Form, typer.Option("--output", "-o", help="Form to print.")]


def package_of(file: Path) -> RuntimePackage:
    """The package in a file. Otherwise tells every fault and leaves with USAGE."""
    examined = examine_package(file, JsonSchemaChecker())
    for error in examined.found:
        tell(Problem.refused(error))
    if examined.package is None or examined.found:
        raise typer.Exit(ExitCode.USAGE)
    return examined.package


def document_of(file: Path) -> str:
    """The text of a file that is a package; see `package_of`."""
    package_of(file)
    return read_text(file, MAX_DOCUMENT_BYTES)
