"""`runwright info`: what a server can run, and the limits it holds callers to."""

from __future__ import annotations

from collections.abc import Iterator

import typer

from runwright._gen.runwright.v1 import package_pb2
from runwright._gen.runwright.v1 import runtime_service_pb2 as pb
from runwright.cli import names, sanitize
from runwright.cli.client import Client
from runwright.cli.output import EntryFormat, EntryFormatOption, print_json, print_yaml

MOST_TOOLS = 8  # named in the table


def info(context: typer.Context, output: EntryFormatOption = EntryFormat.TABLE) -> None:
    """Shows a server's packages with their agents, models and tools, and its limits.

    With -o json it prints one GetServerInfoResponse, with the packages of all pages.

    \b
    Example:
      runwright info
    """
    found = Client.of(context).info()
    match output:
        case EntryFormat.JSON:
            print_json(found)
        case EntryFormat.YAML:
            print_yaml(found)
        case EntryFormat.TABLE:
            for name, value in facts(found):
                print(f"{name:<10} {sanitize.line(value)}".rstrip())


def facts(found: pb.GetServerInfoResponse) -> Iterator[tuple[str, str]]:
    """What is said, each with what it is about; further lines of the same have no name."""
    yield "server", f"Runwright {found.version}, journal {found.incarnation}"
    yield "adapters", ", ".join(found.providers)
    for known in found.packages:
        package = known.package
        default = " (the default)" if known.is_default else ""
        yield "package", f"{package.package_id}{default}, {known.fingerprint}"
        yield "  agent", f"{package.agent.agent_id}{f': {package.agent.name}' if package.agent.name else ''}"
        yield "  model", ", else ".join(_route(route) for route in (package.provider, *package.fallbacks))
        yield "  tools", _tools(package)
        budget = package.budget
        most = f"{names.counted(budget.rounds, 'round')}, {names.counted(budget.tool_calls, 'tool call')}"
        yield "  budget", f"{most}, {budget.parallel_calls} at once; {_policies(package)}"
    for index, (name, limit) in enumerate(sorted(found.limits.items())):
        yield "" if index else "limits", f"{name} {limit}"


def _route(route: package_pb2.ProviderRoute) -> str:
    return f"{route.model} ({route.adapter})"


def _tools(package: package_pb2.RuntimePackage) -> str:
    named = [f"{tool.name} at {tool.executor}" for tool in package.tools[:MOST_TOOLS]]
    more = len(package.tools) - MOST_TOOLS
    return ", ".join(named) + (f" and {more} more" if more > 0 else "") or "none"


def _policies(package: package_pb2.RuntimePackage) -> str:
    """What decides: built-in policies by name, rules by their number."""
    if not package.policies:
        return package.policy
    said = [
        each.builtin or (f"remote {each.remote}" if each.remote else "") or names.counted(len(each.rules), "rule")
        for each in package.policies
    ]
    return ", ".join(said)
