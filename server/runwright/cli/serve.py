"""`runwright serve`: the server itself."""

from __future__ import annotations

import asyncio
import sys

import typer

from runwright.adapters.log import StandardLog, configure_logging
from runwright.cli import sanitize
from runwright.cli.settings_options import takes_settings
from runwright.cli.standard_streams import outlive_readers
from runwright.core.errors import AgentError
from runwright.settings import Loaded

UNUSABLE = 2
CUT_OFF = 3


@takes_settings
def serve(loaded: Loaded) -> None:
    """Runs the server until SIGTERM.

    A flag comes before the environment (RUNWRIGHT_LISTEN and so on), that before
    the configuration file, that before the default.

    \b
    Example:
      runwright serve --data .runwright/data \\
        --package examples/workspace/package.yaml \\
        --executor workspace=127.0.0.1:7761
    """
    from runwright import bootstrap  # noqa: PLC0415 - the other commands need not load the server
    from runwright.cli.findings import finding_lines  # noqa: PLC0415
    from runwright.examination import examine  # noqa: PLC0415

    outlive_readers()
    examined = examine(loaded)
    if examined.blocking:
        for line in finding_lines(examined):
            typer.echo(line, err=True)
        raise typer.Exit(UNUSABLE)
    configure_logging()
    for finding in examined.findings:
        StandardLog().warning(finding.message, remedy=finding.remedy)
    try:
        settings = loaded.settings()
        if settings.insecure_allow_remote:
            StandardLog().warning("--insecure-allow-remote: what TLS and keys do not guard is open to anyone")
        serving = bootstrap.serve(
            settings, _announce, packages=examined.packages, reread=lambda: loaded.again().settings()
        )
        settled = asyncio.run(serving)
    except AgentError as error:
        typer.echo(f"error: {sanitize.line(f'{error.message} {error.remedy}')}", err=True)
        raise typer.Exit(UNUSABLE) from None
    if not settled:
        raise typer.Exit(CUT_OFF)
    sys.stdout.flush()


def _announce(address: str) -> None:
    sys.stdout.write(f"runwright serving on {address}\n")
    sys.stdout.flush()
