"""Digests of tools' schemas: over the canonical form, alike here and in every client."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from runwright.core.fingerprint import canonical_json
from runwright.core.schema_digests import is_schema_digest, schema_digest
from runwright_client import schema_digest as of_the_client

VECTORS = json.loads((Path(__file__).parents[1] / "conformance/schema_vectors.json").read_text())


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_server_and_python_client_agree_on_the_vectors(vector: dict[str, str]) -> None:
    schema = json.loads(vector["schema"])

    assert canonical_json(schema).decode() == vector["canonical"]
    assert schema_digest(schema) == vector["digest"] == of_the_client(schema)
    assert vector["digest"] == f"sha256:{hashlib.sha256(vector['canonical'].encode()).hexdigest()}"


def test_what_has_no_canonical_form_has_no_digest() -> None:
    for schema in ({"a": float("nan")}, {"a": 2**53 + 1}):
        for digest in (schema_digest, of_the_client):
            with pytest.raises(ValueError):
                digest(schema)


def test_a_digest_is_sha256_and_lower_case_hex() -> None:
    digest = schema_digest({})

    assert is_schema_digest(digest)
    assert not any(map(is_schema_digest, ("", digest[:-1], digest.upper(), digest + "0", digest + "\n", digest[7:])))
