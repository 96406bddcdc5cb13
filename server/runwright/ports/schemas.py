"""JSON Schema, behind a port: the validator is a foreign library with bounds of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from pydantic import JsonValue


class SchemaChecker(Protocol):
    """Checks schemas and instances by JSON Schema 2020-12, without remote references, in linear time."""

    def schema_problem(self, schema: Mapping[str, JsonValue]) -> str | None:
        """What is wrong with a schema, in one sentence; None when nothing is."""

    def instance_problem(self, schema: Mapping[str, JsonValue], instance: JsonValue) -> str | None:
        """Where and why an instance breaks the schema, without its values; None when it does not."""
