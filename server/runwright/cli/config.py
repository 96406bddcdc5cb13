"""`runwright config`: what a server would be started with, and whether it could be."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from runwright.cli import sanitize
from runwright.cli.errors import ExitCode, Problem, tell
from runwright.cli.findings import finding_lines
from runwright.cli.settings_options import takes_settings
from runwright.core.errors import ErrorReason
from runwright.examination import examine
from runwright.settings import Loaded

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
            print(sanitize.block(row).rstrip())
    for finding in loaded.findings:
        tell(Problem(ErrorReason.INVALID_REQUEST.name, finding.message, finding.remedy))
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
    examined = examine(loaded)
    for line in finding_lines(examined):
        print(line)
    if examined.blocking:
        raise typer.Exit(ExitCode.USAGE)
    print(sanitize.line(f"ok: {loaded.config or 'no file'}, {len(examined.packages)} package(s)"))
