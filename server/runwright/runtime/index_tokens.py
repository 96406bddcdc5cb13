"""Page tokens of lists that are read from an index: the key of the entry that the next page begins after."""

from __future__ import annotations

import base64
import binascii

from runwright.core.errors import invalid_request


def token_of(index: str, key: str) -> str:
    """The token of what comes behind an entry."""
    return base64.urlsafe_b64encode(f"{index}\n{key}".encode()).decode().rstrip("=")


def key_of(token: str, index: str) -> str:
    """The key that a page begins after. Raises INVALID_REQUEST for what is no token of this list."""
    if not token:
        return ""
    try:
        of, _, key = base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True).decode().partition("\n")
    except (binascii.Error, ValueError):
        of, key = "", ""
    if of != index or not key:
        expected = "the next_page_token of a response to the same question"
        raise invalid_request("page_token", expected, "Leave it out to begin again.")
    return key
