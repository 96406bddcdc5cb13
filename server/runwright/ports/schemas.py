"""JSON Schema, behind a port: the validator is a foreign library with bounds of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct
from pydantic import JsonValue


class Instance(Struct, frozen=True):
    """Arguments to check: the schema, the value, and the value's bytes as JSON."""

    schema: Mapping[str, JsonValue]
    value: JsonValue
    data: bytes


class SchemaChecker(Protocol):
    """Checks schemas and instances by JSON Schema 2020-12, without remote references."""

    def schema_problem(self, schema: Mapping[str, JsonValue]) -> str | None:
        """What is wrong with a schema, in one sentence; None when nothing is.

        Bounded in time and memory whatever the schema, but it blocks: not for the event loop of a server that serves.
        """

    async def problems(self, instances: Sequence[Instance]) -> list[str | None]:
        """Where and why each instance breaks its schema, without its values; None where it does not.

        Bounded in time and memory whatever schemas and instances are, and the event
        loop goes on meanwhile. What cannot be checked within the bounds is a problem
        whose sentence says what to do.
        """

    async def close(self) -> None:
        """Releases what the checks were made with."""
