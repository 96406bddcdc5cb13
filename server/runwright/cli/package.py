"""`runwright package`: looks at package files without a server, and at those that live in one."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
import yaml

from runwright.adapters.json_schema import JsonSchemaChecker
from runwright.adapters.package_files import examine_package
from runwright.cli import sanitize
from runwright.cli import stored_packages as stored
from runwright.cli.errors import ExitCode
from runwright.cli.findings import finding_text
from runwright.cli.package_files import Form, FormOption, package_of
from runwright.cli.package_tools import drift, tools
from runwright.cli.tool_servers import (
    CaOption,
    CredentialOption,
    DescribedTool,
    Dialling,
    ServerNameOption,
    TlsOption,
    described_tools,
)

app = typer.Typer(
    name="package",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Package files (needs no server) and packages in a server.",
)
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="Package file (YAML or JSON).")]


@app.command()
def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Package files (YAML or JSON).")],
    served: Annotated[
        list[str] | None,
        typer.Option("--tools", metavar="[EXECUTOR=]HOST:PORT", help="Compare with who serves the tools; repeat."),
    ] = None,
    tls: TlsOption = False,
    ca: CaOption = None,
    server_name: ServerNameOption = "",
    credential: CredentialOption = "",
) -> None:
    """Checks package files: form, limits, tool schemas.

    Prints one line for each finding with file, path inside, line and what to do.
    With --tools also what a tool server serves otherwise than a package says:
    tools it does not have, schemas, effect and idempotent that differ. MODULE:OBJECT
    in place of HOST:PORT are tools that a Python module declares.
    Exit code: 0 all are valid, 2 there are findings.

    \b
    Example:
      runwright package validate examples/workspace/package.yaml
      runwright package validate package.yaml --tools words=127.0.0.1:7761
    """
    dialling = Dialling(tls, ca, server_name, credential)
    compared = [_described(each, dialling) for each in served or ()]
    found = False
    for file in files:
        examined = examine_package(file, JsonSchemaChecker())
        findings = [*examined.found]
        for executor, source, described in compared:
            findings += drift(examined, described, executor, source)
        for error in findings:
            print(finding_text(error))
        if (package := examined.package) is not None and not findings:
            print(f"{sanitize.line(str(file))}: valid, package {package.id} of agent {package.agent.id}")
        found = found or bool(findings)
    raise typer.Exit(ExitCode.USAGE if found else ExitCode.COMPLETED)


def _described(named: str, dialling: Dialling) -> tuple[str, str, Sequence[DescribedTool]]:
    """An executor, empty for all, who serves it, and the tools there."""
    executor, equals, source = named.rpartition("=")
    if equals and not executor:
        message = "names no executor before `=`. Leave `=` out to compare all tools of the package."
        raise typer.BadParameter(message, param_hint="--tools")
    return executor, source, described_tools(source, dialling)


@app.command()
def fingerprint(file: FileArgument) -> None:
    """Prints the fingerprint of a package: what runs are pinned to.

    \b
    Example:
      runwright package fingerprint examples/workspace/package.yaml
    """
    print(package_of(file).fingerprint())


@app.command()
def show(file: FileArgument, output: FormOption = Form.YAML) -> None:
    """Prints a package in its canonical form: defaults spelled out, tools by name.

    With -o json these are the very bytes that are stored and fingerprinted.

    \b
    Example:
      runwright package show examples/workspace/package.yaml -o json
    """
    canonical = package_of(file).canonical()
    if output is Form.JSON:
        sys.stdout.write(canonical.decode())
    else:
        yaml.safe_dump(json.loads(canonical), sys.stdout, sort_keys=False)


app.command()(tools)
for _command in (stored.put, stored.get, stored.ls, stored.tag, stored.diff, stored.resolve):
    app.command(_command.__name__)(_command)
