"""`runwright audit`: what happened outside of every run, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.cli import sanitize
from runwright.cli.client import Client
from runwright.cli.output import EntryFormat, print_json, print_yaml

_HEADINGS = ("TIME", "KIND", "COUNT", "PRINCIPAL", "NAMESPACE", "METHOD", "REASON", "SUBJECTS")


def audit(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, metavar="COUNT", help="At most so many.")] = 50,
    output: Annotated[
        EntryFormat, typer.Option("--output", "-o", help="Print for people or for programs.")
    ] = EntryFormat.TABLE,
) -> None:
    """Lists who was turned away, and what was removed or held, newest first.

    Calls without a known key or without the role, keys that ended, refused starts
    and registrations; not calls that were refused for what they ask.
    Needs the role admin. -o json and -o yaml print one ListAuditEventsResponse,
    whose next_page_token is set when there are more.

    \b
    Example:
      runwright audit --limit 20
    """
    listed = pb.ListAuditEventsResponse()
    for page in Client.of(context).audit(limit):
        listed.events.extend(page.events)
        listed.next_page_token = page.next_page_token
    if output is EntryFormat.JSON:
        print_json(listed)
    elif output is EntryFormat.YAML:
        print_yaml(listed)
    else:
        print("\n".join(table(listed.events)))


def table(events: Sequence[pb.AuditEvent]) -> list[str]:
    """A line for each event below one of headings, in columns as wide as they need to be."""
    cells = [_HEADINGS, *(_cells(event) for event in events)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEADINGS))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _cells(event: pb.AuditEvent) -> tuple[str, ...]:
    row = (
        event.time.ToDatetime().strftime("%Y-%m-%d %H:%M:%SZ"),
        _kind(event.kind),
        str(event.count),
        event.principal or "-",
        event.namespace or "-",
        event.method.rpartition("/")[2] or "-",
        event.reason or "-",
        " ".join(event.subjects) or "-",
    )
    return tuple(sanitize.line(cell) for cell in row)


def _kind(number: int) -> str:
    if number not in pb.AuditKind.values():
        return str(number)
    return pb.AuditKind.Name(pb.AuditKind.ValueType(number)).removeprefix("AUDIT_KIND_")
