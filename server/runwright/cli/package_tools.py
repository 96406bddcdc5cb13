"""`runwright package tools`, and what differs between a package and those who serve its tools."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer
import yaml

from runwright.adapters.package_files import PackageFile
from runwright.adapters.package_rules import Rule
from runwright.cli import sanitize
from runwright.cli.errors import ExitCode
from runwright.cli.package_files import Form, FormOption, SidecarsOption, write_sidecars
from runwright.cli.tool_servers import (
    CaOption,
    CredentialOption,
    DescribedTool,
    Dialling,
    ServerNameOption,
    TlsOption,
    described_tools,
)
from runwright.core.errors import AgentError
from runwright.core.fingerprint import canonical_json
from runwright.core.package import RuntimePackage, ToolSpec
from runwright.core.schema_digests import schema_digest

MOST_DIFFERENCES = 20  # of one tool's schema
_NO_SCHEMA = "tool {}: its host does not say its schema; no entry is written. Declare it there, or write it by hand."
_NO_EFFECT = "tool {}: its host does not say what a call can do; `write` is written, which is never repeated."
_TAKE = "Write what the tool server has, or serve what the package says; `runwright package tools` prints it."
_ABSENT = object()


def tools(
    from_: Annotated[
        str, typer.Option("--from", metavar="HOST:PORT|MODULE:OBJECT", help="Who serves the tools, or declares them.")
    ],
    executor: Annotated[str, typer.Option(metavar="NAME", help="Executor that the entries name.")],
    tls: TlsOption = False,
    ca: CaOption = None,
    server_name: ServerNameOption = "",
    credential: CredentialOption = "",
    sidecars: SidecarsOption = None,
    output: FormOption = Form.YAML,
) -> None:
    """Prints the tool entries of a package, as a tool server or a Python object has them.

    A tool server of the Python, Go or TypeScript client tells them over the wire.
    With --sidecars the schemas are written there, and the entries name digests.
    Exit code: 0 all are printed, 1 some have no schema and are left out.

    \b
    Example:
      runwright package tools --from 127.0.0.1:7761 --executor workspace
      runwright package tools --from tools:server --executor words
    """
    found = described_tools(from_, Dialling(tls, ca, server_name, credential))
    entries = []
    for tool in found:
        if tool.schema is None:
            print(sanitize.line(_NO_SCHEMA.format(tool.name)), file=sys.stderr)
            continue
        if not tool.effect:
            print(sanitize.line(_NO_EFFECT.format(tool.name)), file=sys.stderr)
        entries.append(_entry(tool, executor, has_sidecars=sidecars is not None))
    if sidecars is not None:
        write_sidecars(sidecars, [canonical_json(tool.schema) for tool in found if tool.schema is not None])
    if output is Form.JSON:
        print(json.dumps({"tools": entries}, indent=2, ensure_ascii=False))
    else:
        yaml.dump({"tools": entries}, sys.stdout, _Dumper, sort_keys=False, allow_unicode=True, width=100)
    raise typer.Exit(ExitCode.COMPLETED if len(entries) == len(found) else ExitCode.FAILED)


def _entry(tool: DescribedTool, executor: str, *, has_sidecars: bool) -> dict[str, Any]:
    effect = tool.effect or "write"
    entry: dict[str, Any] = {"name": tool.name}
    if tool.description:
        entry["description"] = tool.description
    entry |= {"executor": executor, "effect": effect}
    if tool.idempotent is not None and tool.idempotent != (effect == "read"):
        entry["idempotent"] = tool.idempotent
    assert tool.schema is not None, "an entry has a schema"
    if has_sidecars:
        return {**entry, "schema_digest": schema_digest(tool.schema)}
    return {**entry, "parameters": tool.schema}


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.2, which packages are read by, takes for a number, and PyYAML for a text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = '"' if text[:1] in "0123456789+-." else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _text)


def drift(file: PackageFile, served: Sequence[DescribedTool], executor: str, source: str) -> Iterator[AgentError]:
    """What a package says of an executor's tools, all of them without a name, that those who serve them do not."""
    by_name = {tool.name: tool for tool in served}
    package = file.package
    if package is None:
        return  # what is wrong with it comes first
    wanted = [(index, tool) for index, tool in enumerate(package.tools) if executor in ("", tool.executor)]
    if executor and not wanted:
        remedy = "Name one of the package's executors before `=`, or leave both out to compare all tools."
        yield file.finding(("tools",), Rule(f"a tool of executor {executor}, which --tools names", remedy))
    for index, tool in wanted:
        at = ("tools", index)
        found = by_name.get(tool.name)
        if found is None:
            names = ", ".join(by_name) or "none"
            remedy = f"Serve it there, or remove it; there are: {names}."
            yield file.finding((*at, "name"), Rule(f"a tool that {source} serves, and there is no {tool.name}", remedy))
            continue
        yield from (file.finding((*at, *where), rule) for where, rule in _differences(package, tool, found, source))


def _differences(
    package: RuntimePackage, tool: ToolSpec, found: DescribedTool, source: str
) -> Iterator[tuple[Sequence[str | int], Rule]]:
    if found.effect and found.effect != tool.effect.value:
        yield ("effect",), Rule(f"{found.effect}, as {source} says, not {tool.effect.value}", _TAKE)
    if found.idempotent is not None and found.idempotent != tool.idempotent:
        yield (
            ("idempotent",),
            Rule(f"{_shown(found.idempotent)}, as {source} says, not {_shown(tool.idempotent)}", _TAKE),
        )
    if found.schema is None or schema_digest(found.schema) == tool.arguments_digest:
        return
    field = "parameters" if tool.schema_digest is None else "schema_digest"
    unequal = _unequal(package.arguments_schema(tool), found.schema, (field,))
    for number, (where, ours, theirs) in enumerate(unequal):
        if number == MOST_DIFFERENCES:
            yield (field,), Rule(f"the schema that {source} has, and it differs in more places", _TAKE)
            return
        if ours is _ABSENT:
            yield where[:-1], Rule(f"`{where[-1]}: {_shown(theirs)}` in it, as {source} has it", _TAKE)
        elif theirs is _ABSENT:
            yield where, Rule(f"no `{where[-1]}`: {source} has none", _TAKE)
        else:
            yield where, Rule(f"{_shown(theirs)}, as {source} has it, not {_shown(ours)}", _TAKE)


def _unequal(ours: Any, theirs: Any, where: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any, Any]]:
    """Every innermost place in which two JSON values differ."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for name in [*ours, *(name for name in theirs if name not in ours)]:
            yield from _unequal(ours.get(name, _ABSENT), theirs.get(name, _ABSENT), (*where, name))
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from _unequal(one, other, (*where, index))
    elif isinstance(ours, bool) is not isinstance(theirs, bool) or ours != theirs:
        yield where, ours, theirs


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:79]}…"
