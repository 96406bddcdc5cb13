"""What a tool's schema is called by: its digest, the same for packages, registrations and descriptions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from runwright.core.fingerprint import canonical_json

if TYPE_CHECKING:  # for annotations alone; commands that validate no model start without it
    from pydantic import JsonValue

SCHEMA_DIGEST_PATTERN = r"^sha256:[0-9a-f]{64}$"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")


def schema_digest(schema: Mapping[str, JsonValue]) -> str:
    """`sha256:HEX` over the schema's RFC 8785 form. Raises ValueError for a number JSON cannot hold exactly."""
    return f"sha256:{hashlib.sha256(canonical_json(schema)).hexdigest()}"


def is_schema_digest(text: str) -> bool:
    """True for what `schema_digest` may give."""
    return _DIGEST.match(text) is not None
