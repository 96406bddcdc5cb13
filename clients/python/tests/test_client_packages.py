"""Packages: fingerprints made here are those of the server, and what has none is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runwright_client import package_canonical, package_fingerprint

VECTORS = json.loads((Path(__file__).parents[3] / "tests/conformance/package_vectors.json").read_text())
V0 = "runwright-package-v0"


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_fingerprints_are_those_of_the_server(vector: dict[str, str]) -> None:
    document = json.loads(vector["document"])

    assert package_canonical(document).decode() == vector["canonical"]
    assert package_fingerprint(document) == vector["fingerprint"]


@pytest.mark.parametrize("number", [2**53, 1e20, float("nan"), float("inf"), "\ud800"])
def test_what_has_no_canonical_form_has_no_fingerprint(number: Any) -> None:
    with pytest.raises(ValueError):
        package_fingerprint({"format": V0, "provider": {"parameters": {"n": number}}})


@pytest.mark.parametrize("document", [{"id": "p"}, {"format": "runwright-package-v9"}])
def test_a_format_that_is_not_known_has_no_fingerprint(document: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="format must be"):
        package_fingerprint(document)
