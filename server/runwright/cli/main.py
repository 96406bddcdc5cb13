"""The program `runwright`: its commands, its one global option, and how it ends when a call fails."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from runwright import __version__
from runwright.cli.commands import DEFAULT_SERVER
from runwright.cli.connection import Connection, connection
from runwright.cli.errors import ExitCode, Problem, tell
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
    "info": "runwright.cli.info:info",
    "audit": "runwright.cli.audit:audit",
    "cancel": "runwright.cli.inspect_run:cancel",
    "approvals": "runwright.cli.approvals:app",
    "grants": "runwright.cli.grants:app",
    "resume": "runwright.cli.resume:resume",
    "effects": "runwright.cli.effects:app",
    "held": "runwright.cli.held:app",
    "backup": "runwright.cli.backup:backup",
    "restore": "runwright.cli.backup:restore",
    "serve": "runwright.cli.serve:serve",
    "doctor": "runwright.cli.doctor:doctor",
    "callbacks": "runwright.cli.callbacks:app",
    "config": "runwright.cli.config:app",
    "init": "runwright.cli.init:init",
    "package": "runwright.cli.package:app",
    "policy": "runwright.cli.policy:app",
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
    options = {"server": server, "key": key, "ca": tls_ca, "certificate": tls_cert, "certificate_key": tls_key}
    context.obj = connection(options, Connection())


def main() -> None:
    """Runs the command line and exits."""
    sanitize_standard_streams()
    try:
        sys.exit(app(standalone_mode=False) or ExitCode.COMPLETED)
    except Problem as problem:
        _end(_explained(problem))
    except typer.TyperException as error:
        from runwright.cli.usage import shows_help, usage_problem  # noqa: PLC0415 - most command lines are right

        if shows_help(error):
            sys.exit(ExitCode.USAGE)
        _end(usage_problem(error, sys.argv[1:]))
    except UnicodeEncodeError:  # a word of the command line with stray bytes, on its way into a message
        _end(_misused("The arguments must be valid UTF-8.", "Encode what is not text, such as in base64."))
    except OSError as error:
        message = f"{error.filename or 'standard output'}: {error.strerror or error}."
        _end(
            _misused(
                message, "Make room there." if error.errno == errno.ENOSPC else "Check that path and who may use it."
            )
        )


def _misused(message: str, remedy: str) -> Problem:
    return Problem("USAGE", message, remedy, exit_code=ExitCode.USAGE)


def _explained(problem: Problem) -> Problem:
    """The problem; one of which nobody said what it is, with what a look at the address finds."""
    if not problem.unexplained or problem.connection is None:
        return problem
    from runwright.cli import diagnosis  # noqa: PLC0415

    is_unimplemented = problem.reason == "UNIMPLEMENTED"
    found = (diagnosis.another_service if is_unimplemented else diagnosis.look)(problem.connection)
    if found is None:  # what answers there is what should
        return problem
    return Problem(problem.reason, found.message, found.remedy, passing=problem.passing)


def _end(problem: Problem) -> NoReturn:
    tell(problem)
    sys.exit(problem.exit_code)
