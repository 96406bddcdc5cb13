"""`runwright package put|get|ls|tag|diff|resolve`: packages that live in a server."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
import yaml

from runwright._gen.runwright.v1 import package_pb2
from runwright._gen.runwright.v1 import package_service_pb2 as pb
from runwright.cli import names, sanitize
from runwright.cli.client import Client
from runwright.cli.errors import ExitCode
from runwright.cli.output import (
    ListFormat,
    ListFormatOption,
    RunFormat,
    RunFormatOption,
    print_json,
    print_yaml,
)
from runwright.cli.package_files import Form, FormOption, SidecarsOption, document_of, package_of, write_sidecars

_HEADINGS = ("PACKAGE", "AGENT", "TAGS", "SOURCE", "PUT BY", "PUT AT", "FINGERPRINT")
_MOVES = ("POINTED TO", "PACKAGE", "FROM", "MOVED BY", "BEFORE")
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Package in the server: its id, @TAG or sha256: fingerprint.")
]
ExpectOption = Annotated[
    str | None,
    typer.Option(metavar="FINGERPRINT", help="Move the tag only if it points there now; `none`: to nothing yet."),
]
RequestOption = Annotated[
    str, typer.Option("--request-id", metavar="ID", help="Your id of this request; sent again it changes nothing.")
]


def put(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Package file (YAML or JSON).")],
    tag: Annotated[str, typer.Option(metavar="TAG", help="Tag to point to it.")] = "",
    expect: ExpectOption = None,
    request_id: RequestOption = "",
    output: RunFormatOption = RunFormat.TEXT,
) -> None:
    """Puts a package into the server. Runs that have started keep theirs.

    Everything that is wrong with the file is printed first, as `validate` does;
    nothing is sent then. From now on its id means this package, unless the
    server was started with a file of that id.

    \b
    Example:
      runwright package put package.yaml --tag prod
    """
    document, sidecars = document_of(file)
    request = pb.PutPackageRequest(document=document, sidecars=sidecars, tag=tag, request_id=request_id)
    if expect is not None:
        request.expected_previous_fingerprint = "" if expect == "none" else expect
    response = Client.of(context).put_package(request)
    match output:
        case RunFormat.JSON:
            print_json(response)
        case RunFormat.YAML:
            print_yaml(response)
        case RunFormat.NAME:
            print(sanitize.line(response.package.fingerprint))
        case RunFormat.TEXT:
            what = "put" if response.created else "was there already:"
            print(sanitize.line(f"{what} {response.package.package_id} {response.package.fingerprint}"))
            if tag:
                print(sanitize.line(f"{tag}: {response.previous_fingerprint or 'nothing'} -> this"))


def get(
    context: typer.Context, name: NameArgument, output: FormOption = Form.YAML, sidecars: SidecarsOption = None
) -> None:
    """Prints a package of the server in its canonical form.

    With -o json these are the very bytes that are fingerprinted. Schemas that it
    names by digest are written with --sidecars.

    \b
    Example:
      runwright package get @prod
      runwright package get @prod --sidecars sidecars > package.yaml
    """
    found = Client.of(context).package(names.selector(name))
    canonical = found.canonical_json
    if sidecars is not None:
        write_sidecars(sidecars, found.sidecars)
    elif found.sidecars:
        message = f"it names {len(found.sidecars)} schemas by digest: --sidecars DIR writes them"
        print(message, file=sys.stderr)
    if output is Form.JSON:
        sys.stdout.write(canonical.decode())
    else:
        sys.stdout.write(_yaml(canonical))


def ls(
    context: typer.Context,
    package_id: Annotated[str, typer.Option("--id", metavar="ID", help="Only those with this id.")] = "",
    output: ListFormatOption = ListFormat.TABLE,
) -> None:
    """Lists the packages of the server: its files first, then what was put, newest first.

    \b
    Example:
      runwright package ls
    """
    listed = Client.of(context).packages(package_id)
    match output:
        case ListFormat.JSON:
            print_json(listed)
        case ListFormat.YAML:
            print_yaml(listed)
        case ListFormat.NAME:
            for package in listed.packages:
                print(sanitize.line(package.fingerprint))
        case ListFormat.TABLE:
            print("\n".join(_table([_HEADINGS, *(_cells(package) for package in listed.packages)])))


def tag(
    context: typer.Context,
    tag: Annotated[str, typer.Argument(metavar="TAG", help="The tag.")],
    fingerprint: Annotated[
        str, typer.Argument(metavar="[FINGERPRINT]", help="Where it is to point. [where it has pointed is listed]")
    ] = "",
    expect: ExpectOption = None,
    request_id: RequestOption = "",
    output: ListFormatOption = ListFormat.TABLE,
) -> None:
    """Points a tag to a package that was put, or lists where it has pointed.

    \b
    Example:
      runwright package tag prod sha256:runwright-package-v0:…
      runwright package tag prod
    """
    client = Client.of(context)
    if not fingerprint:
        _history(client.tag_history(tag), output)
        return
    request = pb.TagPackageRequest(tag=tag, fingerprint=fingerprint, request_id=request_id)
    if expect is not None:
        request.expected_previous_fingerprint = "" if expect == "none" else expect
    response = client.tag_package(request)
    match output:
        case ListFormat.JSON:
            print_json(response)
        case ListFormat.YAML:
            print_yaml(response)
        case ListFormat.NAME:
            print(sanitize.line(response.package.fingerprint))
        case ListFormat.TABLE:
            print(sanitize.line(f"{tag}: {response.previous_fingerprint or 'nothing'} -> {fingerprint}"))


def diff(
    context: typer.Context,
    first: Annotated[str, typer.Argument(metavar="NAME|FILE", help="A package of the server, or a file.")],
    second: Annotated[str, typer.Argument(metavar="NAME|FILE", help="The other.")],
) -> None:
    """Shows in which fields two packages differ, in their canonical forms.

    Exit code: 0 they are the same, 1 they differ.

    \b
    Example:
      runwright package diff @prod package.yaml
    """
    lines = list(_difference(context, first, second))
    for line in lines:
        print(line)  # whose indentation says where it belongs
    raise typer.Exit(ExitCode.FAILED if lines else ExitCode.COMPLETED)


def resolve(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Id, @TAG or fingerprint. [the default]")] = "",
    rounds: Annotated[int, typer.Option(min=0, help="As a run would ask for.")] = 0,
    tool_calls: Annotated[int, typer.Option(min=0, help="As a run would ask for.")] = 0,
    output: RunFormatOption = RunFormat.TEXT,
) -> None:
    """Says what a run would be: limits, tools as the model sees them, what is missing.

    \b
    Example:
      runwright package resolve @prod --rounds 4
    """
    request = pb.ResolvePackageRequest(budget=package_pb2.Budget(rounds=rounds, tool_calls=tool_calls))
    if name:
        request.package.CopyFrom(names.selector(name))
    found = Client.of(context).resolve_package(request)
    match output:
        case RunFormat.JSON:
            print_json(found)
        case RunFormat.YAML:
            print_yaml(found)
        case RunFormat.NAME:
            print(sanitize.line(found.summary.fingerprint))
        case RunFormat.TEXT:
            print("\n".join(sanitize.line(line) for line in _resolved(found)))


def _resolved(found: pb.ResolvePackageResponse) -> Iterator[str]:
    budget = found.effective.budget
    yield f"package: {found.summary.package_id} {found.summary.fingerprint}"
    yield f"agent: {found.summary.agent_id}"
    yield f"budget: {budget.rounds} rounds, {budget.tool_calls} tool calls, {budget.parallel_calls} at once"
    for tool in found.model_tools:
        yield f"tool {tool.name}: {tool.description or 'without a description'}"
    for executor in found.missing_executors:
        yield f"missing: executor {executor}: nobody serves it at the moment"
    for adapter in found.missing_adapters:
        yield f"missing: provider adapter {adapter}: this server does not have it"


def _history(found: pb.ListTagHistoryResponse, output: ListFormat) -> None:
    match output:
        case ListFormat.JSON:
            print_json(found)
        case ListFormat.YAML:
            print_yaml(found)
        case ListFormat.NAME:
            for move in found.moves:
                print(sanitize.line(move.fingerprint))
        case ListFormat.TABLE:
            print("\n".join(_table([_MOVES, *(_move(move) for move in found.moves)])))


def _difference(context: typer.Context, first: str, second: str) -> Iterator[str]:
    before, after = (_yaml(_canonical(context, name)).splitlines() for name in (first, second))
    return difflib.unified_diff(before, after, fromfile=first, tofile=second, lineterm="")


def _canonical(context: typer.Context, name: str) -> bytes:
    if Path(name).exists():
        return package_of(Path(name)).canonical()
    return Client.of(context).package(names.selector(name)).canonical_json


def _yaml(canonical: bytes) -> str:
    return str(yaml.safe_dump(json.loads(canonical), sort_keys=False))


def _cells(package: pb.PackageSummary) -> tuple[str, ...]:
    put_at = names.clock(package.put_time) if package.HasField("put_time") else ""
    source = "stored" if package.source == pb.PACKAGE_SOURCE_STORED else "file"
    tags = ", ".join(package.tags)
    row = (package.package_id, package.agent_id, tags, source, package.put_by, put_at, package.fingerprint)
    return tuple(sanitize.line(cell) for cell in row)


def _move(move: pb.TagMove) -> tuple[str, ...]:
    before = move.previous_fingerprint or "nothing"
    row = (move.fingerprint, move.package_id, names.clock(move.time), move.moved_by, before)
    return tuple(sanitize.line(cell) for cell in row)


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
