"""Packages on the wire: the same package comes back, so it has the same fingerprint."""

from __future__ import annotations

from random import Random

import pytest
from pydantic import JsonValue
from runwright._gen.runwright.v1 import package_pb2
from runwright.core.package import RuntimePackage
from runwright.core.schema_digests import schema_digest
from runwright.wire.packages import package, to_package

from tests.core import builders as b
from tests.properties.random_runs import random_package


def _sent(value: RuntimePackage) -> RuntimePackage:
    return to_package(package_pb2.RuntimePackage.FromString(package(value).SerializeToString()))


def test_a_package_with_every_field_set_comes_back_with_its_fingerprint() -> None:
    schema: dict[str, JsonValue] = {"type": "object", "properties": {"city": {"type": "string", "title": "Größe"}}}
    full = b.package(
        b.tool("send", effect="write", idempotent=True, description="Sends.", parameters=schema, timeout_ms=1),
        b.tool("spawn", effect="process", unavailable_timeout_ms=86_400_000, max_attempts=100, executor="other"),
        b.tool("fetch", effect="network"),
        b.tool("lookup", idempotent=False, model_view={"type": "object"}),
        b.tool("seal", schema_digest=schema_digest(schema)),
        sidecars={schema_digest(schema): schema},
        agent={"id": "helper", "name": "Helper", "instructions": "Be brief.\n"},
        provider={"adapter": "demo", "model": "m-1", "parameters": {"temperature": 0.5, "stop": [None, True, "x"]}},
        fallbacks=[{"adapter": "spare", "model": "m-2", "max_attempts": 10}, {"adapter": "spare", "model": "m-3"}],
        budget={"rounds": 1000, "tool_calls": 0, "parallel_calls": 64},
        policy="builtin:read-only",
        context={"session_turns": 0, "session_bytes": 1},
    )

    back = _sent(full)

    assert back == full
    assert back.fingerprint() == full.fingerprint()
    assert back.stored() == full.stored()


def test_a_package_of_defaults_comes_back_with_its_fingerprint() -> None:
    bare = b.package()

    back = _sent(bare)

    assert back.fingerprint() == bare.fingerprint()


def test_random_packages_come_back_with_their_fingerprints() -> None:
    for number in range(100):
        value = random_package(Random(number))

        assert _sent(value).fingerprint() == value.fingerprint(), f"package {number}"


@pytest.mark.parametrize("number", [0, -0.0, 1.0, 1e-7, 0.1, 2**53 - 1, -(2**53) + 1, 1e15, 1e21, 5e-324])
def test_a_number_a_package_may_hold_comes_back_with_its_fingerprint(number: float) -> None:
    value = b.package(provider={"adapter": "demo", "model": "m-1", "parameters": {"seed": number}})
    before = value.fingerprint()

    back = _sent(value)

    assert back.fingerprint() == before


def test_the_stored_form_of_a_package_is_read_back_with_its_fingerprint() -> None:
    value = b.package(b.tool(), b.tool("send", effect="write"))

    back = RuntimePackage.model_validate_json(value.canonical())

    assert back == value
    assert back.fingerprint() == value.fingerprint()


def test_schemas_and_parameters_travel_in_canonical_form() -> None:
    value = b.package(
        b.tool(parameters={"type": "object", "additionalProperties": True}),
        provider={"adapter": "demo", "model": "m-1", "parameters": {"b": 1.0, "a": "é"}},
    )

    sent = package(value)

    assert sent.provider.parameters_json == '{"a":"é","b":1}'.encode()
    assert sent.tools[0].parameters_schema_json == b'{"additionalProperties":true,"type":"object"}'
