"""Content: stored bytes and the references events carry instead of them."""

from __future__ import annotations

import hashlib

from msgspec import Struct

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
# Parts of an answer for the vendor that made them, in a form of their adapter's; shown to nobody else.
OPAQUE = "application/vnd.runwright.opaque+json"
# Larger content is referred to, never inlined in a frame or snapshot (gRPC's default message limit is 4 MiB).
INLINE_LIMIT_BYTES = 64 * 1024


def digest(data: bytes) -> str:
    """SHA-256 of `data`, printed `sha256:<64 hex digits>`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


class ContentRef(Struct, frozen=True):
    """Digest, size in bytes and media type of stored bytes."""

    digest: str
    size: int
    media_type: str


class Content(Struct, frozen=True):
    """Bytes on their way into the store, with their reference."""

    ref: ContentRef
    data: bytes

    @classmethod
    def of(cls, data: bytes, media_type: str) -> Content:
        """Content of exactly these bytes."""
        return cls(ContentRef(digest(data), len(data), media_type), data)

    @classmethod
    def known(cls, data: bytes, media_type: str, its_digest: str) -> Content:
        """Content whose digest is known."""
        return cls(ContentRef(its_digest, len(data), media_type), data)

    @classmethod
    def text(cls, text: str) -> Content:
        """Content of a text, as UTF-8."""
        return cls.of(text.encode(), TEXT)
