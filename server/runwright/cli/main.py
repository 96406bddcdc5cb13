"""The program `runwright`: its commands, its one global option, and how it ends when a call fails."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from runwright import __version__
from runwright.cli.commands import DEFAULT_SERVER
from runwright.cli.connection import Connection
from runwright.cli.errors import ExitCode, Problem
from runwright.cli.lazy import lazy_group
from runwright.cli.standard_streams import sanitize_standard_streams

_COMMANDS = {
    "run": "runwright.cli.run:run",
    "chat": "runwright.cli.chat:chat",
    "watch": "runwright.cli.watch:watch",
    "wait": "runwright.cli.wait:wait",
    "ls": "runwright.cli.ls:ls",
    "get": "runwright.cli.inspect_run:get",
    "explain": "runwright.cli.explain:explain",
    "events": "runwright.cli.inspect_run:events",
    "export": "runwright.cli.export:export",
    "verify": "runwright.cli.export:verify",
    "audit": "runwright.cli.audit:audit",
    "cancel": "runwright.cli.inspect_run:cancel",
    "held": "runwright.cli.held:app",
    "backup": "runwright.cli.backup:backup",
    "restore": "runwright.cli.backup:restore",
    "serve": "runwright.cli.serve:serve",
    "doctor": "runwright.cli.doctor:doctor",
    "callbacks": "runwright.cli.callbacks:app",
    "config": "runwright.cli.config:app",
    "package": "runwright.cli.package:app",
    "keys": "runwright.cli.keys:keys",
}

app = typer.Typer(
    name="runwright",
    cls=lazy_group(_COMMANDS),
    no_args_is_help=True,
    # Plain help: it fits 80 columns, needs no colours, and examples keep their lines.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"runwright {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    server: Annotated[
        str, typer.Option(envvar="RUNWRIGHT_SERVER", metavar="HOST:PORT", help="Server to talk to.")
    ] = DEFAULT_SERVER,
    key: Annotated[
        str, typer.Option(envvar="RUNWRIGHT_KEY", metavar="KEY", help="Key to call with; better in the variable.")
    ] = "",
    tls_ca: Annotated[
        Path | None, typer.Option(envvar="RUNWRIGHT_TLS_CA", help="Use TLS; trust this authority, PEM.")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(envvar="RUNWRIGHT_TLS_CERT", help="Client certificate, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(envvar="RUNWRIGHT_TLS_KEY", help="Its key, PEM.")] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Durable agent runs: start them, watch them, look at them, end them.

    \b
    Example:
      runwright run "What is in this directory?"
    """
    host, colon, port = server.rpartition(":")
    if not (host and colon and port.isdigit()):
        raise typer.BadParameter(f"{server!r} is not of the form HOST:PORT", param_hint="--server")
    key = key.strip("\ufeff \t\r\n")  # a variable that was read from a file has what stands around it
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise typer.BadParameter("must be a key as `keys add` printed it", param_hint="--key or RUNWRIGHT_KEY")
    context.obj = Connection(server, key, tls_ca, tls_cert, tls_key)


def main() -> None:
    """Runs the command line and exits."""
    sanitize_standard_streams()
    try:
        app()
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(ExitCode.CALL_FAILED)
    except UnicodeEncodeError:  # a word of the command line with stray bytes, on its way into a message
        _refuse("the arguments must be valid UTF-8")
    except OSError as error:
        _refuse(f"{error.filename or 'standard output'}: {error.strerror or error}")


def _refuse(told: str) -> NoReturn:
    print(f"error: {told}", file=sys.stderr)
    sys.exit(ExitCode.USAGE)
