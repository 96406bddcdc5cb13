"""`runwright serve`: the server itself."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from runwright.adapters.log import configure_logging
from runwright.core.errors import AgentError
from runwright.settings import (
    DEFAULT_LISTEN,
    DEFAULT_PROVIDER_TIMEOUT_SECONDS,
    Settings,
    parse_executors,
    parse_providers,
)

UNUSABLE = 2
CUT_OFF = 3


def serve(  # noqa: PLR0913, PLR0917 - one parameter per option
    data: Annotated[Path, typer.Option(help="Directory of the journal; made if missing.")],
    package: Annotated[list[Path], typer.Option(help="Package file (YAML or JSON); repeat for more.")],
    listen: Annotated[str, typer.Option(help="Address to serve on; port 0 lets the system choose.")] = DEFAULT_LISTEN,
    default_package: Annotated[
        str | None, typer.Option(help="Id of the package that answers requests without one. [default: the first]")
    ] = None,
    executor: Annotated[
        list[str] | None, typer.Option(help="Where an executor is: NAME=HOST:PORT; repeat for more.")
    ] = None,
    provider: Annotated[
        list[str] | None,
        typer.Option(help="Real models: openai=KEYENV[@URL], or anthropic, ollama. KEYENV names the key's variable."),
    ] = None,
    provider_timeout: Annotated[
        float, typer.Option(help="Seconds one request to a real model may take.", min=0.1)
    ] = DEFAULT_PROVIDER_TIMEOUT_SECONDS,
    grace: Annotated[
        float, typer.Option(help="Seconds SIGTERM waits for calls that must not be repeated.", min=0)
    ] = 20.0,
    journal_max_bytes: Annotated[
        int | None, typer.Option(help="Bound on the journal's size in bytes. [default: the disk]", min=65_536)
    ] = None,
    keys: Annotated[Path | None, typer.Option(help="Keys file; without it everyone is `local`.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="The server's certificate chain, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    tls_client_ca: Annotated[
        Path | None, typer.Option(help="Clients must show a certificate of this authority, PEM.")
    ] = None,
    insecure_allow_remote: Annotated[
        bool, typer.Option(help="Bind other addresses than loopback although TLS or keys are missing.")
    ] = False,
) -> None:
    """Runs the server until SIGTERM.

    Example: runwright serve --data .runwright/data --package examples/workspace/package.yaml
    --executor workspace=127.0.0.1:7761
    """
    from runwright import bootstrap  # noqa: PLC0415 - the other commands need not load the server

    configure_logging()
    try:
        settings = Settings(
            data=data,
            listen=listen,
            packages=tuple(package),
            default_package=default_package,
            executors=parse_executors(executor or []),
            providers=parse_providers(provider or [], provider_timeout),
            drain_grace_seconds=grace,
            journal_max_bytes=journal_max_bytes,
            keys=keys,
            tls_cert=tls_cert,
            tls_key=tls_key,
            tls_client_ca=tls_client_ca,
            insecure_allow_remote=insecure_allow_remote,
        )
        if insecure_allow_remote:
            typer.echo("warning: --insecure-allow-remote: what TLS and keys do not guard is open to anyone", err=True)
        settled = asyncio.run(bootstrap.serve(settings, _announce))
    except AgentError as error:
        typer.echo(f"error: {error.message} {error.meaning.remedy}", err=True)
        raise typer.Exit(UNUSABLE) from None
    if not settled:
        typer.echo("warning: calls that must not be repeated were still open; their runs may need repair", err=True)
        raise typer.Exit(CUT_OFF)


def _announce(address: str) -> None:
    sys.stdout.write(f"runwright serving on {address}\n")
    sys.stdout.flush()
