"""Reads and examines packages in a process of its own, as `schema_worker` says.

To parse a text of 1 MiB takes seconds, and keeps the interpreter's lock for longer than an event loop may stand: who
serves must not do it, on whatever thread. A question is the letter `READ`, the text, and in JSON what it is examined
by. The answer is a line of JSON, what is wrong or what it is called, and behind it the canonical form of a package that
is valid.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Mapping, Sequence
from functools import cache

from msgspec import Struct
from msgspec.json import Decoder, decode, encode

from runwright.adapters import schema_worker as worker
from runwright.adapters.json_schema import JsonSchemaChecker
from runwright.adapters.package_documents import examine_document
from runwright.adapters.schema_process import CheckLimits
from runwright.core.fingerprint import fingerprint
from runwright.core.package_findings import PackageFinding
from runwright.ports.packages import PackageNames, ReadPackage

READ = b"P"


class ServerFacts(Struct, frozen=True):
    """What of its server a package is examined by: the bounds of a check of a schema, the kinds of its real models."""

    schemas: CheckLimits = CheckLimits()
    models: Mapping[str, str] = {}


class _Said(Struct):
    """The first line of an answer."""

    names: PackageNames | None
    findings: Sequence[PackageFinding]


_SAID = Decoder(_Said)


def said(answer: str) -> ReadPackage:
    """What an answer says."""
    line, _, canonical = answer.partition("\n")
    found = _SAID.decode(line)
    return ReadPackage(found.names, found.findings, canonical.encode())


def main(milliseconds: int, memory: int) -> None:
    """Answers until the other end is closed."""
    worker.serve(milliseconds, memory, _answer)


def _answer(connection: socket.socket, _: bytes, document: str, server: bytes, /, *, seconds: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, seconds)
    facts = decode(server, type=ServerFacts)
    worker.say(connection, worker.VALID, _examined(document, _schemas(facts.schemas), facts.models))


@cache
def _schemas(limits: CheckLimits) -> JsonSchemaChecker:
    """Costly schemas have a process below this one, so that each has an end, and is named."""
    return JsonSchemaChecker(limits)


def _examined(document: str, schemas: JsonSchemaChecker, models: Mapping[str, str]) -> str:
    examined = examine_document(document, schemas, models)
    package = examined.package
    if package is None or examined.findings:
        return encode(_Said(None, examined.findings)).decode()
    canonical = package.canonical()
    names = PackageNames(package.id, package.agent.id, fingerprint(canonical, package.format))
    return f"{encode(_Said(names, ())).decode()}\n{canonical.decode()}"
