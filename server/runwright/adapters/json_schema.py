"""JSON Schema 2020-12 by jsonschema-rs, with bounds in front and everything dangerous off.

Its defaults fetch http and file references and use a backtracking regex engine;
both are refused here. It holds the interpreter lock while it validates, hence
the bounds on schema and instance size.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache

import jsonschema_rs
from pydantic import JsonValue

from runwright.adapters.schema_bounds import bounds_problem

MAX_SCHEMA_BYTES = 64 * 1024
MAX_INSTANCE_BYTES = 256 * 1024


class JsonSchemaChecker:
    """SchemaChecker over jsonschema-rs."""

    def schema_problem(self, schema: Mapping[str, JsonValue]) -> str | None:
        """What is wrong with a schema."""
        if schema.get("type") != "object":
            return 'the top level must say "type": "object"; arguments are named.'
        problem = bounds_problem(dict(schema))
        if problem:
            return problem
        text = json.dumps(schema)
        if len(text) > MAX_SCHEMA_BYTES:
            return f"it is larger than {MAX_SCHEMA_BYTES} bytes."
        try:
            _validator(text)
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError):
            return "it is not a JSON Schema 2020-12 without remote references and with linear-time patterns."
        return None

    def instance_problem(self, schema: Mapping[str, JsonValue], instance: JsonValue) -> str | None:
        """Where and why an instance breaks the schema, without its values."""
        if len(json.dumps(instance)) > MAX_INSTANCE_BYTES:
            return f"they are larger than {MAX_INSTANCE_BYTES} bytes."
        validator = _validator(json.dumps(schema))
        for error in validator.iter_errors(instance):
            where = "/".join(str(step) for step in error.instance_path) or "the top level"
            rule = "/".join(str(step) for step in error.schema_path)
            return f"at {where}: the rule {rule} does not hold."
        return None


@lru_cache(maxsize=1024)
def _validator(text: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        json.loads(text), retriever=_refuse, pattern_options=jsonschema_rs.RegexOptions(), validate_formats=False
    )


def _refuse(uri: str) -> None:
    raise ValueError("references to other documents are refused")
