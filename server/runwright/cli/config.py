"""`runwright config`: what a server would be started with, and whether it could be."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from runwright.adapters.json_schema import JsonSchemaChecker
from runwright.adapters.package_files import examine_package
from runwright.cli import clean
from runwright.cli.errors import ExitCode
from runwright.cli.package import finding_line
from runwright.cli.settings_options import takes_settings
from runwright.core.package import RuntimePackage
from runwright.settings import Finding, Loaded

app = typer.Typer(
    name="config", no_args_is_help=True, rich_markup_mode=None, help="Look at the configuration of a server."
)


class Form(StrEnum):
    """How the values are printed."""

    TABLE = "table"
    JSON = "json"


@app.command()
@takes_settings
def show(
    loaded: Loaded,
    origin: Annotated[bool, typer.Option("--origin", help="Say where each value came from.")] = False,
    output: Annotated[Form, typer.Option("--output", "-o", help="Form to print.")] = Form.TABLE,
) -> None:
    """Prints every setting as `serve` would use it. Secrets are never printed.

    Takes the flags of `serve`. What is wrong goes to standard error.
    Exit code: 0, or 2 when the settings cannot be used.

    \b
    Example:
      runwright config show --origin --config runwright.toml
    """
    values = loaded.values
    if output is Form.JSON:
        plain = {n: {"value": v.plain, "origin": v.origin} if origin else v.plain for n, v in values.items()}
        print(json.dumps(plain, indent=2))
    else:
        widest = max(len(value.text) for value in values.values())
        for name, value in values.items():
            row = f"{name:<22} {value.text:<{widest}}  {value.origin}" if origin else f"{name:<22} {value.text}"
            print(clean.block(row).rstrip())
    for finding in loaded.findings:
        print(f"error: {finding_text(finding)}", file=sys.stderr)
    raise typer.Exit(ExitCode.USAGE if loaded.findings else ExitCode.COMPLETED)


@app.command()
@takes_settings
def check(loaded: Loaded) -> None:
    """Reads the configuration, every package and its schemas; opens nothing.

    Takes the flags of `serve` and prints every finding. A warning is something
    that the server starts with all the same.
    Exit code: 0 can be used, 2 cannot.

    \b
    Example:
      runwright config check --config runwright.toml
    """
    errors = [finding_text(finding) for finding in loaded.findings]
    packages: list[tuple[Path, RuntimePackage]] = []
    for path in package_paths(loaded):
        package, found = examine_package(path, JsonSchemaChecker())
        errors += [finding_line(error) for error in found]
        if package is not None:
            packages.append((path, package))
    errors += _among(loaded, packages)
    for error in errors:
        print(f"error: {clean.line(error)}")
    for warning in _unconnected(loaded, packages):
        print(f"warning: {clean.line(warning)}")
    if errors:
        raise typer.Exit(ExitCode.USAGE)
    print(clean.line(f"ok: {loaded.config or 'no file'}, {len(packages)} package(s)"))


def finding_text(finding: Finding) -> str:
    """A finding in one line, with what to do."""
    return clean.line(f"{finding.message} {finding.remedy}")


def package_paths(loaded: Loaded) -> tuple[Path, ...]:
    """The package files, as far as they are known."""
    paths = loaded.value("packages")
    return paths if isinstance(paths, tuple) else ()


def _among(loaded: Loaded, packages: list[tuple[Path, RuntimePackage]]) -> Iterator[str]:
    """What is wrong with the packages taken together."""
    seen: dict[str, Path] = {}
    for path, package in packages:
        if package.id in seen:
            yield f"{path}: id: package {package.id} is in {seen[package.id]} already; give it another id."
        seen.setdefault(package.id, path)
    default = loaded.values.get("default_package")
    if default is not None and default.value is not None and packages and default.value not in seen:
        known = ", ".join(seen)
        yield clean.line(f"{default.origin}: default_package must be the id of a package that is given: {known}.")


def _unconnected(loaded: Loaded, packages: list[tuple[Path, RuntimePackage]]) -> Iterator[str]:
    """Executors that tools name and nobody can find; a server starts without them, their calls wait."""
    executors = loaded.value("executors")
    known = executors if isinstance(executors, dict) else {}
    for path, package in packages:
        for name in sorted({tool.executor for tool in package.tools} - set(known)):
            yield f"{path}: executor {name} has no address: give --executor {name}=HOST:PORT or write [executors]."
