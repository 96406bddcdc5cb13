"""The canonical form of packages and requests, and the digests over it.

Canonical form: RFC 8785 (JCS). Fingerprint: SHA-256 over the tag, a zero byte
and the canonical bytes, printed `sha256:<tag>:<hex>`. The tag is the package's
format: no digest over the draft of a format can be mistaken for one over the
final format.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import rfc8785
from msgspec.json import Encoder

if TYPE_CHECKING:  # for annotations alone; commands that validate no model start without it
    from pydantic import JsonValue

PACKAGE_TAG = "runwright-package-v0"
PACKAGE_TAG_V1 = "runwright-package-v1-draft"
_PLAIN = Encoder(order="sorted")
_EXACT = 2**53 - 1
_EXPONENT = 1e21  # from here on RFC 8785 prints an exponent


def canonical_json(value: JsonValue | Mapping[str, JsonValue]) -> bytes:
    """`value` in RFC 8785 form. Raises ValueError for a number JSON cannot hold exactly.

    What has neither fractions nor other keys than ASCII goes the short way: the
    library is pure Python and takes a tenth of a second for 256 KiB.
    """
    return _PLAIN.encode(value) if _is_plain(value) else rfc8785.dumps(value)


def canonical_plain_json(value: Mapping[str, JsonValue]) -> bytes:
    """The same for texts and whole numbers within 2^53 under ASCII keys, at a fraction of the cost.

    Of such values msgspec writes RFC 8785 by itself: it escapes alike, and
    ASCII keys sort by their bytes as they do by UTF-16.
    """
    return _PLAIN.encode(value)


def has_canonical_form(value: object) -> bool:
    """True for JSON that has a canonical form which reads back as the same value. In time linear in its size.

    A number must be within 2^53, or be printed with an exponent: 1e20 is printed without one, and read as a whole
    number that JSON does not hold exactly.
    """
    return all(_is_exact(part) for part in _parts(value))


def _is_exact(part: object) -> bool:
    match part:
        case float():
            return math.isfinite(part) and (not part.is_integer() or abs(part) <= _EXACT or abs(part) >= _EXPONENT)
        case int():
            return -_EXACT <= part <= _EXACT
        case str():
            return part.isascii() or not any("\ud800" <= character <= "\udfff" for character in part)
        case _:
            return True


def _parts(value: object) -> Iterator[object]:
    """The value and everything in it, keys included, without recursion."""
    level = [value]
    while level:
        yield from level
        inner: list[object] = []
        for part in level:
            if isinstance(part, dict):
                yield from part
                inner += part.values()
            elif isinstance(part, list | tuple):
                inner += part
        level = inner


def _is_plain(value: object) -> bool:
    level = [value]
    while level:
        following: list[object] = []
        for part in level:
            if isinstance(part, str | bool) or part is None:
                continue
            if isinstance(part, dict):
                if not all(isinstance(key, str) and key.isascii() for key in part):
                    return False
                following += part.values()
            elif isinstance(part, list):
                following += part
            elif not isinstance(part, int) or not -_EXACT <= part <= _EXACT:
                return False
        level = following
    return True


def fingerprint(canonical: bytes, tag: str = PACKAGE_TAG) -> str:
    """The fingerprint of canonical bytes under a tag."""
    return f"sha256:{tag}:" + hashlib.sha256(tag.encode() + b"\0" + canonical).hexdigest()
