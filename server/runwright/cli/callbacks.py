"""`runwright callbacks`: what is registered; registering an executor by hand, to find out what is wrong."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from runwright._gen.runwright.callback.v1 import callback_registry_service_pb2 as pb
from runwright.cli import names, sanitize
from runwright.cli.client import Client
from runwright.cli.connection import MAX_PEM_BYTES, option_file
from runwright.cli.output import ListFormat, ListFormatOption, RunFormat, RunFormatOption, print_json, print_yaml
from runwright.core.callbacks import MAX_CALLS_IN_FLIGHT

app = typer.Typer(
    name="callbacks",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Registered callbacks: ls, register, unregister.",
)
_HEADINGS = ("CALLBACK", "KIND", "EXECUTOR", "ADDRESS", "HEALTH", "EXPIRES", "OWNER", "TOOLS")
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the registration.")]


@app.command("ls")
def ls(
    context: typer.Context,
    executor: Annotated[str, typer.Option(metavar="NAME", help="Of this executor.")] = "",
    policy: Annotated[str, typer.Option(metavar="NAME", help="Of this policy.")] = "",
    dispatcher: Annotated[str, typer.Option(metavar="NAME", help="Of this dispatcher.")] = "",
    output: ListFormatOption = ListFormat.TABLE,
) -> None:
    """Lists registrations, by id; what is wrong with one comes below it.

    With -o json it prints all of them as one ListCallbacksResponse.

    \b
    Example:
      runwright callbacks ls
      runwright callbacks ls --executor workspace -o json
    """
    named = [each for each in (executor, policy, dispatcher) if each]
    if len(named) > 1:
        raise typer.BadParameter("one of --executor, --policy and --dispatcher", param_hint="--policy")
    kind = pb.CALLBACK_KIND_POLICY if policy else pb.CALLBACK_KIND_UNSPECIFIED
    kind = pb.CALLBACK_KIND_APPROVAL_DISPATCHER if dispatcher else kind
    listed = Client.of(context).callbacks("".join(named), kind)
    match output:
        case ListFormat.JSON:
            print_json(listed)
        case ListFormat.YAML:
            print_yaml(listed)
        case ListFormat.NAME:
            for callback in listed.callbacks:
                print(sanitize.line(callback.spec.callback_id))
        case ListFormat.TABLE:
            print("\n".join(table(listed.callbacks)))


@app.command("register")
def register(  # noqa: PLR0913, PLR0917 - its parameters are its options
    context: typer.Context,
    callback_id: IdArgument,
    executor: Annotated[str, typer.Option(metavar="NAME", help="Executor, as packages name it.")],
    address: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where it serves.")],
    tool: Annotated[list[str] | None, typer.Option(metavar="TOOL", help="A tool it performs; repeat. [any]")] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Dial with TLS, trusting public authorities.")] = False,
    ca: Annotated[Path | None, typer.Option(metavar="FILE", help="Dial with TLS, trusting these, PEM.")] = None,
    server_name: Annotated[str, typer.Option(metavar="NAME", help="Name its certificate must carry.")] = "",
    credential: Annotated[
        str,
        typer.Option(
            envvar="RUNWRIGHT_CALLBACK_CREDENTIAL", metavar="TOKEN", help="Token to show it; better in the variable."
        ),
    ] = "",
    calls: Annotated[
        int, typer.Option(min=0, max=MAX_CALLS_IN_FLIGHT, metavar="NUMBER", help="Calls it gets at once; 0: 8.")
    ] = 0,
    lease: Annotated[int, typer.Option(min=5, max=3600, metavar="SECONDS", help="How long it lasts.")] = 60,
    output: RunFormatOption = RunFormat.TEXT,
) -> None:
    """Registers an executor, or renews it; its lease is over unless it is renewed.

    \b
    Example:
      runwright callbacks register workspace-1 --executor workspace \\
        --address 127.0.0.1:7761 --lease 3600
    """
    spec = pb.CallbackSpec(
        callback_id=callback_id, executor=executor, address=address, tools=tool or (), max_calls_in_flight=calls
    )
    if tls or ca or server_name:
        spec.tls.CopyFrom(pb.CallbackTls(ca_pem=_pem(ca), server_name=server_name))
    request = pb.RegisterCallbackRequest(spec=spec, credential=credential)
    request.lease.FromSeconds(lease)
    response = Client.of(context).register(request)
    match output:
        case RunFormat.JSON:
            print_json(response)
        case RunFormat.YAML:
            print_yaml(response)
        case RunFormat.NAME:
            print(sanitize.line(response.callback.spec.callback_id))
        case RunFormat.TEXT:
            print("\n".join(table([response.callback])))


@app.command("unregister")
def unregister(context: typer.Context, callback_id: IdArgument) -> None:
    """Ends a registration. Calls under way may still answer.

    \b
    Example:
      runwright callbacks unregister workspace-1
    """
    Client.of(context).unregister(callback_id)
    print(f"callback {sanitize.line(callback_id)} is no longer registered")


def table(callbacks: Sequence[pb.Callback]) -> list[str]:
    """A line for each below one of headings, and what is wrong with it."""
    cells = [_HEADINGS, *(_cells(callback) for callback in callbacks)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    shown = lines[:1]
    for line, callback in zip(lines[1:], callbacks, strict=True):
        shown.append(line)
        if callback.health_detail:
            shown.append(sanitize.line(f"  {callback.health_detail}"))
        shown += [f"  {unused_text(unused)}" for unused in callback.unused_tools]
    return shown


def unused_text(unused: pb.UnusedTool) -> str:
    """For which tool a registration is not used, and why."""
    said, wanted = unused.schema_digest, unused.package_schema_digest
    at, package = names.clock(unused.wanted_at), unused.package_fingerprint
    return sanitize.line(
        f"not used for {unused.tool}: its schema is {said}, and {wanted} in package {package}, last wanted at {at}"
    )


def _cells(callback: pb.Callback) -> tuple[str, ...]:
    spec = callback.spec
    address = f"{spec.address} (TLS)" if spec.HasField("tls") else spec.address
    none = "-" if spec.kind == pb.CALLBACK_KIND_POLICY else "any"
    expires, tools = names.clock(callback.expires_at), ", ".join(spec.tools) or none
    kind, health = names.callback_kind(spec.kind), names.health(callback.health)
    row = (spec.callback_id, kind, spec.executor, address, health, expires, callback.owner, tools)
    return tuple(sanitize.line(cell) for cell in row)


def _pem(path: Path | None) -> bytes:
    if path is None:
        return b""
    return option_file(path, "--ca", MAX_PEM_BYTES).removeprefix(codecs.BOM_UTF8)
