"""Reads and examines packages in a process of its own, as `schema_worker` says.

To parse a text of 1 MiB takes seconds, and keeps the interpreter's lock for longer than an event loop may stand: who
serves must not do it, on whatever thread. A question is the letter `READ`, the text, and what it is examined by. The
answer is a line of JSON, what is wrong or what it is called, and behind it what is kept of a package that is valid.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Mapping, Sequence
from functools import cache

from msgspec import Struct
from msgspec.json import Decoder, encode
from msgspec.msgpack import decode as unpacked

from runwright.adapters import schema_worker as worker
from runwright.adapters.json_schema import JsonSchemaChecker
from runwright.adapters.package_documents import examine_document
from runwright.adapters.schema_process import CheckLimits
from runwright.adapters.sidecars import SentSidecars
from runwright.core.fingerprint import fingerprint
from runwright.core.package_findings import PackageFinding
from runwright.ports.packages import PackageNames, ReadPackage

READ = b"P"


class ExaminedBy(Struct, frozen=True):
    """Beside its text: the bounds of a check of a schema, the kinds of real models, the sidecars that came along."""

    schemas: CheckLimits = CheckLimits()
    models: Mapping[str, str] = {}
    sidecars: Sequence[bytes] = ()


class _Said(Struct):
    """The first line of an answer."""

    names: PackageNames | None
    findings: Sequence[PackageFinding]


_SAID = Decoder(_Said)


def said(answer: str) -> ReadPackage:
    """What an answer says."""
    line, _, stored = answer.partition("\n")
    found = _SAID.decode(line)
    return ReadPackage(found.names, found.findings, stored.encode())


def main(milliseconds: int, memory: int) -> None:
    """Answers until the other end is closed."""
    worker.serve(milliseconds, memory, _answer)


def _answer(connection: socket.socket, _: bytes, document: str, by: bytes, /, *, seconds: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, seconds)
    worker.say(connection, worker.VALID, _examined(document, unpacked(by, type=ExaminedBy)))


@cache
def _schemas(limits: CheckLimits) -> JsonSchemaChecker:
    """Costly schemas have a process below this one, so that each has an end, and is named."""
    return JsonSchemaChecker(limits)


def _examined(document: str, by: ExaminedBy) -> str:
    examined = examine_document(document, _schemas(by.schemas), SentSidecars(by.sidecars), by.models)
    package = examined.package
    if package is None or examined.findings:
        return encode(_Said(None, examined.findings)).decode()
    stored = package.stored()
    canonical = package.canonical() if package.sidecars else stored
    names = PackageNames(package.id, package.agent.id, fingerprint(canonical, package.format))
    return f"{encode(_Said(names, ())).decode()}\n{stored.decode()}"
