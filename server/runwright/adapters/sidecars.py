"""Schemas that a package names by digest: beside its file, or sent with its text."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from runwright.adapters.package_rules import Rule
from runwright.core.fingerprint import has_canonical_form
from runwright.core.package import is_sidecar
from runwright.core.package_findings import FindingRule
from runwright.core.schema_digests import schema_digest
from runwright.files import UnreadableFileError, read_file

FOLDER = "sidecars"  # beside the file of the package
MOST_BYTES = 1024 * 1024  # of one file; a schema that can be used has far less
_WRITE = "`runwright package tools --sidecars` writes such files; a client's schema digest says what one is called by."
_NO_SCHEMA = Rule("a JSON object that has a canonical form: within 2^53, Unicode", _WRITE, FindingRule.SCHEMA)
Schema = Mapping[str, JsonValue]


class Sidecars(Protocol):
    """Where the schemas of a package are looked for that it does not hold itself."""

    def find(self, digest: str) -> Schema | Rule:
        """The schema of that digest, or the rule that is broken since there is none."""

    def unnamed(self, named: Collection[str]) -> Iterator[tuple[Sequence[str | int], Rule]]:
        """What is there in vain, or is no schema, with its place in a request."""


class NoSidecars:
    """A text by itself: it holds its schemas, or they are missing."""

    def find(self, digest: str) -> Schema | Rule:
        """See Sidecars."""
        return Rule(
            f"a sidecar that is there, and there is no {digest}", "Send it along, or write it under `sidecars`."
        )

    def unnamed(self, named: Collection[str]) -> Iterator[tuple[Sequence[str | int], Rule]]:
        """See Sidecars."""
        yield from ()


class FileSidecars:
    """Files `sidecars/HEX.json` beside the package's. Others that lie there belong to other packages."""

    def __init__(self, package: Path) -> None:
        self._folder = package.parent / FOLDER

    def find(self, digest: str) -> Schema | Rule:
        """See Sidecars."""
        path = sidecar_path(self._folder, digest)
        try:
            schema = _read(read_file(path, MOST_BYTES))
        except UnreadableFileError as error:
            return Rule(f"a sidecar that is there, and {error.message}", _WRITE)
        if schema is None:
            return Rule(f"a sidecar with its schema, and {path} holds no JSON object in canonical numbers", _WRITE)
        if not is_sidecar(digest, schema):
            said = f"a sidecar with its schema, and what {path} holds has the digest {schema_digest(schema)}"
            return Rule(said, "Put back what it was, or name the digest that it has now.")
        return schema

    def unnamed(self, named: Collection[str]) -> Iterator[tuple[Sequence[str | int], Rule]]:
        """See Sidecars."""
        yield from ()


class SentSidecars:
    """Schemas that came with a request, in any order."""

    def __init__(self, sent: Sequence[bytes]) -> None:
        self._schemas: dict[str, tuple[int, Schema]] = {}
        self._faulty: list[int] = []
        for index, data in enumerate(sent):
            schema = _read(data)
            if schema is None:
                self._faulty.append(index)
            else:
                self._schemas[schema_digest(schema)] = (index, schema)

    def find(self, digest: str) -> Schema | Rule:
        """See Sidecars."""
        if (found := self._schemas.get(digest)) is not None:
            return found[1]
        return Rule(f"a sidecar that was sent along, and there is no {digest}", "Send it along; `package put` does.")

    def unnamed(self, named: Collection[str]) -> Iterator[tuple[Sequence[str | int], Rule]]:
        """See Sidecars."""
        yield from (((FOLDER, index), _NO_SCHEMA) for index in self._faulty)
        for digest, (index, _) in self._schemas.items():
            if digest not in named:
                yield (FOLDER, index), Rule(f"a schema that a tool names, and none names {digest}", "Leave it out.")


def sidecar_path(folder: Path, digest: str) -> Path:
    """Where a sidecar is kept in a folder."""
    return folder / f"{digest.removeprefix('sha256:')}.json"


def _read(data: bytes) -> Schema | None:
    """None for what is no JSON object with a canonical form."""
    try:
        schema = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return schema if isinstance(schema, dict) and has_canonical_form(schema) else None
